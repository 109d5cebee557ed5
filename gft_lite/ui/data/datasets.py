"""The data files of a workspace: a folder each, with what was said about how to read it.

about.json    its name as a person knows it, how it is read, and what became of it
data.*        the file as it came, under our name
parts-N/      train.jsonl and held_out.jsonl, anew each time it is made ready: runs keep theirs
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from gft_lite.assets import PREFIX
from gft_lite.data.readers.files import ARCHIVE_SUFFIXES, KIND_OF_SUFFIX
from gft_lite.data.readers.hub import HUB_NAME
from gft_lite.runs.atomic import write_atomic
from gft_lite.types import DataError
from gft_lite.ui.workspace import Workspace

DEMO = "demo"
PACKINGS = (".gz", ".zst")
ENDINGS = (*KIND_OF_SUFFIX, *PACKINGS)
SHOWN_NAME = 80


@dataclass(frozen=True)
class DataSet:
    """One data file.

    name: of its folder; `demo` is the embedded one.
    title: as a person knows it; only to be shown.
    source: a file in the folder, a hub name, or `embedded:NAME`.
    columns: field → column, where recognition needs help.
    parts: the folder of its latest parts; empty before it was made ready.
    train, held_out: examples in them.
    """

    name: str
    title: str
    source: str
    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    parts: str = ""
    train: int = 0
    held_out: int = 0

    @property
    def ready(self) -> bool:
        """Whether it can be trained on."""
        return self.name == DEMO or bool(self.parts)

    def location(self, workspace: Workspace) -> str:
        """What the command line is to be given."""
        if self.source.startswith(PREFIX) or HUB_NAME.fullmatch(self.source):
            return self.source
        return str(workspace.upload(self.name) / self.source)

    def options(self) -> list[str]:
        """How to read it, as options of the command line."""
        said = [f"--map={name}={column}" for name, column in self.columns.items()]
        return [f"--format={self.format}", *said]

    def settings(self, workspace: Workspace) -> list[str]:
        """The `data.` settings of a run on it."""
        if self.name == DEMO:
            return [
                "data.path=embedded:target_train",
                "data.eval_path=embedded:target_test",
                "data.retention_path=embedded:old_skill_test",
            ]
        parts = workspace.upload(self.name) / self.parts
        paths = {"data.path": parts / "train.jsonl"}
        if self.held_out:
            paths["data.eval_path"] = parts / "held_out.jsonl"
        return [f"{key}={json.dumps(str(path))}" for key, path in paths.items()]


DEMO_SET = DataSet(DEMO, "Demo: word problems", "embedded:target_train", train=400, held_out=100)


def add_file(workspace: Workspace, sent: str, title: str) -> DataSet:
    """Take a file that a browser has sent into the workspace, under a name of ours.

    Raises:
        DataError: its ending is none that is read, or it is empty.
    """
    if not workspace.contains(sent):
        raise DataError("that file was not sent by this page; nothing was read")
    *_, inner, last = ("", "", *(ending.lower() for ending in Path(title).suffixes))
    if last in ARCHIVE_SUFFIXES:
        raise DataError(
            f"{shorten(title)}: archives are not read. Unpack it, and upload the data file inside; "
            "a single file may be compressed as gz or zst."
        )
    if last not in ENDINGS:
        raise DataError(
            f"{shorten(title)}: files of this kind are not read. Give JSONL, JSON, CSV, TSV, "
            "Parquet or Excel, also compressed as gz or zst."
        )
    if not Path(sent).stat().st_size:
        raise DataError(f"{shorten(title)}: the file is empty; nothing was sent")
    folder = workspace.new(workspace.uploads_dir, "data")
    source = f"data{inner}{last}" if inner in KIND_OF_SUFFIX else f"data{last}"
    shutil.move(sent, folder / source)
    return save(workspace, DataSet(folder.name, shorten(title), source))


def add_hub(workspace: Workspace, hub_name: str) -> DataSet:
    """Name a data set of the hub; it is read, and downloaded, when it is looked at.

    Raises:
        DataError: that is no hub name.
    """
    hub_name = hub_name.strip()
    if not HUB_NAME.fullmatch(hub_name):
        raise DataError(
            f"{shorten(hub_name)!r} is no data set of the hub: write owner/name, such as "
            "openai/gsm8k:main"
        )
    folder = workspace.new(workspace.uploads_dir, "data")
    return save(workspace, DataSet(folder.name, hub_name, hub_name))


def save(workspace: Workspace, data: DataSet) -> DataSet:
    """Write what is known about a data file, and give it back."""
    about = workspace.upload(data.name) / "about.json"
    write_atomic(about, json.dumps(asdict(data), indent=1, ensure_ascii=False))
    return data


def load(workspace: Workspace, name: str) -> DataSet:
    """A data file by its name.

    Raises:
        RunError: there is none of that name.
        DataError: what was written about it cannot be read.
    """
    if name == DEMO:
        return DEMO_SET
    about = workspace.upload(name) / "about.json"
    try:
        return replace(DataSet(**json.loads(about.read_text(encoding="utf-8"))), name=name)
    except (OSError, ValueError, TypeError):
        raise DataError(f"{name}: what is known about this file is damaged; send it again") from (
            None
        )


def every(workspace: Workspace) -> list[DataSet]:
    """All that can be read, newest first, the demo last."""
    files = sorted(
        workspace.uploads_dir.glob("*/about.json"), key=lambda file: -file.stat().st_mtime
    )
    found = []
    for file in files:
        try:
            found.append(load(workspace, file.parent.name))
        except DataError:
            continue
    return [*found, DEMO_SET]


def shorten(title: str) -> str:
    """A name for people, printable and not too long; only ever shown."""
    plain = "".join(c if c.isprintable() else "�" for c in Path(title).name or title)
    return plain if len(plain) <= SHOWN_NAME else f"{plain[:SHOWN_NAME]}…"
