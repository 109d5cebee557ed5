"""What a run was made from, recorded when it starts and compared when it is continued.

`inputs.json` in the run directory holds the resolved configuration and, for every key of it that
names a file or a model, a source:

    data.path, data.eval_path, data.retention_path   SHA-256 of the rows as they are trained on
    reward.file, reward.parts.N.file                 SHA-256 of the file
    model.adapter                                    SHA-256 of weights and settings
    model.name                                       SHA-256 of weights, settings and tokenizer

Contents are compared, not names: a run and its files may be moved. The decision record
docs/decisions/0013-inputs-of-a-run.md has the reasons, and what is not detected.
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
from gft_lite.runs.events import InputsAcceptedEvent
from gft_lite.types import ConfigError, Example, RunError

FILE = "inputs.json"
BASE = "model.name"
BASE_FILES = ("*.safetensors", "*.json", "*.model", "*.tiktoken", "*.txt", "*.jinja", "*.py")
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
BLOB = re.compile(r"[0-9a-f]{64}")  # the hub's cache names a large file by its SHA-256
SHOWN_CHANGES = 8
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class InputSource:
    """A file, a data set or a model that a run was made from.

    name: as in the configuration.
    files: name → SHA-256 of each file, if they are on this machine.
    stamps: name → size, times and inode of a file of the base; a file whose stamp is unchanged is
        not hashed again.
    commit: commit of a model in the hub's cache.
    rows, rows_sha256: number and hash of the rows of a data set.
    """

    name: str
    files: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, Sequence[int]] = field(default_factory=dict)
    commit: str | None = None
    rows: int | None = None
    rows_sha256: str | None = None

    def differences(self, now: InputSource) -> list[str]:
        """What changed, in a few words each; empty if the contents are equal."""
        if self.rows_sha256 is not None:
            if self.rows_sha256 == now.rows_sha256:
                return []
            if self.rows != now.rows:
                return [f"it had {self.rows:,} usable rows and has {now.rows or 0:,}"]
            return ["its rows changed"]
        missing = [f"{name} is missing" for name in self.files if name not in now.files]
        changed = [
            f"{name} changed"
            for name, sha256 in self.files.items()
            if now.files.get(name, sha256) != sha256
        ]
        new = [f"{name} is new" for name in now.files if name not in self.files]
        if self.commit and self.commit == now.commit:  # files are downloaded when they are needed
            missing = new = []
        return [*missing, *changed, *new]


@dataclass(frozen=True)
class Provenance:
    """The resolved configuration and its sources, by their keys in it.

    accepted: the changes that were accepted when the run was continued, each with its step.
    fault: why the record cannot be compared; everything else is empty then.
    """

    config: dict[str, Any]
    sources: Mapping[str, InputSource]
    accepted: tuple[dict[str, Any], ...] = ()
    fault: str = ""

    @property
    def base(self) -> InputSource | None:
        """The base model, if its files are on this machine."""
        return self.sources.get(BASE)

    def with_base(self, base: InputSource | None) -> Provenance:
        """A copy with the base model, if it is known."""
        return replace(self, sources={**self.sources, BASE: base}) if base else self

    def differences(self, now: Provenance) -> list[str]:
        """What changed, a few words each: settings first, then contents."""
        if self.fault:
            return [self.fault]
        shared = self.sources.keys() & now.sources.keys()
        contents = {key: self.sources[key].differences(now.sources[key]) for key in sorted(shared)}
        # Settings are compared with the defaults of today, since older records lack newer keys.
        settings = []
        old, new = _flat(_resolved(self.config)), _flat(_resolved(now.config))
        for key in [*old, *(key for key in new if key not in old)]:
            before, after = old.get(key), new.get(key)
            if before == after:
                continue
            named = _sources_named_by(key, shared)
            if named and not any(contents[source] for source in named):
                continue  # another place or name for the same content
            settings.append(f"{key} was {_short(before)} and is {_short(after)}")
        return settings + [
            f"{key} ({now.sources[key].name}): {difference}"
            for key, differences in contents.items()
            for difference in differences
        ]

    def to_record(self) -> dict[str, Any]:
        """For the record beside an adapter: the sources, and which changes were accepted."""
        sources = {key: asdict(source) for key, source in self.sources.items()}
        for source in sources.values():
            del source["stamps"]  # they are those of this machine
        return {"sources": sources, "accepted_changes": list(self.accepted)}


def sources_of(config: RunConfig, inputs: RunInputs) -> dict[str, InputSource]:
    """The sources of a run except its base model."""
    sources = {}
    data = config.data
    for key, path, examples in (
        ("data.path", data.path, inputs.examples),
        ("data.eval_path", data.eval_path, inputs.eval_examples),
        ("data.retention_path", data.retention_path, inputs.retention_examples),
    ):
        if path is not None:
            file = Path(resolve(path))
            files = {file.name: file_sha256(file)} if file.is_file() else {}
            digest = rows_sha256(examples)
            sources[key] = InputSource(path, files, rows=len(examples), rows_sha256=digest)
    parts = read_spec(config.reward, REWARDS, allow_custom=True)
    settings = _flat({"reward": config.reward})
    for number, part in enumerate(parts, 1):
        if part.file:
            key = f"reward.parts.{number}.file"
            key = key if key in settings else "reward.file"
            hashes = {"its code": file_sha256(Path(part.file))}
            sources[key] = InputSource(str(settings[key]), hashes)
    if config.model.adapter:
        folder = Path(config.model.adapter)
        names = [name for name in ADAPTER_FILES if (folder / name).is_file()]
        hashes = {name: file_sha256(folder / name) for name in names}
        sources["model.adapter"] = InputSource(config.model.adapter, hashes)
    return sources


def base_source(model: ModelConfig, known: InputSource | None = None) -> InputSource | None:
    """Every file of the base that affects its results; None if the base is not on this machine yet.

    Args:
        model: the model section of the configuration.
        known: the source at an earlier time; a file with the same stamp is not hashed again.
    """
    from gft_lite.models.fingerprint import local_folder
    from gft_lite.models.load import (
        source_of,
    )  # imports torch, so only after the inputs are checked

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
        known_stamp = known and known.stamps.get(path.name)
        # Hashing gigabytes takes a minute, so a hash is reused if the file cannot have changed.
        if known and known_stamp == stamp:
            hashes[path.name] = known.files[path.name]
        elif in_cache and not known_stamp and BLOB.fullmatch(blob):
            hashes[path.name] = blob
        else:
            hashes[path.name] = file_sha256(path)
        stamps[path.name] = stamp
    return InputSource(model.name, hashes, stamps, commit=folder.name if in_cache else None)


def rows_sha256(examples: Iterable[Example]) -> str:
    """Hash of everything in examples that training can read, in their order."""
    digest = hashlib.sha256()
    for example in examples:
        turns = [(message.role, message.content) for message in example.prompt]
        row = (turns, example.experts, example.teachers, example.answer)
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def read_provenance(run: RunDir) -> Provenance | None:
    """The provenance recorded when the run started; None if there is no record."""
    try:
        record = json.loads((run.path / FILE).read_text(encoding="utf-8"))
        sources = {key: InputSource(**source) for key, source in record["sources"].items()}
        return Provenance(dict(record["config"]), sources, tuple(record["accepted"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Provenance({}, {}, fault=f"{FILE} is damaged, so no change can be found")


def write_provenance(run: RunDir, provenance: Provenance) -> None:
    """Record what the run is made from."""
    record = {
        "format": 1,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": {key: asdict(source) for key, source in provenance.sources.items()},
        "accepted": list(provenance.accepted),
        "config": provenance.config,
    }
    write_atomic(run.path / FILE, json.dumps(record, indent=1) + "\n")


def compare(
    run: RunDir, recorded: Provenance | None, now: Provenance, *, step: int, accept: bool
) -> tuple[Provenance, list[str]]:
    """Compare the inputs of a run that is continued with those it was started with.

    Args:
        run: the run.
        recorded: what it was made from, if that was recorded.
        now: what it would be made from now.
        step: step that the run continues from.
        accept: continue in spite of changes.

    Returns:
        `now` with all changes accepted so far, and the changes accepted by this call.

    Raises:
        RunError: something changed and is not accepted; the message names all of it.
    """
    changes = recorded.differences(now) if recorded else []
    accepted = recorded.accepted if recorded else ()
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


def accepted_event(changes: Sequence[str], step: int) -> InputsAcceptedEvent:
    """The event of accepted changes."""
    message = f"continued with other inputs, as accepted: {'; '.join(changes)}"
    return InputsAcceptedEvent(step=step, changes=list(changes), message=message)


def _resolved(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration with the defaults of settings that are newer than it."""
    try:
        return config_from_dict(config).to_dict()
    except ConfigError:
        return config


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}; members of a list of mappings are numbered from 1."""
    if isinstance(value, list | tuple) and any(isinstance(member, Mapping) for member in value):
        value = {str(number): member for number, member in enumerate(value, 1)}
    if not isinstance(value, Mapping):
        return {key: value}
    parts = [_flat(member, f"{key}.{name}" if key else str(name)) for name, member in value.items()]
    return {name: leaf for part in parts for name, leaf in part.items()}


def _sources_named_by(key: str, sources: Iterable[str]) -> list[str]:
    """The sources that a setting names; one outside of `stages` applies to all stages."""
    key = BASE if key == "model.revision" else key
    return [source for source in sources if source == key or source.endswith(f".{key}")]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
