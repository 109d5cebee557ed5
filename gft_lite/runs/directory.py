"""The run directory: the only source of truth about a run. All other code reads it.

config.yaml         the resolved configuration
inputs.json         hashes of the inputs of the run (gft_lite.training.provenance)
events.jsonl        one event a line (gft_lite.runs.events): {"type": "step", "step": 12, ...}
status.json         state and progress, replaced atomically (gft_lite.runs.status)
groups/             step-000012.json.gz: the groups of the step: texts, rewards, token weights
checkpoints/        step-000050/: adapter, optimizer, record (gft_lite.training.checkpoints)
best/               step-000040/: the checkpoint of the best evaluated step, if the run keeps it
adapter/            the result
log.txt             output of libraries, tracebacks
run.lock            locked by the process that trains the run

A file that cannot be read affects its own run only: `RunDir.status` and `RunDir.current` return
the state "damaged" with a message, damaged event lines are left out, and `runs.damage_report`
lists everything that is damaged. Nothing here raises because of the content of a status or an
events file.

The lock alone decides whether a run is alive, never a process number or a clock. A directory
without a lock file (a copy, a run of a version before the lock) is not alive. On a file system
without `flock`, the lock is a file that names host and process; after a crash of another host it
remains and must be deleted by hand. If the lock cannot be tested (a read-only file system), the
status decides.

A pipeline's directory holds one such directory per stage (stage-1-sft/, stage-2-gft/ …) and the
last adapter. Its events and groups are those of its stages, with their steps continued, so a
reader sees one long run.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from gft_lite.config import RunConfig, load_config
from gft_lite.runs import stored_groups
from gft_lite.runs.atomic import write_atomic
from gft_lite.runs.event_log import EventLog, of_stage
from gft_lite.runs.events import Event
from gft_lite.runs.reading import LARGEST_BYTES, UNREADABLE, describe, open_fault
from gft_lite.runs.resources import shortage
from gft_lite.runs.status import BUSY, State, Status, read_status, write_status
from gft_lite.types import ConfigError, RunError

AnyEvent = TypeVar("AnyEvent", bound=Event)

LOCK_SECONDS = 1.0  # longer than another process holds the lock to test it
SECTIONS = ("model", "data", "group", "method", "train")  # in every resolved configuration
REMEDY = "make it writable (permissions, room on the disk), or copy it and resume the copy"


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
        self.event_log = EventLog(self.events_file)
        self._lock = FileLock(self.lock_file, thread_local=False)

    @classmethod
    def create(cls, path: str | os.PathLike[str], config_yaml: str) -> RunDir:
        """Make a new run directory.

        Raises:
            RunError: the folder is not empty (nothing is overwritten), or cannot be written.
        """
        run = cls(path)
        unfinished = run.path / "config.yaml.tmp"  # left by a process that was killed right here
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
        if not (os.path.lexists(run.config_file) or is_run(run.path)):  # `current` reports damage
            raise RunError(f"{path} is not a run directory: it has no config.yaml")
        return run

    def log(self, text: str) -> None:
        """Add a text, such as a traceback, to log.txt."""
        with self.log_file.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text.rstrip("\n") + "\n")

    # --- configuration ---

    def config(self) -> RunConfig:
        """The resolved configuration.

        Raises:
            ConfigError: config.yaml cannot be read, or is not the configuration of a run.
        """
        try:
            fault = open_fault(self.config_file, LARGEST_BYTES)
        except OSError as error:
            fault = describe(error)
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
        """The text of config.yaml; empty if it cannot be read."""
        try:
            if open_fault(self.config_file, LARGEST_BYTES):
                return ""
            return self.config_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _config_fault(self) -> str:
        try:
            stat = self.config_file.stat()
        except OSError as error:
            return f"{self.config_file} cannot be read ({describe(error)})"
        return _config_fault(self.config_file, stat.st_ino, stat.st_mtime_ns, stat.st_size)

    # --- the process that trains ---

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Own the run: inside the block the run is alive, and no other process can train it.

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
        except OSError:  # the lock cannot be tested: the status decides
            return self.status()["state"] in BUSY

    def request_stop(self) -> None:
        """Ask the run to stop after the current step."""
        self.stop_file.touch()

    def remove_leftovers(self) -> None:
        """Remove half-written files of a killed process. Call it only while holding the lock."""
        for pattern in (".*.tmp", ".*.old", "groups/*.tmp", "checkpoints/.*"):
            for path in self.path.glob(pattern):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    # --- status ---

    def set_status(self, state: State, **fields: Any) -> None:
        """Replace status.json."""
        write_status(self.status_file, state, **fields)

    def status(self) -> Status:
        """The last status; "created" if none was written, "damaged" if it cannot be read."""
        try:
            return read_status(self.status_file)
        except FileNotFoundError:
            if not self.events_file.exists():
                return {"state": "created", "step": 0}
            fault = f"{self.status_file} is missing"
        except UNREADABLE as error:
            fault = f"{self.status_file} is damaged ({describe(error)})"
        remedy = f"`gft-lite resume {self.path}` continues from the last checkpoint and replaces it"
        return {"state": "damaged", "step": 0, "message": f"{fault}; {remedy}"}

    def current(self) -> Status:
        """The status with its real state: "interrupted" if the process is gone, "damaged" if the
        configuration cannot be used."""
        status = self.status()
        while status["state"] in BUSY and not self.is_alive():
            # A process may write its last status and end between the two reads: read it again.
            last = self.status()
            status = {**status, "state": "interrupted"} if last == status else last
        if status["state"] != "damaged" and (fault := self._config_fault()):
            remedy = (
                "correct it or restore it from a copy; the other files of the run are untouched"
            )
            return {**status, "state": "damaged", "message": f"{fault}; {remedy}"}
        return status

    # --- events, groups and checkpoints ---

    def events(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """The lines of events.jsonl in order, or those of one type; damaged lines are left out."""
        for event in chain(self._events_of_stages(), self.event_log.events()):
            if kind is None or event["type"] == kind:
                yield event

    def read(self, kind: type[AnyEvent]) -> Iterator[AnyEvent]:
        """All events of one type, e.g. `run.read(StepEvent)`."""
        return (kind.from_dict(line) for line in self.events(kind.type))

    def forget_after(self, step: int) -> None:
        """Remove events and stored groups of later steps: a resumed run writes them again."""
        self.event_log.drop_after(step)
        stored_groups.drop_groups_after(self.groups_dir, step)

    def read_groups(self, step: int) -> list[dict[str, Any]]:
        """The groups of one step.

        Raises:
            RunError: that step was not stored, or its file is damaged.
        """
        for before, stage in reversed(self._steps_before()):
            if step > before:
                return stage.read_groups(step - before)
        return stored_groups.read_groups(self.groups_dir, step)

    def group_steps(self) -> list[int]:
        """Steps whose groups are stored."""
        own = stored_groups.stored_steps(self.groups_dir)
        return own + [b + step for b, stage in self._steps_before() for step in stage.group_steps()]

    def checkpoints(self) -> list[Path]:
        """All checkpoints by their names, oldest first; `training.checkpoints.fault_of` checks
        one."""
        folders = self.checkpoints_dir.glob("step-*")
        return sorted((p for p in folders if re.fullmatch(r"step-\d+", p.name)), key=step_of)

    # --- stages ---

    def stages(self) -> list[RunDir]:
        """The runs of a pipeline's stages so far, in order; empty for any other run."""
        folders = {
            file.parent
            for name in ("config.yaml", "status.json")
            for file in self.path.glob(f"stage-*-*/{name}")
            if re.fullmatch(r"stage-\d+-.+", file.parent.name)
        }
        return [RunDir(folder) for folder in sorted(folders, key=stage_number)]

    def _steps_before(self) -> list[tuple[int, RunDir]]:
        """(steps of all earlier stages, stage) for every stage."""
        pairs, before = [], 0
        for stage in self.stages():
            pairs.append((before, stage))
            status = stage.status()
            if status["state"] == "damaged":  # without a status, the events have the steps
                before += max((event.get("step", 0) for event in stage.events()), default=0)
            before += status["step"]
        return pairs

    def _events_of_stages(self) -> Iterator[dict[str, Any]]:
        for before, stage in self._steps_before():
            for event in stage.events():
                yield of_stage(event, stage_number(stage.path), before)


@lru_cache(maxsize=1024)
def _config_fault(file: Path, inode: int, changed_ns: int, size: int) -> str:
    """What is wrong with a configuration. Each version of the file is read once."""
    try:
        RunDir(file.parent).config()
    except ConfigError as error:
        return str(error)
    return ""


def stage_number(path: Path) -> int:
    """The number in a name like stage-2-gft."""
    return int(path.name.split("-")[1])


def step_of(path: Path) -> int:
    """The step in a name like step-000012."""
    return int(path.name.removeprefix("step-").split(".")[0])


@contextmanager
def writing(folder: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Write into a run directory.

    Raises:
        RunError: the folder cannot be written; the message ends with `remedy`.
    """
    try:
        yield
    except OSError as error:
        if short := shortage(error):
            raise RunError(f"{folder} cannot be written: {short}") from None
        raise RunError(f"{folder} cannot be written ({error.strerror}); {remedy}") from None


def claim_empty(path: Path, mode: int = 0o777) -> None:
    """Make an output folder with these permissions, or use an empty one as it is.

    Raises:
        RunError: it is a file, is not empty, or cannot be made.
    """
    try:
        if path.is_dir() and any(path.iterdir()):
            content, more = _describe_content(path)
            raise RunError(
                f"{path} already holds {content}; nothing was overwritten. "
                f"Choose another --out{more}"
            )
        path.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        reason = f": {short}" if (short := shortage(error)) else f" ({error.strerror})"
        raise RunError(
            f"{path}: the output folder cannot be made{reason}; choose another --out"
        ) from None


def _describe_content(path: Path) -> tuple[str, str]:
    """What a folder holds, and what the user can do besides choosing another folder."""
    run = RunDir(path)
    if not run.config_file.exists():
        return "files", ""
    resume = f", or continue the run with `gft-lite resume {path}`"
    if (status := run.status())["state"] != "failed":
        return "a run", resume
    reason = status.get("message", "").split("\n")[0]
    restart = ", delete the folder to begin again in it"
    return f"a run, which failed ({reason})", f"{restart}{resume} and the settings it has"


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, even a damaged one: one file may belong to another program."""
    names = ("config.yaml", "status.json", "events.jsonl", "checkpoints")
    return sum(os.path.lexists(folder / name) for name in names) >= 2


def list_runs(root: str | os.PathLike[str]) -> list[RunDir]:
    """Runs below a folder (the folder itself, its children and grandchildren), newest first."""
    top = Path(root)
    folders = {
        file.parent
        for pattern in ("", "*/", "*/*/")
        for name in ("config.yaml", "status.json")
        for file in top.glob(pattern + name)
        if is_run(file.parent)
    }
    return [RunDir(folder) for folder in sorted(folders, key=changed_at, reverse=True)]


def changed_at(folder: Path) -> float:
    """When a run was made, in seconds since 1970: the order of lists."""
    for path in (folder / "config.yaml", folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0
