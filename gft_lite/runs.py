"""The run directory, which is the truth about a run: everyone else only reads it.

config.yaml         the resolved configuration
events.jsonl        one typed event a line: {"type": "step", "step": 12, ...}
status.json         state and progress, replaced atomically
groups/             step-000012.json.gz: every group of the step, texts, rewards, token weights
checkpoints/        step-000050/: adapter, optimizer, state
best/               step-000040/: the same of the best evaluated step, if the run keeps it
adapter/            the result
log.txt             what libraries and tracebacks said

A pipeline's directory holds one such directory a stage (stage-1-sft/, stage-2-gft/ …) and the last
adapter. Its events and groups are those of its stages, with their steps counted on: whoever reads
it sees one long run.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from gft_lite.types import RunError

State = Literal["created", "queued", "starting", "running", "finished", "stopped", "failed"]
BUSY = ("starting", "running")  # states in which a process owns the run
TO_WRITE = "make it writable (permissions, room on the disk), or copy it and resume the copy"


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

    @classmethod
    def create(cls, path: str | os.PathLike[str], config_yaml: str) -> RunDir:
        """Make a new run directory.

        Raises:
            RunError: something is there already, which is not overwritten, or no file can be made.
        """
        run = cls(path)
        claim_empty(run.path)
        with writing(run.path, "choose another --out"):
            run.config_file.write_text(config_yaml, encoding="utf-8")
            run.set_status("created")
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDir:
        """Open an existing run.

        Raises:
            RunError: the folder holds no run.
        """
        run = cls(path)
        if not run.config_file.is_file():
            raise RunError(f"{path} is not a run directory: it has no config.yaml")
        return run

    # --- events ---

    def append(self, event: Mapping[str, Any]) -> None:
        """Add one event; a reader sees whole lines only."""
        line = json.dumps({"time": round(time.time(), 3), **event}, ensure_ascii=False)
        with self.events_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def events(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """All events in order, or those of one type; half-written lines are left out."""
        for event in chain(self._events_of_stages(), self._own_events()):
            if kind is None or event["type"] == kind:
                yield event

    def _own_events(self) -> Iterator[dict[str, Any]]:
        if not self.events_file.is_file():
            return
        with self.events_file.open("rb") as file:  # bytes: a line may end within a character
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    yield json.loads(line)
                except ValueError:  # cut short by a full disk, and the next line glued to it
                    continue

    def forget_after(self, step: int) -> None:
        """Drop events and stored groups of later steps: a resumed run writes them again."""
        kept = [
            e for e in self._own_events() if e.get("step", 0) <= step and e["type"] != "finished"
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

    def status(self) -> dict[str, Any]:
        """The last status; {"state": "created"} where none was written.

        Where the file is no status (a disk that was full), the run counts as failed.
        """
        try:
            return json.loads(self.status_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"state": "created"}
        except ValueError:
            return {"state": "failed", "message": f"{self.status_file} is damaged"}

    def current(self) -> dict[str, Any]:
        """The status with its state as it is: "interrupted" where the process has gone.

        Not for the process that trains the run itself.
        """
        status = self.status()
        if status["state"] in BUSY and not alive(status):
            return {**status, "state": "interrupted"}
        return status

    def request_stop(self) -> None:
        """Ask the run to stop after the current step."""
        self.stop_file.touch()

    # --- stages ---

    def stages(self) -> list[RunDir]:
        """The runs of a pipeline's stages so far, in order; none where this is no pipeline."""
        found = [RunDir(file.parent) for file in self.path.glob("stage-*-*/config.yaml")]
        return sorted(found, key=lambda stage: stage_number(stage.path))

    def _steps_before(self) -> list[tuple[int, RunDir]]:
        """Every stage, and the steps all stages before it took."""
        out, before = [], 0
        for stage in self.stages():
            out.append((before, stage))
            before += stage.status().get("step", 0)
        return out

    def _events_of_stages(self) -> Iterator[dict[str, Any]]:
        for before, stage in self._steps_before():
            for event in stage.events():
                yield of_stage(event, stage_number(stage.path), before)

    # --- groups and checkpoints ---

    def write_groups(self, step: int, groups: list[dict[str, Any]]) -> None:
        """Store the groups of one step."""
        self.groups_dir.mkdir(exist_ok=True)
        target = self.groups_dir / f"step-{step:06d}.json.gz"
        aside = target.with_suffix(".tmp")
        with gzip.open(aside, "wt", encoding="utf-8", compresslevel=3) as file:
            json.dump(groups, file, ensure_ascii=False)
        aside.replace(target)

    def read_groups(self, step: int) -> list[dict[str, Any]]:
        """The groups of one step.

        Raises:
            RunError: that step was not stored.
        """
        for before, stage in reversed(self._steps_before()):
            if step > before:
                return stage.read_groups(step - before)
        file = self.groups_dir / f"step-{step:06d}.json.gz"
        if not file.is_file():
            raise RunError(f"{self.path}: the groups of step {step} were not stored")
        with gzip.open(file, "rt", encoding="utf-8") as handle:
            return json.load(handle)

    def group_steps(self) -> list[int]:
        """Steps whose groups are stored."""
        own = sorted(step_of(file) for file in self.groups_dir.glob("step-*.json.gz"))
        return own + [b + step for b, stage in self._steps_before() for step in stage.group_steps()]

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(
            folder
            for folder in self.checkpoints_dir.glob("step-*")
            if (folder / "state.json").is_file()
        )


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


def alive(status: Mapping[str, Any]) -> bool:
    """Whether the process of a status still runs: the same one, not a later one with its number,
    and not this one."""
    import psutil

    if status["pid"] == os.getpid():
        return False
    try:
        process = psutil.Process(status["pid"])
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not ended and process.create_time() <= status["updated"]
    except psutil.NoSuchProcess:
        return False


def step_of(path: Path) -> int:
    """The step in a name like step-000012.json.gz."""
    return int(path.name.removeprefix("step-").split(".")[0])


def write_atomic(path: Path, text: str) -> None:
    """Write aside, then rename: a reader sees the old file or the new one, never half of one."""
    aside = path.with_name(path.name + ".tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


@contextmanager
def writing(folder: Path, todo: str = TO_WRITE) -> Iterator[None]:
    """Write into a run directory; where the system forbids that, RunError says what `todo`."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error.strerror}); {todo}") from None


def claim_empty(path: Path) -> None:
    """Make an output folder, or take an empty one.

    Raises:
        RunError: it is a file, holds something, or cannot be made.
    """
    try:
        if path.is_dir() and any(path.iterdir()):
            what, more = _taken(path)
            raise RunError(
                f"{path} already holds {what}; nothing was overwritten. Choose another --out{more}"
            )
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{path}: the output folder cannot be made ({error.strerror}); choose another --out"
        ) from None


def _taken(path: Path) -> tuple[str, str]:
    """What a folder holds, and what else can be done than to choose another."""
    run = RunDir(path)
    if not run.config_file.exists():
        return "files", ""
    todo = f", or continue the run with `gft-lite resume {path}`"
    if (status := run.status())["state"] != "failed":
        return "a run", todo
    reason = str(status.get("message", "")).split("\n")[0]
    begin = ", delete the folder to begin again in it"
    return f"a run, which failed ({reason})", f"{begin}{todo} and the settings it has"


def list_runs(root: str | os.PathLike[str]) -> list[RunDir]:
    """Runs below a folder (the folder itself, its children and grandchildren), newest first."""
    top = Path(root)
    found = [
        file.parent
        for pattern in ("config.yaml", "*/config.yaml", "*/*/config.yaml")
        for file in top.glob(pattern)
        if (file.parent / "status.json").is_file()
    ]
    return [RunDir(p) for p in sorted(found, key=lambda p: -(p / "config.yaml").stat().st_mtime)]
