"""The event log of a run: `events.jsonl`, one event a line.

The process that trains records events and hands them to its caller; other processes read the file
at the same time and see whole lines only.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gft_lite.runs.atomic import write_atomic
from gft_lite.runs.events import Event
from gft_lite.runs.reading import describe, is_count, open_fault


class EventLog:
    """Writes and reads the events of one run."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._undelivered: deque[dict[str, Any]] = deque()

    def record(self, event: Event) -> None:
        """Write an event at once, since the step may yet fail, and queue it for `drain`."""
        line = event.to_dict()
        self.append(line)
        self._undelivered.append(line)

    def drain(self) -> Iterator[dict[str, Any]]:
        """The events that were recorded since the last call, in order."""
        while self._undelivered:
            yield self._undelivered.popleft()

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one event."""
        text = json.dumps({"time": round(time.time(), 3), **line}, ensure_ascii=False) + "\n"
        with self.file.open("ab", buffering=0) as file:
            start, remaining = file.tell(), memoryview(text.encode())
            try:
                while remaining:
                    remaining = remaining[file.write(remaining) :]
            except OSError:
                file.truncate(start)  # or the next event would continue half a line
                raise

    def events(self) -> Iterator[dict[str, Any]]:
        """All events in order; damaged lines are left out."""
        return (event for event in self.lines() if event is not None)

    def lines(self) -> Iterator[dict[str, Any] | None]:
        """The event of each complete line, None for a damaged one."""
        if self.fault():
            return
        # binary mode: a line that is still being written may end within a character
        with suppress(OSError), self.file.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield parse_event(line)

    def fault(self) -> str:
        """Why the file cannot be read; empty if it can be, or if no event was written."""
        try:
            return open_fault(self.file)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return describe(error)

    def drop_after(self, step: int) -> None:
        """Remove events of later steps and of the end of the run: a resumed run records them again.

        A pipeline, which has no events of steps in its own file, passes −1.
        """
        remaining = [
            event
            for event in self.events()
            if event.get("step", 0) <= step
            and event["type"] != "finished"
            and not event.get("final")
        ]
        text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in remaining)
        write_atomic(self.file, text)


def parse_event(line: bytes) -> dict[str, Any] | None:
    """The event of one line of events.jsonl; None for a damaged line."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # a full disk cuts a line, and the next one follows it
        return None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        return None
    return event if is_count(event.get("step", 0)) else None


def of_stage(event: Mapping[str, Any], number: int, steps_before: int) -> dict[str, Any]:
    """An event of a stage as an event of its pipeline.

    Args:
        event: as the stage recorded it.
        number: number of the stage, from 1.
        steps_before: steps of the stages before it.
    """
    kind = "stage_finished" if event["type"] == "finished" else event["type"]
    step = steps_before + event.get("step", 0)
    return {**event, "type": kind, "stage": number, "step": step}
