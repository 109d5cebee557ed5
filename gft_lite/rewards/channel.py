"""The line between the scoring process and its parent, kept away from the reward's code.

The worker moves both pipes to high descriptors that no started program inherits and that a fork
closes. Every frame it writes begins with a token that the parent made for this process: whatever
else arrives was written by the reward, and the parent reads `FOREIGN`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import sys
from collections.abc import Iterator
from typing import IO, Any, Literal

MAX_FRAME_BYTES = 1 << 20
HIGHEST_DESCRIPTOR = 1 << 16
CLOSED_EXIT_CODE = 73  # the worker found its own descriptors closed

Frame = dict[str, Any] | Literal["foreign", "ended"]
FOREIGN: Literal["foreign"] = "foreign"
ENDED: Literal["ended"] = "ended"


class Channel:
    """The worker's end. Standard input is empty afterwards, standard output is standard error."""

    def __init__(self) -> None:
        self._jobs, self._results = _out_of_reach(0), _out_of_reach(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)
        self._process, self._token = os.getpid(), b""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._close)

    def documents(self) -> Iterator[dict[str, Any]]:
        """What the parent sends. The first document brings the token."""
        with open(self._jobs, "rb", closefd=False) as lines:
            while line := self._line(lines):
                document = json.loads(line)
                self._token = self._token or document["token"].encode("ascii")
                yield document

    def write(self, document: dict[str, Any]) -> None:
        """Send one document. A copy of this process ends here: only the original answers."""
        if os.getpid() != self._process:
            os._exit(0)
        left = self._token + json.dumps(document).encode("ascii") + b"\n"
        try:
            while left:
                left = left[os.write(self._results, left) :]
        except BrokenPipeError:  # the parent is gone
            os._exit(0)
        except OSError:
            os._exit(CLOSED_EXIT_CODE)

    def _line(self, lines: IO[bytes]) -> bytes:
        try:
            return lines.readline()
        except OSError:
            os._exit(CLOSED_EXIT_CODE)

    def _close(self) -> None:
        for descriptor in (self._jobs, self._results):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def pump(stream: IO[bytes], token: bytes, frames: queue.SimpleQueue[Frame]) -> None:
    """The parent's end: move frames to a queue, which unlike a pipe can be waited on with a limit.

    Ends after the first `FOREIGN`, so that endless foreign output costs no memory.
    """
    with stream:
        while line := stream.readline(MAX_FRAME_BYTES):
            if line.startswith(token) and line.endswith(b"\n"):
                try:
                    frames.put(json.loads(line[len(token) :]))
                    continue
                except ValueError:  # foreign bytes inside a frame
                    pass
            elif line.startswith(token) and len(line) < MAX_FRAME_BYTES:
                break  # the process ended within a frame
            frames.put(FOREIGN)
            return
    frames.put(ENDED)


def _out_of_reach(descriptor: int) -> int:
    """A copy in the upper quarter of the allowed numbers: code that writes to or closes descriptors
    by number, or a range of them, seldom meets it."""
    if sys.platform == "win32":
        return os.dup(descriptor)
    import fcntl
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    top = HIGHEST_DESCRIPTOR if limit == resource.RLIM_INFINITY else min(limit, HIGHEST_DESCRIPTOR)
    lowest = random.SystemRandom().randrange(top - max(1, top // 4), top - 1)
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
