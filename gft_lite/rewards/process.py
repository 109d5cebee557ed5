"""The parent's side of the scoring process: start, feed, time, kill, start again.

The child is a fresh interpreter (never a fork: the parent may hold a GPU context, and threads) that
sees the parent's module path, not its __main__. Jobs are sent ahead as long as they surely fit a
pipe, so that writing can never block behind a job that hangs; results come back in order, and the
time limit is for each result. Starting is outside the limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gft_lite.rewards.base import ERROR, TIMEOUT, Target
from gft_lite.types import RewardError, Score

AHEAD_BYTES = 4096  # what the smallest pipe buffer of the systems we run on holds
START_SECONDS = 120.0
SETTLE_SECONDS = 0.05  # between the end of a child's output and its exit code
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from gft_lite.rewards.worker import main; main()"
)


@dataclass(frozen=True)
class Job:
    """One response for one part, by the part's position in the process's list."""

    part: int
    response: str
    target: Target

    def line(self) -> bytes:
        """The job as the process reads it: ASCII, so that any text survives."""
        target = self.target
        document = {
            "part": self.part,
            "response": self.response,
            "answer": target.answer,
            "experts": target.experts,
            "prompt": target.prompt,
        }
        return json.dumps(document).encode("ascii") + b"\n"


@dataclass(frozen=True)
class Outcome:
    """A score, and what went wrong where its verdict is "error"."""

    score: Score
    error: str | None = None


class ScoringProcess:
    """At most one child; `parts` are {"name" | "file", "options"} as worker.py reads them."""

    def __init__(self, parts: Sequence[Mapping[str, Any]], timeout_seconds: float) -> None:
        self._parts = [dict(part) for part in parts]
        self._timeout_seconds = timeout_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the child if there is none. Raises RewardError where a part cannot be loaded."""
        if self._child is not None:
            return
        modules = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        self._child = subprocess.Popen(
            [sys.executable, "-c", _BOOT, modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._lines = queue.SimpleQueue()
        threading.Thread(target=_pump, args=(self._child, self._lines), daemon=True).start()
        setup = {"parts": self._parts, "limit_seconds": self._timeout_seconds}
        self._send(json.dumps(setup).encode("ascii") + b"\n")
        try:
            greeting = _document(self._lines.get(timeout=START_SECONDS))
        except queue.Empty:
            greeting = {"error": f"it was not ready after {START_SECONDS:g} s"}
        if not greeting.get("ready"):
            reason = greeting.get("error") or "it ended while starting (its output has the reason)"
            self.kill()
            raise RewardError(f"the reward could not be loaded in the scoring process: {reason}")

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One outcome a job, in order. A job that hangs or kills the process costs only itself."""
        try:
            return self._run(jobs)
        except (
            BaseException
        ):  # an interrupt leaves results on their way: they must not be read next
            self.kill()
            raise

    def _run(self, jobs: Sequence[Job]) -> list[Outcome]:
        lines = [job.line() for job in jobs]
        outcomes: list[Outcome] = []
        sent, ahead = 0, 0
        while len(outcomes) < len(jobs):
            self.start()
            first = len(outcomes)
            while sent < len(jobs) and (sent == first or ahead + len(lines[sent]) <= AHEAD_BYTES):
                self._send(lines[sent])
                ahead += len(lines[sent])
                sent += 1
            try:
                result = _document(self._lines.get(timeout=self._timeout_seconds))
            except queue.Empty:
                outcomes.append(Outcome(TIMEOUT))
                self.kill()
                sent, ahead = len(outcomes), 0
                continue
            if "verdict" not in result:
                time.sleep(SETTLE_SECONDS)
                outcomes.append(Outcome(ERROR, f"the scoring process broke: {self.kill()}"))
                sent, ahead = len(outcomes), 0
                continue
            ahead -= len(lines[first])
            score = Score(result["value"], result["verdict"], result.get("parts") or {})
            outcomes.append(Outcome(score, result.get("error")))
        return outcomes

    def kill(self) -> str:
        """End the child and what it started; says how it ended."""
        child, self._child = self._child, None
        if child is None:
            return "not running"
        if child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()
        # Killed before it is waited for: a reaped process id could be another's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
        return f"exit code {child.wait()}"

    def _send(self, line: bytes) -> None:
        assert self._child is not None and self._child.stdin is not None
        with contextlib.suppress(OSError):  # a child that ended shows in its missing result
            self._child.stdin.write(line)
            self._child.stdin.flush()


def _pump(child: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Move the child's lines to a queue, which unlike a pipe can be waited on with a limit."""
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            lines.put(line)
    lines.put(b"")


def _document(line: bytes) -> dict[str, Any]:
    return dict(json.loads(line)) if line.endswith(b"\n") else {}
