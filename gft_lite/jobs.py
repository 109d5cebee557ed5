"""Starts, stops, queues and resumes runs of a workspace; one trains at a time, the others wait.

Each run trains in a process of its own that outlives this one. The state of a run is its folder: a
`Jobs` that opens the workspace later finds the same runs, the queue included. A setting that a
browser may not choose (`web_settings`) is refused when a run is queued and when it is resumed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil

from gft_lite.config import RunConfig, load_config
from gft_lite.locks import locked
from gft_lite.runs import BUSY, RunDir, writing
from gft_lite.types import RunError
from gft_lite.web_settings import check_settings
from gft_lite.workspace import Workspace

RESUMABLE = ("stopped", "failed", "interrupted")
LOOKS_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A run and where it stands; `status` is that of `RunDir.current`."""

    name: str
    run: RunDir
    status: dict[str, Any]

    @property
    def state(self) -> str:
        """created, queued, starting, running, finished, stopped, failed or interrupted."""
        return str(self.status["state"])


class Jobs:
    """The runs of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._inside = threading.RLock()
        self._closed = threading.Event()

    # --- what can be asked for ---

    def start(self, config: RunConfig) -> RunDir:
        """Queue a run; it begins at once where nothing else trains.

        Raises:
            ConfigError, RewardError: it has a setting that a browser may not choose.
        """
        check_settings(config, self.workspace)
        with self._alone():
            folder = self.workspace.new(self.workspace.runs_dir, config.method.name)
            run = RunDir.create(folder, config.to_yaml())
            run.set_status("queued", since=time.time(), step=0, steps=config.train.steps)
        self.advance()
        return run

    def resume(self, name: str) -> None:
        """Queue a run that ended early; it continues from its last checkpoint.

        Raises:
            RunError: it is waiting, running or finished, or cannot be written.
        """
        with self._alone():
            job = self.job(name)
            if job.state not in RESUMABLE:
                raise RunError(f"{name} is {job.state}; only a run that ended early can continue")
            check_settings(load_config(job.run.config_file), self.workspace)
            with writing(job.run.path):
                job.run.set_status("queued", since=time.time(), **_reached(job))
        self.advance()

    def stop(self, name: str) -> None:
        """Take a run from the queue, or end it after its current step.

        Raises:
            RunError: it has ended already.
        """
        with self._alone():
            job = self.job(name)
            if job.state == "running":
                job.run.request_stop()
            elif job.state in ("queued", "starting"):
                if job.state == "starting":  # no step yet: nothing is lost
                    with suppress(psutil.NoSuchProcess):
                        psutil.Process(job.status["pid"]).terminate()
                job.run.set_status("stopped", message="stopped before it began", **_reached(job))
            else:
                raise RunError(f"{name} is {job.state}; there is nothing to stop")

    # --- what can be looked at ---

    def job(self, name: str) -> Job:
        """One run. RunError where this workspace has none of that name."""
        return _seen(RunDir.open(self.workspace.run(name)))

    def list(self) -> list[Job]:
        """All runs: those that wait, in their order, come before the others, newest first."""
        found = []
        for file in self.workspace.runs_dir.glob("*/config.yaml"):
            found.append((file.stat().st_mtime, _seen(RunDir(file.parent))))
        found.sort(key=lambda pair: -pair[0])
        jobs = [job for _, job in found]
        return [*(j for j in jobs if j.state in BUSY), *_queue(jobs)] + [
            j for j in jobs if j.state not in (*BUSY, "queued")
        ]

    def place(self, name: str) -> int:
        """A waiting run's place in the queue, from 1; 0 where it does not wait."""
        names = [job.name for job in _queue(self.list())]
        return names.index(name) + 1 if name in names else 0

    # --- the queue ---

    def advance(self) -> None:
        """Begin the next run where none trains."""
        with self._alone():
            self._reap()
            jobs = self.list()
            waiting = _queue(jobs)
            if waiting and not self._started and not any(job.state in BUSY for job in jobs):
                self._spawn(waiting[0])

    def keep_going(self) -> None:
        """Advance the queue from now on, in a thread that ends with the process or `close`."""

        def watch() -> None:
            while not self._closed.wait(LOOKS_SECONDS):
                with suppress(OSError, RunError):  # a full disk must not end the queue for good
                    self.advance()

        threading.Thread(target=watch, name="queue", daemon=True).start()

    def close(self) -> None:
        """Stop advancing. Runs go on."""
        self._closed.set()

    # --- inside ---

    def _spawn(self, job: Job) -> None:
        command = [sys.executable, "-m", "gft_lite.worker", str(job.run.path)]
        with job.run.log_file.open("ab") as log:
            worker = subprocess.Popen(
                command,
                cwd=self.workspace.root,  # where relative paths of a configuration start
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started[job.name] = worker
        job.run.set_status("starting", pid=worker.pid, **_reached(job))  # known to other apps too

    def _reap(self) -> None:
        """Take note of workers that ended; one that never came so far as to say so has failed."""
        for name, process in list(self._started.items()):
            code = process.poll()
            if code is None:
                continue
            del self._started[name]
            run = RunDir(self.workspace.run(name))
            status = run.status()
            if status["state"] == "starting" and status["pid"] == process.pid:
                message = f"the worker ended at once (code {code}); see log.txt"
                run.set_status("failed", message=message)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One decision at a time, also among several apps on one workspace."""
        with self._inside, locked(self.workspace.root / "jobs.lock"):
            yield


def _seen(run: RunDir) -> Job:
    return Job(run.path.name, run, run.current())


def _queue(jobs: list[Job]) -> list[Job]:
    waiting = [job for job in jobs if job.state == "queued"]
    return sorted(waiting, key=lambda job: job.status.get("since", 0.0))


def _reached(job: Job) -> dict[str, Any]:
    return {key: job.status[key] for key in ("step", "steps") if key in job.status}
