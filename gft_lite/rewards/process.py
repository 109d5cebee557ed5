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
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gft_lite.rewards.base import ERROR, TIMEOUT, Target
from gft_lite.rewards.channel import CLOSED_EXIT_CODE, ENDED, FOREIGN, Frame, pump
from gft_lite.rewards.output import Output
from gft_lite.types import RewardError, Score, TrainingError

AHEAD_BYTES = 4096  # what the smallest pipe buffer of the systems we run on holds
START_SECONDS = 120.0
SETTLE_SECONDS = 2.0  # at most, between the end of a child's output and its exit code
WROTE = "the reward wrote into the channel of the scoring process; write to files it opened itself"
CLOSED = "the reward closed descriptors of the scoring process; close only what it opened itself"
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

    def line(self, number: int) -> bytes:
        """The job as the process reads it: ASCII, so that any text survives."""
        target = self.target
        document = {
            "number": number,
            "part": self.part,
            "response": self.response,
            "answer": target.answer,
            "experts": target.experts,
            "prompt": target.prompt,
        }
        return json.dumps(document).encode("ascii") + b"\n"


@dataclass(frozen=True)
class Outcome:
    """A score; if its verdict is "error", what went wrong in one line, and the traceback."""

    score: Score
    error: str | None = None
    details: str = ""


class ScoringProcess:
    """At most one child; `parts` are {"name" | "file", "options"} as worker.py reads them."""

    def __init__(self, parts: Sequence[Mapping[str, Any]], timeout_seconds: float) -> None:
        self._parts = [dict(part) for part in parts]
        self._timeout_seconds = timeout_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._output = Output()

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the child if there is none.

        Raises:
            RewardError: a part cannot be loaded.
            TrainingError: the system starts no process.
        """
        if self._child is not None:
            return
        greeting = self._greeting()
        if greeting == ENDED:
            code = self._ended()
            if code < 0:  # killed from outside
                greeting = self._greeting()
                code = self._ended() if greeting == ENDED else code
        if isinstance(greeting, dict) and greeting.get("ready"):
            return
        if greeting == ENDED:
            reason = f"{_how(code)}\n{self._output.last()}".rstrip()
        elif greeting == FOREIGN:
            reason = WROTE
        else:
            reason = greeting["error"]
        self.kill()
        raise RewardError(f"the reward could not be loaded in the scoring process: {reason}")

    def _greeting(self) -> Frame:
        """The first frame of a new child."""
        modules = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        token = secrets.token_hex(16)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _BOOT, modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._frames = queue.SimpleQueue()
            threading.Thread(
                target=pump,
                args=(self._child.stdout, token.encode("ascii"), self._frames),
                daemon=True,
            ).start()
            self._output.follow(self._child.stderr)
            setup = {"token": token, "parts": self._parts, "limit_seconds": self._timeout_seconds}
            self._send(json.dumps(setup).encode("ascii") + b"\n")
            return self._frames.get(timeout=START_SECONDS)
        except queue.Empty:
            return {"error": f"it was not ready after {START_SECONDS:g} s"}
        except (OSError, RuntimeError, MemoryError) as error:
            self.kill()
            reason = getattr(error, "strerror", None) or str(error) or "no memory is left"
            raise TrainingError(
                f"the process that runs the reward could not be started: {reason}. Close other "
                "programs, or raise the limits on memory, processes and open files (ulimit -a)"
            ) from None
        except BaseException:  # an interrupt
            self.kill()
            raise

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One outcome a job, in order. A job that hangs or kills the process costs only itself.

        A job in whose time the process is killed from outside runs once more in a fresh process.
        """
        if self._child is not None and _has_ended(self._child):  # died between two calls
            self.kill()
        try:
            return self._run(jobs)
        except (
            BaseException
        ):  # an interrupt leaves results on their way: they must not be read next
            self.kill()
            raise

    def _run(self, jobs: Sequence[Job]) -> list[Outcome]:
        lines = [job.line(number) for number, job in enumerate(jobs)]
        outcomes: list[Outcome] = []
        sent, ahead, repeated = 0, 0, -1
        while len(outcomes) < len(jobs):
            self.start()
            first = len(outcomes)
            while sent < len(jobs) and (sent == first or ahead + len(lines[sent]) <= AHEAD_BYTES):
                self._send(lines[sent])
                ahead += len(lines[sent])
                sent += 1
            try:
                frame = self._frames.get(timeout=self._timeout_seconds)
            except queue.Empty:
                outcomes.append(Outcome(TIMEOUT))
            else:
                if isinstance(frame, dict) and frame.get("number") == first:
                    ahead -= len(lines[first])
                    score = Score(frame["value"], frame["verdict"], frame.get("parts") or {})
                    details = frame.get("details", "")
                    outcomes.append(Outcome(score, frame.get("error"), details))
                    continue
                code = self._ended() if frame == ENDED else 0
                if code < 0 and repeated != first:
                    repeated = first
                else:
                    broke = _how(code) if frame == ENDED else WROTE
                    outcomes.append(Outcome(ERROR, broke, self._output.last()))
            self.kill()
            sent, ahead = len(outcomes), 0
        return outcomes

    def _ended(self) -> int:
        """The exit code of a child that ended by itself or was killed; negative for a signal."""
        assert self._child is not None
        # Not reaped before its group is killed: a reaped process id could be another's.
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and not _has_ended(self._child):
            time.sleep(0.005)
        return self.kill()

    def kill(self) -> int:
        """End the child and what it started; returns its exit code, 0 if there is none."""
        child, self._child = self._child, None
        if child is None:
            return 0
        if child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()
        # Killed before it is waited for: a reaped process id could be another's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGKILL)
        child.kill()  # a reward may have moved it to another group
        code = child.wait()
        _reap_group(child.pid)
        self._output.finish()
        return code

    def _send(self, line: bytes) -> None:
        assert self._child is not None and self._child.stdin is not None
        with contextlib.suppress(OSError):  # a child that ended shows in its missing result
            self._child.stdin.write(line)
            self._child.stdin.flush()


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    if not hasattr(os, "waitid"):
        return child.poll() is not None
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return True


def _reap_group(group: int) -> None:
    """Collect what a child left to this process, as happens where it is the first of a container:
    nobody else would, and zombies would pile up."""
    deadline = time.monotonic() + SETTLE_SECONDS
    with contextlib.suppress(ChildProcessError, AttributeError):  # no such system call on Windows
        while time.monotonic() < deadline:
            if os.waitpid(-group, os.WNOHANG)[0] == 0:  # killed, but still dying
                time.sleep(0.005)


def _how(code: int) -> str:
    """How a child ended, for people."""
    if code == CLOSED_EXIT_CODE:
        return CLOSED
    if code >= 0:
        return f"the reward ended its process (exit code {code}); let it return a number or raise"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return (
        f"the process of the reward was killed by {name}, twice in a row; look whether memory runs "
        "short, or whether the reward crashes"
    )
