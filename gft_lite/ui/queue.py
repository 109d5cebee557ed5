"""Starts, stops, queues and resumes runs of a workspace; one trains at a time, the others wait.

Each run trains in its own process, which outlives the app. The state of a run is in its folder, so
an app that opens the workspace later finds the same runs and the same queue. A setting that a
browser may not choose (`web_settings`) is refused when a run is queued and when it is resumed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from filelock import FileLock

from gft_lite.config import RunConfig
from gft_lite.runs import BUSY, RunDir, Status, changed_at, is_run, writing
from gft_lite.types import RunError
from gft_lite.ui.web_settings import check_settings
from gft_lite.ui.workspace import Workspace

log = logging.getLogger(__name__)
RESUMABLE = ("stopped", "failed", "interrupted", "damaged")
ADVANCE_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A run and its status, which is that of `RunDir.current`."""

    name: str
    run: RunDir
    status: Status

    @property
    def state(self) -> str:
        """The state in the status."""
        return self.status["state"]


class Jobs:
    """The runs of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._thread_lock = threading.RLock()
        self._lock = FileLock(workspace.root / "jobs.lock", thread_local=False)
        self._closed = threading.Event()

    # --- actions ---

    def start(self, config: RunConfig) -> RunDir:
        """Queue a run; it starts at once if nothing else trains.

        Raises:
            ConfigError, RewardError: it has a setting that a browser may not choose.
        """
        check_settings(config, self.workspace)
        with self._exclusive():
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
        with self._exclusive():
            job = self.job(name)
            if job.state not in RESUMABLE:
                raise RunError(f"{name} is {job.state}; only a run that ended early can continue")
            check_settings(job.run.config(), self.workspace)
            with job.run.lock(), writing(job.run.path):
                job.run.set_status("queued", since=time.time(), **_progress(job))
        self.advance()

    def stop(self, name: str) -> None:
        """Take a run from the queue, or end it after its current step.

        Raises:
            RunError: it has ended already.
        """
        with self._exclusive():
            job = self.job(name)
            worker = self._started.get(name)
            if job.state in ("queued", "starting") and worker:  # no step yet: nothing is lost
                worker.kill()
                worker.wait()
            elif job.state in BUSY or (job.state == "queued" and job.run.is_alive()):
                job.run.request_stop()
                return
            elif job.state != "queued":
                raise RunError(f"{name} is {job.state}; there is nothing to stop")
            with job.run.lock():
                job.run.set_status("stopped", message="stopped before it began", **_progress(job))

    # --- runs ---

    def job(self, name: str) -> Job:
        """One run. RunError if this workspace has no run of that name."""
        return self._job(RunDir.open(self.workspace.run(name)))

    def list(self) -> list[Job]:
        """All runs: training ones, waiting ones in their order, then the others, newest first."""
        jobs_by_time = []
        for folder in self.workspace.runs_dir.iterdir():
            if is_run(folder):
                jobs_by_time.append((changed_at(folder), self._job(RunDir(folder))))
        jobs_by_time.sort(key=lambda pair: -pair[0])
        jobs = [job for _, job in jobs_by_time]
        return [*(j for j in jobs if j.state in BUSY), *_queue(jobs)] + [
            j for j in jobs if j.state not in (*BUSY, "queued")
        ]

    def place(self, name: str) -> int:
        """A waiting run's place in the queue, from 1; 0 if it does not wait."""
        names = [job.name for job in _queue(self.list())]
        return names.index(name) + 1 if name in names else 0

    # --- the queue ---

    def advance(self) -> None:
        """Start the next run if none trains."""
        with self._exclusive():
            self._reap()
            jobs = self.list()
            waiting = _queue(jobs)
            if waiting and not self._started and not any(job.state in BUSY for job in jobs):
                self._spawn(waiting[0])

    def keep_going(self) -> None:
        """Advance the queue from now on, in a thread that ends with the process or `close`."""

        def watch() -> None:
            while not self._closed.wait(ADVANCE_SECONDS):
                try:
                    self.advance()
                except (OSError, RunError):  # a full disk must not end the queue for good
                    continue
                except Exception:
                    log.exception("the queue could not go on; it is tried again")

        threading.Thread(target=watch, name="queue", daemon=True).start()

    def close(self) -> None:
        """Stop advancing the queue. Runs continue."""
        self._closed.set()

    # --- internal ---

    def _job(self, run: RunDir) -> Job:
        name, status = run.path.name, run.current()
        if status["state"] == "queued" and name in self._started:  # its worker has not written it
            status = {**status, "state": "starting"}
        return Job(name, run, status)

    def _spawn(self, job: Job) -> None:
        command = [sys.executable, "-m", "gft_lite.worker", str(job.run.path), "--queued"]
        with job.run.log_file.open("ab") as log:
            worker = subprocess.Popen(
                command,
                cwd=self.workspace.root,  # relative paths of a configuration start here
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started[job.name] = worker

    def _reap(self) -> None:
        """Forget workers that have ended; one that ended before its first step has failed."""
        for name, process in list(self._started.items()):
            code = process.poll()
            if code is None:
                continue
            del self._started[name]
            run = RunDir(self.workspace.run(name))
            status = run.status()
            was_starting = status["state"] == "starting" and status.get("pid") == process.pid
            if was_starting or (status["state"] == "queued" and code):
                message = f"the worker ended at once (code {code}); see log.txt"
                with suppress(RunError), run.lock():
                    run.set_status("failed", message=message)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One change at a time, also if several apps serve the workspace."""
        with self._thread_lock, writing(self.workspace.root), self._lock:
            yield


def _queue(jobs: list[Job]) -> list[Job]:
    waiting = [job for job in jobs if job.state == "queued"]
    return sorted(waiting, key=lambda job: job.status.get("since", 0.0))


def _progress(job: Job) -> dict[str, Any]:
    return {key: value for key, value in job.status.items() if key in ("step", "steps")}
