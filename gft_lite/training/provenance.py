"""What a run was made from, recorded when it starts and compared when it is continued.

`inputs.json` in the run directory holds the resolved configuration and, for every key of it that
names a file or a model, a source:

    data.path, data.eval_path, data.retention_path   SHA-256 of the rows as they are trained on
    reward.file, reward.parts.N.file                 SHA-256 of the file
    model.adapter                                    SHA-256 of weights and settings
    model.name                                       SHA-256 of weights, settings and tokenizer

Names are not compared where contents are: a run may be moved, and its files too. The decision
record docs/decisions/0013-inputs-of-a-run.md has the reasons, and what is not noticed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gft_lite.assets import resolve
from gft_lite.config import ModelConfig, RunConfig, config_from_dict
from gft_lite.preflight.inputs import RunInputs
from gft_lite.rewards import REWARDS, read_spec
from gft_lite.runs import RunDir
from gft_lite.runs.atomic import file_sha256, write_atomic
from gft_lite.types import ConfigError, Example, RunError

INPUTS = "inputs.json"
BASE = "model.name"
BASE_FILES = ("*.safetensors", "*.json", "*.model", "*.tiktoken", "*.txt", "*.jinja", "*.py")
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
BLOB = re.compile(r"[0-9a-f]{64}")  # the hub's cache names a large file by its SHA-256
SHOWN_CHANGES = 8
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Source:
    """A file, a data set or a model that a run was made from.

    name: as the configuration has it.
    files: name → SHA-256 of each file, where they are on this machine.
    stamps: name → size, times and number of a file of weights; while they stay, it is not hashed
        again.
    commit: of a model in the hub's cache.
    rows, rows_sha256: of data.
    """

    name: str
    files: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, Sequence[int]] = field(default_factory=dict)
    commit: str | None = None
    rows: int | None = None
    rows_sha256: str | None = None

    def differences(self, now: Source) -> list[str]:
        """What changed, in a few words each; none where the contents are equal."""
        if self.rows_sha256 is not None:
            if self.rows_sha256 == now.rows_sha256:
                return []
            if self.rows != now.rows:
                return [f"it had {self.rows:,} usable rows and has {now.rows or 0:,}"]
            return ["its rows changed"]
        gone = [f"{name} is missing" for name in self.files if name not in now.files]
        other = [
            f"{name} changed"
            for name, sha256 in self.files.items()
            if now.files.get(name, sha256) != sha256
        ]
        new = [f"{name} is new" for name in now.files if name not in self.files]
        if self.commit and self.commit == now.commit:  # the cache is filled as files are needed
            gone = new = []
        return [*gone, *other, *new]


@dataclass(frozen=True)
class Inputs:
    """The resolved configuration and its sources, by their keys in it.

    accepted: the changes that were accepted when the run was continued, each with its step.
    fault: why a record cannot be compared with; it has nothing else then.
    """

    config: dict[str, Any]
    sources: Mapping[str, Source]
    accepted: tuple[dict[str, Any], ...] = ()
    fault: str = ""

    @property
    def base(self) -> Source | None:
        """The base model, if its files are on this machine."""
        return self.sources.get(BASE)

    def with_base(self, base: Source | None) -> Inputs:
        """The same, with the identity of the base model if it is known."""
        return replace(self, sources={**self.sources, BASE: base}) if base else self

    def differences(self, now: Inputs) -> list[str]:
        """What changed, a few words each."""
        if self.fault:
            return [self.fault]
        both = self.sources.keys() & now.sources.keys()
        contents = {key: self.sources[key].differences(now.sources[key]) for key in sorted(both)}
        settings = []
        then_set, now_set = _flat(_resolved(self.config)), _flat(_resolved(now.config))
        for key in [*then_set, *(key for key in now_set if key not in then_set)]:
            before, after = then_set.get(key), now_set.get(key)
            if before == after:
                continue
            named = _sources_named_by(key, both)
            if named and not any(contents[source] for source in named):
                continue  # another place or name for the same content
            settings.append(f"{key} was {_short(before)} and is {_short(after)}")
        return settings + [
            f"{key} ({now.sources[key].name}): {difference}"
            for key, found in contents.items()
            for difference in found
        ]

    def provenance(self) -> dict[str, Any]:
        """For the record beside an adapter: the sources, and which changes were accepted."""
        sources = {key: asdict(source) for key, source in self.sources.items()}
        for source in sources.values():
            del source["stamps"]  # they concern this machine
        return {"sources": sources, "accepted_changes": list(self.accepted)}


def sources_of(config: RunConfig, prepared: RunInputs) -> dict[str, Source]:
    """The sources of a run but for its base model."""
    found = {}
    data = config.data
    for key, path, examples in (
        ("data.path", data.path, prepared.examples),
        ("data.eval_path", data.eval_path, prepared.eval_examples),
        ("data.retention_path", data.retention_path, prepared.retention_examples),
    ):
        if path is not None:
            file = Path(resolve(path))
            files = {file.name: file_sha256(file)} if file.is_file() else {}
            digest = rows_sha256(examples)
            found[key] = Source(path, files, rows=len(examples), rows_sha256=digest)
    parts = read_spec(config.reward, REWARDS, allow_custom=True)
    settings = _flat({"reward": config.reward})
    for number, part in enumerate(parts, 1):
        if part.file:
            key = f"reward.parts.{number}.file"
            key = key if key in settings else "reward.file"
            found[key] = Source(str(settings[key]), {"its code": file_sha256(Path(part.file))})
    if config.model.adapter:
        folder = Path(config.model.adapter)
        there = [name for name in ADAPTER_FILES if (folder / name).is_file()]
        hashes = {name: file_sha256(folder / name) for name in there}
        found["model.adapter"] = Source(config.model.adapter, hashes)
    return found


def base_source(model: ModelConfig, known: Source | None = None) -> Source | None:
    """Every file of the base that decides what it computes; None if it is not on this machine yet.

    Args:
        model: which base.
        known: its source at an earlier time; a file whose stamp is the same is not hashed again.
    """
    from gft_lite.models.fingerprint import local_folder
    from gft_lite.models.load import source_of  # torch: not before the inputs are checked

    folder = local_folder(source_of(model.name), model.revision)
    if folder is None:
        return None
    in_cache = folder.parent.name == "snapshots"
    hashes, stamps = {}, {}
    for path in sorted({path for pattern in BASE_FILES for path in folder.glob(pattern)}):
        if not path.is_file():
            continue
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        blob = path.resolve().name
        before = known and known.stamps.get(path.name)
        if known and before == stamp:
            hashes[path.name] = known.files[path.name]
        elif in_cache and not before and BLOB.fullmatch(blob):
            hashes[path.name] = blob
        else:
            hashes[path.name] = file_sha256(path)
        stamps[path.name] = stamp
    return Source(model.name, hashes, stamps, commit=folder.name if in_cache else None)


def rows_sha256(examples: Iterable[Example]) -> str:
    """Hash of everything in examples that training can read, in their order."""
    digest = hashlib.sha256()
    for example in examples:
        turns = [(message.role, message.content) for message in example.prompt]
        row = (turns, example.experts, example.teachers, example.answer)
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def read_inputs(run: RunDir) -> Inputs | None:
    """What was recorded when the run started; None if nothing was."""
    path = run.path / INPUTS
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        sources = {key: Source(**source) for key, source in record["sources"].items()}
        return Inputs(dict(record["config"]), sources, tuple(record["accepted"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Inputs({}, {}, fault=f"{INPUTS} is damaged, so no change can be found")


def write_inputs(run: RunDir, inputs: Inputs) -> None:
    """Record what the run is made from."""
    record = {
        "format": 1,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": {key: asdict(source) for key, source in inputs.sources.items()},
        "accepted": list(inputs.accepted),
        "config": inputs.config,
    }
    write_atomic(run.path / INPUTS, json.dumps(record, indent=1) + "\n")


def compared(
    run: RunDir, then: Inputs | None, now: Inputs, *, step: int, accept: bool
) -> tuple[Inputs, list[str]]:
    """The inputs with the changes accepted so far, and those accepted now.

    Args:
        run: the run that is continued.
        then: what it was made from, if that was recorded.
        now: what it would be made from now.
        step: from which it is continued.
        accept: go on in spite of changes.

    Raises:
        RunError: something changed and is not accepted; names all of it.
    """
    changes = then.differences(now) if then else []
    accepted = then.accepted if then else ()
    if changes and not accept:
        more = len(changes) - SHOWN_CHANGES
        shown = "; ".join(changes[:SHOWN_CHANGES]) + (f"; and {more} more" if more > 0 else "")
        raise RunError(
            f"{run.path} was started with other inputs: {shown}. Restore them, or go on with "
            f"`gft-lite resume {run.path} --accept-changes`, which records the changes"
        )
    if changes:
        accepted = (*accepted, {"step": step, "changes": changes})
    return replace(now, accepted=accepted), changes


def accepted_event(run: RunDir, changes: Sequence[str], step: int) -> dict[str, Any]:
    """Write down that changes were accepted."""
    message = f"continued with other inputs, as accepted: {'; '.join(changes)}"
    event = {"type": "inputs_accepted", "step": step, "changes": list(changes), "message": message}
    run.append(event)
    return event


def _resolved(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the defaults of settings that the version that wrote it did not have."""
    try:
        return config_from_dict(config).to_dict()
    except ConfigError:
        return config


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}; members of a list of mappings are counted from 1."""
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        value = {str(number): one for number, one in enumerate(value, 1)}
    if not isinstance(value, Mapping):
        return {key: value}
    inside = [_flat(one, f"{key}.{name}" if key else str(name)) for name, one in value.items()]
    return {name: one for part in inside for name, one in part.items()}


def _sources_named_by(key: str, sources: Iterable[str]) -> list[str]:
    """The sources whose name or version a setting gives; one outside stages concerns all stages."""
    key = BASE if key == "model.revision" else key
    return [source for source in sources if source == key or source.endswith(f".{key}")]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
