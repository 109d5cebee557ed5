"""The status of a run: `status.json`, replaced atomically."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Literal, Required, TypedDict, get_args

from gft_lite.runs.atomic import write_atomic
from gft_lite.runs.reading import is_count, read_json

State = Literal["created", "queued", "starting", "running", "finished", "stopped", "failed"]
STATES: tuple[State, ...] = get_args(State)
BUSY = ("starting", "running")  # states in which a process owns the run


class Status(TypedDict, total=False):
    """Where a run stands. `state` and `step` are always present and every field has its type."""

    state: Required[str]
    """One of `STATES`; "damaged" if status.json or config.yaml cannot be read; in
    `RunDir.current` also "interrupted" if the process is gone."""
    step: Required[int]
    """Optimizer steps taken."""
    steps: int
    """Optimizer steps planned."""
    pid: int
    """Process that wrote the status, for messages only."""
    updated: float
    """Time of writing, in seconds since 1970."""
    since: float
    """Time at which the run was queued, in seconds since 1970."""
    reason: str
    """Why the run took no further step: steps, max_tokens, runaway or stopped."""
    message: str
    """Why the run ended early, or what is damaged and what to do."""
    stage: str
    """Current stage of a pipeline."""


def write_status(file: Path, state: State, **fields: Any) -> None:
    """Replace the status."""
    status = {"state": state, "pid": os.getpid(), "updated": round(time.time(), 3), **fields}
    write_atomic(file, json.dumps(status, indent=1))


def read_status(file: Path) -> Status:
    """The status, with every field checked for its type.

    Raises:
        One of `reading.UNREADABLE`: the file cannot be read or is no status.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    if content.get("state") not in STATES:
        raise ValueError(f"its state is {content.get('state')!r:.60}")
    checks = {"step": is_count, "steps": is_count, "pid": is_count, "updated": _is_time}
    checks |= {"since": _is_time, "message": _is_text, "stage": _is_text, "reason": _is_text}
    for name, is_valid in checks.items():
        if name in content and not is_valid(content[name]):
            raise ValueError(f"its {name} is {content[name]!r:.60}")
    status: Status = {"step": 0, **content}  # type: ignore[typeddict-item]
    return status


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _is_text(value: object) -> bool:
    return isinstance(value, str)
