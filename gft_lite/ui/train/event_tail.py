"""The events of a run, read as they are written: each look reads only what was added.

However long a run is, at most `POINTS` steps are kept: neighbours are averaged, twice as many at a
time whenever there are too many. A run that went back to a checkpoint is read anew.
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
PACED_BY = 20  # steps that the remaining time is estimated from
WARN_EVERY_SECONDS = 20.0
KEPT_RUNS = 8


class Followed:
    """One run as far as it was read."""

    def __init__(self, job: Job) -> None:
        self.run = job.run
        self.config_yaml = self.run.config_text()
        self.config = parse_config(self.config_yaml)
        self._inside = threading.Lock()
        self._warned: tuple[float, tuple[Any, ...], list[str]] = (0.0, (), [])
        self._forget()

    def look(self, job: Job) -> Record:
        """Read on, and give the run in at most `POINTS` steps."""
        with self._inside:
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
        """Changes whenever there is something new to see."""
        with self._inside:
            self._read()
            return (job.name, job.state, self._inode, self._offset)

    def seconds_left(self, record: Record) -> float | None:
        """At the pace of the last steps; None where that is not known yet."""
        paces = [s for e in self._last if (s := number(e, "seconds")) is not None]
        done, wanted = number(record.status, "step"), number(record.config, "train.steps")
        if not paces or done is None or wanted is None:
            return None
        return max(0.0, wanted - done) * sum(paces) / len(paces)

    def warnings(self, job: Job) -> list[str]:
        """What to be wary of; computed from the whole run, so only now and then."""
        at, version, said = self._warned
        new = self.version(job)
        due = time.monotonic() - at > WARN_EVERY_SECONDS or job.state not in BUSY
        if new != version and due:
            said = warnings(read_record(self.run))
            self._warned = (time.monotonic(), new, said)
        return said

    # --- inside ---

    def _forget(self) -> None:
        self._offset = self._inode = 0
        self._stride = 1
        self._steps: list[Event] = []
        self._pending: list[Event] = []
        self._rollout: list[Event] = []
        self._last: list[Event] = []
        self._evals: list[Event] = []
        self._starts: list[Event] = []

    def _read(self) -> None:
        if self.run.event_log.fault():
            return
        try:
            with self.run.events_file.open("rb") as file:
                found = file.seek(0, 2)
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode or found < self._offset:
                    self._forget()
                    self._inode = inode
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            if event := parse_event(line):
                self._take(event)

    def _take(self, event: Event) -> None:
        kind = event.get("type")
        if kind == "step":
            updates = int(number(self.config, "train.updates_per_rollout") or 1)
            before = self._rollout[-1] if self._rollout else event
            if rollout_of(event, updates) != rollout_of(before, updates):
                for step in with_shares(self._rollout, self.config):
                    self._keep(step)
                self._rollout = []
            self._rollout.append(event)
            self._last = [*self._last[1 - PACED_BY :], event]
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
class Seen:
    """A run at one moment, as the page shows it."""

    job: Job
    record: Record
    version: tuple[Any, ...]
    seconds_left: float | None


class Follower:
    """The runs that someone looks at, each read once however many look."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Followed] = OrderedDict()
        self._inside = threading.Lock()

    def followed(self, job: Job) -> Followed:
        """The reader of a run; the one that nobody looked at for longest is dropped."""
        with self._inside:
            name = str(job.run.path)
            if name not in self._runs:
                self._runs[name] = Followed(job)
            self._runs.move_to_end(name)
            while len(self._runs) > KEPT_RUNS:
                self._runs.popitem(last=False)
            return self._runs[name]

    def see(self, job: Job) -> Seen:
        """The run now."""
        followed = self.followed(job)
        record = followed.look(job)
        return Seen(job, record, followed.version(job), followed.seconds_left(record))
