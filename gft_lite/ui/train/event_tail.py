"""Reads the events of runs while they are written: each refresh reads only the new lines.

At most `POINTS` steps are kept: when there are more, neighbours are averaged, twice as many at a
time as before. A run that goes back to a checkpoint is read from its start.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gft_lite.report.findings import warnings
from gft_lite.report.numbers import number
from gft_lite.report.record import (
    Event,
    Record,
    evaluations,
    parse_config,
    read_record,
    rollout_of,
    with_shares,
)
from gft_lite.runs import BUSY, parse_event
from gft_lite.ui.queue import Job

POINTS = 300
PACE_STEPS = 20  # the remaining time is estimated from so many steps
WARN_EVERY_SECONDS = 20.0
MAX_TAILS = 8


class EventTail:
    """One run as far as it was read."""

    def __init__(self, job: Job) -> None:
        self.run = job.run
        self.config_yaml = self.run.config_text()
        self.config = parse_config(self.config_yaml)
        self._lock = threading.Lock()
        # time, version and result of the last look for warnings
        self._warnings: tuple[float, tuple[Any, ...], list[str]] = (0.0, (), [])
        self._reset()

    def record(self, job: Job) -> Record:
        """The run in at most `POINTS` steps."""
        with self._lock:
            self._read()
            open_rollout = with_shares(self._rollout, self.config)
            evals, final = evaluations(self._evals)
            return Record(
                run=self.run,
                name=job.name,
                config_yaml=self.config_yaml,
                config=self.config,
                status=job.status,
                starts=tuple(self._starts),
                steps=(*self._steps, *self._pending, *open_rollout),
                evals=evals,
                final=final,
            )

    def version(self, job: Job) -> tuple[Any, ...]:
        """A value that changes whenever the run has something new."""
        with self._lock:
            self._read()
            return (job.name, job.state, self._inode, self._offset)

    def seconds_left(self, record: Record) -> float | None:
        """The remaining time at the pace of the last steps; None if there are no steps yet."""
        paces = [s for e in self._recent if (s := number(e, "seconds")) is not None]
        step, steps = number(record.status, "step"), number(record.config, "train.steps")
        if not paces or step is None or steps is None:
            return None
        return max(0.0, steps - step) * sum(paces) / len(paces)

    def warnings(self, job: Job) -> list[str]:
        """The warnings of the report.

        They need the whole run, so they are computed every `WARN_EVERY_SECONDS` while it trains.
        """
        computed_at, version, sentences = self._warnings
        new_version = self.version(job)
        due = time.monotonic() - computed_at > WARN_EVERY_SECONDS or job.state not in BUSY
        if new_version != version and due:
            sentences = warnings(read_record(self.run))
            self._warnings = (time.monotonic(), new_version, sentences)
        return sentences

    def _reset(self) -> None:
        self._offset = self._inode = 0
        self._stride = 1
        self._steps: list[Event] = []
        self._pending: list[Event] = []
        self._rollout: list[Event] = []
        self._recent: list[Event] = []
        self._evals: list[Event] = []
        self._starts: list[Event] = []

    def _read(self) -> None:
        if self.run.event_log.fault():
            return
        try:
            with self.run.events_file.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode or size < self._offset:
                    self._reset()
                    self._inode = inode
                file.seek(self._offset)
                added = file.read()
        except OSError:
            return
        whole = added[: added.rfind(b"\n") + 1]  # half a line is read next time
        self._offset += len(whole)
        for line in whole.splitlines():
            if event := parse_event(line):
                self._take(event)

    def _take(self, event: Event) -> None:
        kind = event.get("type")
        if kind == "step":
            updates = int(number(self.config, "train.updates_per_rollout") or 1)
            previous = self._rollout[-1] if self._rollout else event
            if rollout_of(event, updates) != rollout_of(previous, updates):
                for step in with_shares(self._rollout, self.config):
                    self._keep(step)
                self._rollout = []
            self._rollout.append(event)
            self._recent = [*self._recent[1 - PACE_STEPS :], event]
        elif kind == "eval":
            self._evals.append(event)
        elif kind == "started":
            self._starts.append(event)

    def _keep(self, step: Event) -> None:
        self._pending.append(step)
        if len(self._pending) < self._stride:
            return
        self._steps.append(mean_of(self._pending))
        self._pending = []
        if len(self._steps) >= POINTS:
            pairs = zip(self._steps[::2], self._steps[1::2], strict=True)
            self._steps = [mean_of(pair) for pair in pairs]
            self._stride *= 2


def mean_of(events: Sequence[Mapping[str, Any]]) -> Event:
    """One event for several: the mean of every number, the step of the last."""
    if len(events) == 1:
        return dict(events[0])
    merged: Event = dict(events[-1])
    for key in {key for event in events for key in event} - {"step", "steps", "type", "time"}:
        values = [v for event in events if (v := number(event, key)) is not None]
        if values:
            merged[key] = sum(values) / len(values)
    return merged


@dataclass(frozen=True)
class RunSnapshot:
    """A run at one moment, as the page shows it."""

    job: Job
    record: Record
    version: tuple[Any, ...]
    seconds_left: float | None


class EventTails:
    """The tails of the runs that pages show; each run is read once for all pages."""

    def __init__(self) -> None:
        self._tails: OrderedDict[str, EventTail] = OrderedDict()
        self._lock = threading.Lock()

    def tail(self, job: Job) -> EventTail:
        """The tail of a run; the one that was not used for longest is dropped."""
        with self._lock:
            path = str(job.run.path)
            if path not in self._tails:
                self._tails[path] = EventTail(job)
            self._tails.move_to_end(path)
            while len(self._tails) > MAX_TAILS:
                self._tails.popitem(last=False)
            return self._tails[path]

    def snapshot(self, job: Job) -> RunSnapshot:
        """The run now."""
        tail = self.tail(job)
        record = tail.record(job)
        return RunSnapshot(job, record, tail.version(job), tail.seconds_left(record))
