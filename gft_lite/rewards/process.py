"""The parent's side of the scoring process: start, feed, time, kill, start again.

The child sees the parent's module path, not its __main__. Jobs are sent ahead only as long as they
fit into a pipe, so that writing never blocks behind a job that hangs. Results come back in order,
and the time limit applies to each of them. Starting the process is not part of the limit.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from gft_lite.rewards.base import ERROR, TIMEOUT, Target
from gft_lite.rewards.child_process import (
    CLOSED_EXIT_CODE,
    ENDED,
    FOREIGN,
    ChildProcess,
    Frame,
    encoded,
    start_failure,
)
from gft_lite.types import RewardError, Score

ROLE = "the process that runs the reward"
AHEAD_BYTES = 4096  # the smallest pipe buffer among the supported systems
MAX_LINE_BYTES = 1 << 20
START_SECONDS = 120.0
SHOWN_BYTES = 1 << 16  # of what a reward prints, over the life of a scorer
TAIL_BYTES = 2000  # of what a process prints, for the message if it dies
CHUNK_BYTES = 1 << 16
JOIN_SECONDS = 0.5
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
        """The job as the process reads it."""
        target = self.target
        return encoded(
            {
                "number": number,
                "part": self.part,
                "response": self.response,
                "answer": target.answer,
                "experts": target.experts,
                "prompt": target.prompt,
            }
        )


@dataclass(frozen=True)
class Outcome:
    """A score; if its verdict is "error", also the reason in one line, and the traceback."""

    score: Score
    error: str | None = None
    details: str = ""


class ScoringProcess:
    """At most one child; `parts` are {"name" | "file", "options"} as worker.py reads them."""

    def __init__(self, parts: Sequence[Mapping[str, Any]], timeout_seconds: float) -> None:
        self._setup = {"parts": [dict(part) for part in parts], "limit_seconds": timeout_seconds}
        self._timeout_seconds = timeout_seconds
        self._child: ChildProcess | None = None
        self._output = PrintedOutput()

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
            code = self._close(ending=True)
            if code < 0:  # killed from outside
                greeting = self._greeting()
                code = self._close(ending=True) if greeting == ENDED else code
        if isinstance(greeting, dict) and greeting.get("ready"):
            return
        if greeting == ENDED:
            reason = f"{_how_it_ended(code)}\n{self._output.last_lines()}".rstrip()
        elif greeting == FOREIGN:
            reason = WROTE
        else:
            reason = greeting["error"]
        self.kill()
        raise RewardError(f"the reward could not be loaded in the scoring process: {reason}")

    def _greeting(self) -> Frame:
        """The first frame of a new child."""
        modules = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        try:
            self._child = ChildProcess(
                [sys.executable, "-c", _BOOT, modules],
                ROLE,
                stderr=subprocess.PIPE,
                max_line_bytes=MAX_LINE_BYTES,
            )
            self._output.follow(self._child.stderr)
            self._child.send(self._setup)
            return self._child.receive(START_SECONDS)
        except queue.Empty:
            return {"error": f"it was not ready after {START_SECONDS:g} s"}
        except RuntimeError as error:  # no thread can be started
            self.kill()
            raise start_failure(ROLE, error) from None
        except BaseException:  # an interrupt
            self.kill()
            raise

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One outcome a job, in order. A job that hangs or kills the process costs only itself.

        A job during which the process is killed from outside runs once more in a fresh process.
        """
        if self._child is not None and self._child.has_ended():  # died between two calls
            self.kill()
        try:
            return self._run(jobs)
        except BaseException:
            # An interrupt leaves results in the queue, which the next call must not read.
            self.kill()
            raise

    def _run(self, jobs: Sequence[Job]) -> list[Outcome]:
        lines = [job.line(number) for number, job in enumerate(jobs)]
        outcomes: list[Outcome] = []
        sent, ahead, repeated = 0, 0, -1
        while len(outcomes) < len(jobs):
            self.start()
            assert self._child is not None
            first = len(outcomes)
            while sent < len(jobs) and (sent == first or ahead + len(lines[sent]) <= AHEAD_BYTES):
                self._child.send_line(lines[sent])
                ahead += len(lines[sent])
                sent += 1
            try:
                frame = self._child.receive(self._timeout_seconds)
            except queue.Empty:
                outcomes.append(Outcome(TIMEOUT))
            else:
                if isinstance(frame, dict) and frame.get("number") == first:
                    ahead -= len(lines[first])
                    score = Score(frame["value"], frame["verdict"], frame.get("parts") or {})
                    details = frame.get("details", "")
                    outcomes.append(Outcome(score, frame.get("error"), details))
                    continue
                code = self._close(ending=True) if frame == ENDED else 0
                if code < 0 and repeated != first:
                    repeated = first
                else:
                    reason = _how_it_ended(code) if frame == ENDED else WROTE
                    outcomes.append(Outcome(ERROR, reason, self._output.last_lines()))
            # The process cannot be used any more. Everything behind this job is sent again.
            self.kill()
            sent, ahead = len(outcomes), 0
        return outcomes

    def kill(self) -> None:
        """End the child and the processes that it started, if there is one."""
        if self._child is not None:
            self._close()

    def _close(self, *, ending: bool = False) -> int:
        """The exit code of the child, which is ended if it has not ended by itself."""
        child, self._child = self._child, None
        assert child is not None
        code = child.close(ending=ending)
        self._output.finish()
        return code


def _how_it_ended(code: int) -> str:
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


class PrintedOutput:
    """What a reward prints: copied to the parent's stderr up to a limit.

    It is read without end, so that a reward that prints without end fills neither a pipe nor a
    disk. One object follows the standard error of one process after the other.
    """

    def __init__(self) -> None:
        self._left_bytes = SHOWN_BYTES
        self._tail = b""
        self._reader: threading.Thread | None = None

    def follow(self, stream: IO[bytes] | None) -> None:
        """Read a stream until it ends."""
        assert stream is not None
        self._tail = b""
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def finish(self) -> None:
        """Wait for the rest of the output of a process that has ended.

        A process that it left behind may hold the stream open: the wait has a limit.
        """
        if self._reader is not None:
            self._reader.join(JOIN_SECONDS)

    def last_lines(self) -> str:
        """The last lines that were printed."""
        return _printable(self._tail)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := stream.read1(CHUNK_BYTES):  # type: ignore[attr-defined]
                self._tail = (self._tail + chunk)[-TAIL_BYTES:]
                if self._left_bytes <= 0:
                    continue
                shown = _printable(chunk[: self._left_bytes])
                self._left_bytes -= len(chunk)
                if self._left_bytes <= 0:
                    shown += "\n(the reward prints too much: the rest is not shown)\n"
                with contextlib.suppress(OSError, ValueError, AttributeError):  # no stderr
                    sys.stderr.write(shown)
                    sys.stderr.flush()


def _printable(output: bytes) -> str:
    """As text without control characters, which a terminal would obey."""
    text = output.decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
