"""The run directory, which is the truth about a run: everyone else only reads it.

config.yaml         the resolved configuration
inputs.json         hashes of what the run was made from (gft_lite.training.provenance)
events.jsonl        one typed event a line: {"type": "step", "step": 12, ...}
status.json         state and progress, replaced atomically
groups/             step-000012.json.gz: every group of the step, texts, rewards, token weights
checkpoints/        step-000050/: adapter, optimizer, record (gft_lite.training.checkpoints)
best/               step-000040/: the same of the best evaluated step, if the run keeps it
adapter/            the result
log.txt             what libraries and tracebacks said
run.lock            locked by the process that trains the run, for as long as it does

A file that cannot be read damages its own run only: `RunDir.status` and `RunDir.current` then give
the state "damaged" with a message, event lines that are no events are left out, and
`RunDir.damage` lists everything that is wrong. Nothing here raises for the content of a file.

Whether a run is alive is decided by its lock alone, never by a process number or a clock. A
directory without a lock file (a copy, a run of a version before the lock) is not alive. Where the
file system has no `flock`, the library makes the lock a file that names host and process: after a
crash of another host it stays, and is deleted by hand. Where the lock cannot be tested (a read-only
file system), the written status counts.

A pipeline's directory holds one such directory a stage (stage-1-sft/, stage-2-gft/ …) and the last
adapter. Its events and groups are those of its stages, with their steps counted on: whoever reads
it sees one long run.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import shutil
import stat
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Required, TypedDict, get_args

from filelock import FileLock, Timeout

from gft_lite.config import RunConfig, load_config
from gft_lite.runs.atomic import new_file, write_atomic
from gft_lite.runs.resources import shortage
from gft_lite.types import ConfigError, RunError

State = Literal["created", "queued", "starting", "running", "finished", "stopped", "failed"]
STATES: tuple[State, ...] = get_args(State)
BUSY = ("starting", "running")  # states in which a process owns the run
LOCK_SECONDS = 1.0  # a look at the lock takes it for microseconds: wait that out
LARGEST_STATUS = LARGEST_CONFIG = 2**22
SECTIONS = ("model", "data", "group", "method", "train")  # every resolved configuration has them
UNREADABLE = (OSError, ValueError, RecursionError, EOFError, zlib.error)
CHECKPOINT = re.compile(r"step-\d+")
TO_WRITE = "make it writable (permissions, room on the disk), or copy it and resume the copy"


class Status(TypedDict, total=False):
    """Where a run stands. `state` and `step` are always there and every field has its type."""

    state: Required[str]
    """One of `STATES`; "damaged" where status.json or config.yaml cannot be read, and, in
    `RunDir.current`, "interrupted" where the process has gone."""
    step: Required[int]
    """Optimizer steps taken."""
    steps: int
    """Optimizer steps planned."""
    pid: int
    """Process that wrote the status, for messages only."""
    updated: float
    """When it was written, in seconds since 1970."""
    since: float
    """When the run was queued, in seconds since 1970."""
    reason: str
    """Why the run took no further step: steps, max_tokens, runaway or stopped."""
    message: str
    """Why the run ended early, or what is damaged and what to do."""
    stage: str
    """The stage that a pipeline is at."""


class RunDir:
    """Paths, events and status of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.events_file = self.path / "events.jsonl"
        self.status_file = self.path / "status.json"
        self.groups_dir = self.path / "groups"
        self.checkpoints_dir = self.path / "checkpoints"
        self.adapter_dir = self.path / "adapter"
        self.log_file = self.path / "log.txt"
        self.stop_file = self.path / "stop"
        self.lock_file = self.path / "run.lock"
        self._lock = FileLock(self.lock_file, thread_local=False)

    @classmethod
    def create(cls, path: str | os.PathLike[str], config_yaml: str) -> RunDir:
        """Make a new run directory.

        Raises:
            RunError: something is there already, which is not overwritten, or no file can be made.
        """
        run = cls(path)
        unfinished = run.path / "config.yaml.tmp"  # of a process that was killed right here
        if run.path.is_dir() and list(run.path.iterdir()) == [unfinished]:
            unfinished.unlink()
        claim_empty(run.path, 0o700)  # a run holds the texts of its data
        with writing(run.path, "choose another --out"):
            write_atomic(run.config_file, config_yaml)
            run.set_status("created")
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDir:
        """Open an existing run.

        Raises:
            RunError: the folder holds no run.
        """
        run = cls(path)
        if not (os.path.lexists(run.config_file) or is_run(run.path)):  # `current` names damage
            raise RunError(f"{path} is not a run directory: it has no config.yaml")
        return run

    def config(self) -> RunConfig:
        """The resolved configuration.

        Raises:
            ConfigError: config.yaml cannot be read, or is not the configuration of a run.
        """
        try:
            fault = _not_a_file(self.config_file, LARGEST_CONFIG)
        except OSError as error:
            fault = _reason(error)
        if fault:
            raise ConfigError(f"{self.config_file} cannot be read ({fault})")
        config = load_config(self.config_file)
        if missing := [name for name in SECTIONS if name not in config.model_fields_set]:
            raise ConfigError(
                f"{self.config_file}: lacks the sections {', '.join(missing)}; it is not the "
                "resolved configuration of a run"
            )
        return config

    def config_text(self) -> str:
        """config.yaml as it stands; empty where it cannot be read."""
        try:
            if _not_a_file(self.config_file, LARGEST_CONFIG):
                return ""
            return self.config_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    # --- the process that trains ---

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Own the run: until the end of the block, no other process trains it and it is alive.

        The same object may lock again within the block.

        Raises:
            RunError: another process owns the run, or the lock file cannot be made.
        """
        with writing(self.path):
            try:
                self._lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.01)
            except Timeout:
                pid = self.status().get("pid")
                by = f" (process {pid})" if pid else ""
                raise RunError(f"{self.path} is still running{by}; stop it first") from None
        try:
            yield
        finally:
            self._lock.release()

    def is_alive(self) -> bool:
        """Whether a process owns the run."""
        try:
            self.lock_file.lstat()
            with FileLock(self.lock_file).acquire(timeout=0.2, poll_interval=0.01):
                return False
        except FileNotFoundError:
            return False
        except Timeout:
            return True
        except OSError:  # it cannot be tested: the status counts
            return self.status()["state"] in BUSY

    # --- events ---

    def append(self, event: Mapping[str, Any]) -> None:
        """Add one event; a reader sees whole lines only."""
        line = json.dumps({"time": round(time.time(), 3), **event}, ensure_ascii=False) + "\n"
        with self.events_file.open("ab", buffering=0) as file:
            begin, rest = file.tell(), memoryview(line.encode())
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(begin)  # else the next event would be glued to half a line
                raise

    def log(self, text: str) -> None:
        """Add a text, such as a traceback, to log.txt."""
        with self.log_file.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text.rstrip("\n") + "\n")

    def events(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """All events in order, or those of one type; lines that are no events are left out."""
        for event in chain(self._events_of_stages(), self._own_events()):
            if kind is None or event["type"] == kind:
                yield event

    def _own_events(self) -> Iterator[dict[str, Any]]:
        return (event for event in self._lines() if event is not None)

    def _lines(self) -> Iterator[dict[str, Any] | None]:
        """What each whole line holds; a last line without its end is still being written."""
        if self.events_fault():
            return
        # bytes: a line may end within a character
        with suppress(OSError), self.events_file.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield parse_event(line)

    def events_fault(self) -> str:
        """Why there are no events to read: empty where there are, or none were written."""
        try:
            return _not_a_file(self.events_file)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return _reason(error)

    def forget_after(self, step: int) -> None:
        """Drop events and stored groups of later steps, and those of the run's end: a resumed run
        writes them again."""
        kept = [
            e
            for e in self._own_events()
            if e.get("step", 0) <= step and e["type"] != "finished" and not e.get("final")
        ]
        text = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in kept)
        write_atomic(self.events_file, text)
        for file in self.groups_dir.glob("step-*.json.gz"):
            if step_of(file) > step:
                file.unlink()

    # --- status ---

    def set_status(self, state: State, **fields: Any) -> None:
        """Replace status.json."""
        status = {"state": state, "pid": os.getpid(), "updated": round(time.time(), 3), **fields}
        write_atomic(self.status_file, json.dumps(status, indent=1))

    def status(self) -> Status:
        """The last status; "created" where none was written, "damaged" where it cannot be read."""
        try:
            return _read_status(self.status_file)
        except FileNotFoundError:
            if not self.events_file.exists():
                return {"state": "created", "step": 0}
            return self._damaged(f"{self.status_file} is missing")
        except UNREADABLE as error:
            return self._damaged(f"{self.status_file} is damaged ({_reason(error)})")

    def _damaged(self, fault: str) -> Status:
        todo = f"`gft-lite resume {self.path}` goes on from the last checkpoint and writes it anew"
        return {"state": "damaged", "step": 0, "message": f"{fault}; {todo}"}

    def current(self) -> Status:
        """The status with its state as it is: "interrupted" where the process has gone, "damaged"
        where the configuration cannot be used."""
        status = self.status()
        while status["state"] in BUSY and not self.is_alive():
            # A process may write its last status and end between the two reads: read it again.
            last = self.status()
            status = {**status, "state": "interrupted"} if last == status else last
        if status["state"] != "damaged" and (fault := self._config_fault()):
            todo = "correct it or restore it from a copy; the other files of the run are untouched"
            return {**status, "state": "damaged", "message": f"{fault}; {todo}"}
        return status

    def _config_fault(self) -> str:
        try:
            there = self.config_file.stat()
        except OSError as error:
            return f"{self.config_file} cannot be read ({_reason(error)})"
        return _config_fault(self.config_file, there.st_ino, there.st_mtime_ns, there.st_size)

    def damage(self) -> list[str]:
        """What of this run cannot be read, groups aside, a sentence each: file and what to do."""
        status = self.current()
        found = [status.get("message", "")] if status["state"] == "damaged" else []
        if fault := self.events_fault():
            found.append(
                f"{self.events_file} cannot be read ({fault}); curves and figures are lost, the "
                "adapter does not depend on them"
            )
        if broken := sum(event is None for event in self._lines()):
            lines = "1 line is" if broken == 1 else f"{broken} lines are"
            found.append(
                f"{self.events_file}: {lines} damaged and left out; curves and figures lack them, "
                "the adapter does not depend on them"
            )
        record = self.adapter_dir / "gft_lite.json"
        try:
            if os.path.lexists(record) and not isinstance(_read_json(record), dict):
                raise ValueError("it is no JSON object")
        except UNREADABLE as error:
            found.append(
                f"{record} is damaged ({_reason(error)}); the adapter's weights are a file of "
                f"their own: restore the record from a copy, or delete {self.adapter_dir} and "
                f"resume the run"
            )
        return found + [sentence for stage in self.stages() for sentence in stage.damage()]

    def damaged_groups(self) -> list[str]:
        """A sentence for each file of groups that cannot be read. Reads them all."""
        found = []
        for step in self._own_group_steps():
            try:
                self._read_own_groups(step)
            except RunError as error:
                found.append(str(error))
        return found + [line for stage in self.stages() for line in stage.damaged_groups()]

    def request_stop(self) -> None:
        """Ask the run to stop after the current step."""
        self.stop_file.touch()

    # --- stages ---

    def stages(self) -> list[RunDir]:
        """The runs of a pipeline's stages so far, in order; none where this is no pipeline."""
        folders = {
            file.parent
            for name in ("config.yaml", "status.json")
            for file in self.path.glob(f"stage-*-*/{name}")
            if re.fullmatch(r"stage-\d+-.+", file.parent.name)
        }
        return [RunDir(folder) for folder in sorted(folders, key=stage_number)]

    def _steps_before(self) -> list[tuple[int, RunDir]]:
        """Every stage, and the steps all stages before it took."""
        out, before = [], 0
        for stage in self.stages():
            out.append((before, stage))
            status = stage.status()
            if status["state"] == "damaged":
                before += max((event.get("step", 0) for event in stage.events()), default=0)
            before += status["step"]
        return out

    def _events_of_stages(self) -> Iterator[dict[str, Any]]:
        for before, stage in self._steps_before():
            for event in stage.events():
                yield of_stage(event, stage_number(stage.path), before)

    # --- groups and checkpoints ---

    def write_groups(self, step: int, groups: list[dict[str, Any]]) -> None:
        """Store the groups of one step."""
        self.groups_dir.mkdir(exist_ok=True)
        with (
            new_file(self.groups_dir / f"step-{step:06d}.json.gz") as aside,
            gzip.open(aside, "wt", encoding="utf-8", compresslevel=3) as file,
        ):
            json.dump(groups, file, ensure_ascii=False)

    def read_groups(self, step: int) -> list[dict[str, Any]]:
        """The groups of one step.

        Raises:
            RunError: that step was not stored, or its file is damaged.
        """
        for before, stage in reversed(self._steps_before()):
            if step > before:
                return stage.read_groups(step - before)
        return self._read_own_groups(step)

    def _read_own_groups(self, step: int) -> list[dict[str, Any]]:
        file = self.groups_dir / f"step-{step:06d}.json.gz"
        if not os.path.lexists(file):
            raise RunError(f"{self.path}: the groups of step {step} were not stored")
        try:
            if fault := _not_a_file(file):
                raise ValueError(fault)
            with gzip.open(file, "rt", encoding="utf-8") as handle:
                groups = json.load(handle)
            if not isinstance(groups, list) or not all(isinstance(g, dict) for g in groups):
                raise ValueError("it is no list of groups")
        except UNREADABLE as error:
            raise RunError(
                f"{file} is damaged ({_reason(error)}); other steps can be looked at, and the "
                "adapter does not depend on it"
            ) from None
        return groups

    def group_steps(self) -> list[int]:
        """Steps whose groups are stored."""
        own = self._own_group_steps()
        return own + [b + step for b, stage in self._steps_before() for step in stage.group_steps()]

    def _own_group_steps(self) -> list[int]:
        files = self.groups_dir.glob("step-*.json.gz")
        return sorted(step_of(file) for file in files if re.fullmatch(r"step-\d+", file.name[:-8]))

    def checkpoints(self) -> list[Path]:
        """All checkpoints by their names, oldest first; `training.checkpoints.fault_of` checks
        one."""
        named = [p for p in self.checkpoints_dir.glob("step-*") if CHECKPOINT.fullmatch(p.name)]
        return sorted(named, key=step_of)

    def remove_leftovers(self) -> None:
        """Remove what a killed process was writing or removing; not while another one writes."""
        for pattern in (".*.tmp", ".*.old", "groups/*.tmp", "checkpoints/.*"):
            for path in self.path.glob(pattern):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def stage_number(path: Path) -> int:
    """The number in a name like stage-2-gft."""
    return int(path.name.split("-")[1])


def of_stage(event: Mapping[str, Any], number: int, before: int) -> dict[str, Any]:
    """An event of a stage as the pipeline tells it: steps counted on, its end not the end of all.

    Args:
        event: as the stage tells it.
        number: of the stage, from 1.
        before: steps that the stages before it took.
    """
    ended = event["type"] == "finished"
    told = {**event, "stage": number, "step": before + event.get("step", 0)}
    return told | {"type": "stage_finished"} if ended else told


def parse_event(line: bytes) -> dict[str, Any] | None:
    """The event of one line of events.jsonl; None where it is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # cut short by a full disk, and the next line glued to it
        return None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        return None
    return event if _is_count(event.get("step", 0)) else None


def _read_status(file: Path) -> Status:
    """A status with every field of its type.

    Raises:
        ValueError: what is wrong with it.
    """
    found = _read_json(file)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    if found.get("state") not in STATES:
        raise ValueError(f"its state is {found.get('state')!r:.60}")
    checks = {"step": _is_count, "steps": _is_count, "pid": _is_count, "updated": _is_time}
    checks |= {"since": _is_time, "message": _is_text, "stage": _is_text, "reason": _is_text}
    for name, fits in checks.items():
        if name in found and not fits(found[name]):
            raise ValueError(f"its {name} is {found[name]!r:.60}")
    status: Status = {"step": 0, **found}  # type: ignore[typeddict-item]
    return status


def _read_json(file: Path) -> Any:
    if fault := _not_a_file(file, LARGEST_STATUS):
        raise ValueError(fault)
    return json.loads(file.read_text(encoding="utf-8"))


def _not_a_file(file: Path, limit: float = math.inf) -> str:
    """Why a file must not be opened: reading a pipe waits for ever, a device never ends."""
    there = file.stat()
    if not stat.S_ISREG(there.st_mode):
        return "it is a folder" if stat.S_ISDIR(there.st_mode) else "it is no regular file"
    return f"it has {there.st_size:,} bytes" if there.st_size > limit else ""


def _reason(error: BaseException) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8 text"
    if isinstance(error, json.JSONDecodeError):
        return "it is empty" if not error.doc.strip() else "it is no valid JSON"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or "it ends too early"


@lru_cache(maxsize=1024)
def _config_fault(file: Path, inode: int, changed_ns: int, size: int) -> str:
    """What is wrong with a configuration, read once for every version of the file."""
    try:
        RunDir(file.parent).config()
    except ConfigError as error:
        return str(error)
    return ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def step_of(path: Path) -> int:
    """The step in a name like step-000012.json.gz."""
    return int(path.name.removeprefix("step-").split(".")[0])


@contextmanager
def writing(folder: Path, todo: str = TO_WRITE) -> Iterator[None]:
    """Write into a run directory; where the system forbids that, RunError says what `todo`."""
    try:
        yield
    except OSError as error:
        if short := shortage(error):
            raise RunError(f"{folder} cannot be written: {short}") from None
        raise RunError(f"{folder} cannot be written ({error.strerror}); {todo}") from None


def claim_empty(path: Path, mode: int = 0o777) -> None:
    """Make an output folder with these permissions, or take an empty one as it is.

    Raises:
        RunError: it is a file, holds something, or cannot be made.
    """
    try:
        if path.is_dir() and any(path.iterdir()):
            what, more = _taken(path)
            raise RunError(
                f"{path} already holds {what}; nothing was overwritten. Choose another --out{more}"
            )
        path.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        reason = f": {short}" if (short := shortage(error)) else f" ({error.strerror})"
        raise RunError(
            f"{path}: the output folder cannot be made{reason}; choose another --out"
        ) from None


def _taken(path: Path) -> tuple[str, str]:
    """What a folder holds, and what else can be done than to choose another."""
    run = RunDir(path)
    if not run.config_file.exists():
        return "files", ""
    todo = f", or continue the run with `gft-lite resume {path}`"
    if (status := run.status())["state"] != "failed":
        return "a run", todo
    reason = status.get("message", "").split("\n")[0]
    begin = ", delete the folder to begin again in it"
    return f"a run, which failed ({reason})", f"{begin}{todo} and the settings it has"


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, be it damaged: one file alone may be of another program."""
    names = ("config.yaml", "status.json", "events.jsonl", "checkpoints")
    return sum(os.path.lexists(folder / name) for name in names) >= 2


def list_runs(root: str | os.PathLike[str]) -> list[RunDir]:
    """Runs below a folder (the folder itself, its children and grandchildren), newest first."""
    top = Path(root)
    found = {
        file.parent
        for pattern in ("", "*/", "*/*/")
        for name in ("config.yaml", "status.json")
        for file in top.glob(pattern + name)
        if is_run(file.parent)
    }
    return [RunDir(folder) for folder in sorted(found, key=changed_at, reverse=True)]


def changed_at(folder: Path) -> float:
    """When a run was made, for the order of lists."""
    for path in (folder / "config.yaml", folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0
