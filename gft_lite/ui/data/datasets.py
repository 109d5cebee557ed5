"""The data files of a workspace, a folder each.

about.json    title, how the file is read, and the counts of its latest parts
data.*        the uploaded file under a name that the app makes
parts-N/      train.jsonl and held_out.jsonl; each preparation makes new ones, so that runs keep
              the files they were started with
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
from gft_lite.types import DataError, RunError
from gft_lite.ui.workspace import Workspace

DEMO = "demo"
ABOUT = "about.json"
MAX_ABOUT_BYTES = 1_000_000
MAX_TITLE = 80
DAMAGED = "damaged"
SUFFIXES = (*KIND_OF_SUFFIX, ".gz", ".zst")


@dataclass(frozen=True)
class DataSet:
    """One data file.

    name: name of its folder; `demo` is the embedded one.
    title: the user's name for it, only for display.
    source: a file in the folder, a hub name, or `embedded:NAME`.
    columns: role → column, for columns that are not recognised.
    parts: folder of its latest parts; empty before the first preparation.
    train, held_out: number of examples in them.
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
        """The path or name for the command line."""
        if self.source.startswith(PREFIX) or HUB_NAME.fullmatch(self.source):
            return self.source
        return str(workspace.upload(self.name) / self.source)

    def options(self) -> list[str]:
        """How to read it, as options of the command line."""
        columns = [f"--map={role}={column}" for role, column in self.columns.items()]
        return [f"--format={self.format}", *columns]

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


def add_file(workspace: Workspace, upload: str, title: str) -> DataSet:
    """Move an uploaded file into a new folder, under a name that the app makes.

    Raises:
        DataError: the kind of file is not supported, it is empty, or it was not uploaded.
    """
    if not workspace.contains(upload):
        raise DataError("that file was not sent by this page; nothing was read")
    *_, inner, last = ("", "", *(suffix.lower() for suffix in Path(title).suffixes))
    if last in ARCHIVE_SUFFIXES:
        raise DataError(
            f"{shorten(title)}: archives are not read. Unpack it, and upload the data file inside; "
            "a single file may be compressed as gz or zst."
        )
    if last not in SUFFIXES:
        raise DataError(
            f"{shorten(title)}: files of this kind are not read. Give JSONL, JSON, CSV, TSV, "
            "Parquet or Excel, also compressed as gz or zst."
        )
    if not Path(upload).stat().st_size:
        raise DataError(f"{shorten(title)}: the file is empty; nothing was sent")
    folder = workspace.new(workspace.uploads_dir, "data")
    source = f"data{inner}{last}" if inner in KIND_OF_SUFFIX else f"data{last}"
    shutil.move(upload, folder / source)
    return save(workspace, DataSet(folder.name, shorten(title), source))


def add_hub(workspace: Workspace, hub_name: str) -> DataSet:
    """Add a data set of the hub by name; it is downloaded when it is first read.

    Raises:
        DataError: it is not the name of a data set.
    """
    hub_name = hub_name.strip()
    if not HUB_NAME.fullmatch(hub_name):
        raise DataError(
            f"{shorten(hub_name)!r} is not the name of a data set: write owner/name, such as "
            "openai/gsm8k:main"
        )
    folder = workspace.new(workspace.uploads_dir, "data")
    return save(workspace, DataSet(folder.name, hub_name, hub_name))


def save(workspace: Workspace, data: DataSet) -> DataSet:
    """Write about.json; returns `data`."""
    about = workspace.upload(data.name) / ABOUT
    write_atomic(about, json.dumps(asdict(data), indent=1, ensure_ascii=False))
    return data


def load(workspace: Workspace, name: str) -> DataSet:
    """A data file by its name.

    Raises:
        RunError: there is none of that name.
        DataError: its about.json is damaged or was edited into something else.
    """
    if name == DEMO:
        return DEMO_SET
    about = workspace.upload(name) / ABOUT
    try:
        if not about.is_file() or about.stat().st_size > MAX_ABOUT_BYTES:
            raise ValueError("not a file, or too large")
        return _checked(replace(DataSet(**json.loads(about.read_text("utf-8"))), name=name))
    except (OSError, ValueError, TypeError, RecursionError):
        raise DataError(
            f"{name}/{ABOUT} is damaged, so this file cannot be used; upload the file again"
        ) from None


def list_data(workspace: Workspace) -> list[DataSet]:
    """All data files, newest first, the demo last. A damaged one has the title `DAMAGED`."""
    files = [file for file in workspace.uploads_dir.glob(f"*/{ABOUT}") if file.exists()]
    data_sets = []
    for file in sorted(files, key=lambda file: -file.stat().st_mtime):
        try:
            data_sets.append(load(workspace, file.parent.name))
        except DataError:
            data_sets.append(DataSet(file.parent.name, DAMAGED, ""))
        except RunError:  # a link that leads out of the workspace
            continue
    return [*data_sets, DEMO_SET]


def shorten(title: str) -> str:
    """A title that is printable and not too long, only for display."""
    printable = "".join(c if c.isprintable() else "�" for c in Path(title).name or title)
    return printable if len(printable) <= MAX_TITLE else f"{printable[:MAX_TITLE]}…"


def _checked(data: DataSet) -> DataSet:
    """The same data file. ValueError if a field has another type or names another folder."""
    if not isinstance(data.columns, dict):
        raise ValueError("columns")
    texts = (data.title, data.source, data.format, data.parts)
    if not all(isinstance(text, str) for text in (*texts, *data.columns.values())):
        raise ValueError("a text")
    if not all(type(count) is int and count >= 0 for count in (data.train, data.held_out)):
        raise ValueError("a count")
    is_name = data.source.startswith(PREFIX) or HUB_NAME.fullmatch(data.source)
    files = (data.parts, "" if is_name else data.source)
    if any("/" in file or "\\" in file or file in (".", "..") for file in files):
        raise ValueError("a folder")
    return data
