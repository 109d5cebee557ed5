"""Child processes that exchange JSON documents with their parent, one a line, in both directions.

`ChildProcess` is the parent's end and `Channel` the child's. Two processes use them: the scoring
process of the rewards and the model process of the web app.

The channel is protected from the code that the child runs. The child moves both pipes to high
descriptors that no started program inherits and that a fork closes, so that prints, closed
descriptors and forks do not reach them. Every document that it writes begins with a token that the
parent made for this process: any other output on the pipe is `FOREIGN`.

The child is a fresh interpreter, never a fork: the parent may hold a GPU context and threads. It
has a process group of its own, which `close` kills as a whole, and it ends when its input ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any, Literal

from gft_lite.types import TrainingError

HIGHEST_DESCRIPTOR = 1 << 16
CLOSED_EXIT_CODE = 73  # the child found its own descriptors closed
SETTLE_SECONDS = 2.0  # longest wait between the end of a child's output and its exit code

Document = dict[str, Any]
FOREIGN: Literal["foreign"] = "foreign"
ENDED: Literal["ended"] = "ended"
Frame = Document | Literal["foreign", "ended"]


def encoded(document: Document) -> bytes:
    """A document as one line. It is ASCII, so that any text survives."""
    return json.dumps(document).encode("ascii") + b"\n"


def start_failure(role: str, error: Exception) -> TrainingError:
    """The error for a process that the system did not start."""
    reason = getattr(error, "strerror", None) or str(error) or "no memory is left"
    return TrainingError(
        f"{role} could not be started: {reason}. Close other programs, or raise the limits on "
        "memory, processes and open files (ulimit -a)"
    )


class ChildProcess:
    """The parent's end of a running child. Call `close` in the end.

    Attributes:
        pid: process id of the child.
        stderr: what the child prints, if it was started with `stderr=subprocess.PIPE`.
    """

    def __init__(
        self,
        command: Sequence[str],
        role: str,
        *,
        stderr: int | IO[bytes],
        max_line_bytes: int = -1,
    ) -> None:
        """Start the child.

        Args:
            command: program and arguments.
            role: what the child is, for the message if it cannot be started.
            stderr: where its standard error goes, as in `subprocess.Popen`.
            max_line_bytes: longest line that is accepted from the child; -1 for no limit.

        Raises:
            TrainingError: the system starts no process.
        """
        token = secrets.token_hex(16)
        self._frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._child: subprocess.Popen[bytes] | None = None
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,  # a group of its own; Ctrl-C goes to the parent only
            )
            self.pid = self._child.pid
            self.stderr = self._child.stderr
            threading.Thread(
                target=self._read,
                args=(self._child.stdout, token.encode("ascii"), max_line_bytes),
                daemon=True,
            ).start()
        except (OSError, RuntimeError, MemoryError) as error:
            if self._child is not None:
                self.close()
            raise start_failure(role, error) from None
        self.send({"token": token})

    def send(self, document: Document) -> None:
        """Send one document."""
        self.send_line(encoded(document))

    def send_line(self, line: bytes) -> None:
        """Send one document that is encoded already."""
        assert self._child is not None and self._child.stdin is not None
        # A child that has ended shows in its missing answer. A closed pipe is a ValueError.
        with contextlib.suppress(OSError, ValueError):
            self._child.stdin.write(line)
            self._child.stdin.flush()

    def receive(self, timeout_seconds: float | None = None) -> Frame:
        """The next document, `FOREIGN` or `ENDED`; nothing follows the last two.

        Raises:
            queue.Empty: nothing arrived within the time limit.
        """
        return self._frames.get(timeout=timeout_seconds)

    def has_ended(self) -> bool:
        """Whether the child has ended. Does not reap it: its id stays its own until `close`."""
        assert self._child is not None
        if not hasattr(os, "waitid"):
            return self._child.poll() is not None
        with contextlib.suppress(ChildProcessError):
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._child.pid, options) is not None
        return True

    def kill(self) -> None:
        """Kill the child and its process group; `close` must follow."""
        assert self._child is not None
        if self._child.returncode is not None:  # reaped: its id could be another process's
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._child.pid, signal.SIGKILL)
        self._child.kill()  # the code it runs may have moved it to another group

    def close(self, *, ending: bool = False) -> int:
        """End the child and its process group.

        Args:
            ending: the child's output has ended; wait a moment for its own exit code.

        Returns:
            The exit code, negative for a signal.
        """
        assert self._child is not None
        deadline = time.monotonic() + SETTLE_SECONDS
        while ending and time.monotonic() < deadline and not self.has_ended():
            time.sleep(0.005)
        if self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        self.kill()  # before it is waited for: a reaped process id could be another's
        code = self._child.wait()
        _reap_group(self._child.pid)
        return code

    def _read(self, stream: IO[bytes], token: bytes, max_line_bytes: int) -> None:
        """Move frames to a queue, which unlike a pipe can be waited on with a time limit.

        Ends after the first `FOREIGN`, so that endless foreign output costs no memory.
        """
        with stream:
            while line := stream.readline(max_line_bytes):
                if line.startswith(token) and line.endswith(b"\n"):
                    try:
                        self._frames.put(json.loads(line[len(token) :]))
                        continue
                    except ValueError:  # foreign bytes inside a frame
                        pass
                elif line.startswith(token) and len(line) != max_line_bytes:
                    break  # the process ended within a frame
                self._frames.put(FOREIGN)
                return
        self._frames.put(ENDED)


class Channel:
    """The child's end. Standard input is empty afterwards, standard output is standard error."""

    def __init__(self) -> None:
        self._input, self._output = _out_of_reach(0), _out_of_reach(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)
        self._pid, self._token = os.getpid(), b""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._close)

    def documents(self) -> Iterator[Any]:
        """Everything that the parent sends after the token; None for a line that is not JSON."""
        first = True
        with open(self._input, "rb", closefd=False) as lines:
            while line := self._line(lines):
                try:
                    document = json.loads(line)
                except ValueError:
                    document = None
                if first and isinstance(document, dict) and document.keys() == {"token"}:
                    self._token = document["token"].encode("ascii")
                else:
                    yield document
                first = False

    def write(self, document: Document) -> None:
        """Send one document. A fork of this process ends here: only the original answers."""
        if os.getpid() != self._pid:
            os._exit(0)
        left = self._token + encoded(document)
        try:
            while left:
                left = left[os.write(self._output, left) :]
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
        for descriptor in (self._input, self._output):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _out_of_reach(descriptor: int) -> int:
    """A copy in the upper quarter of the allowed numbers.

    Code that writes to or closes descriptors by number, or a range of them, seldom meets it.
    """
    if sys.platform == "win32":
        return os.dup(descriptor)
    import fcntl
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    top = HIGHEST_DESCRIPTOR if limit == resource.RLIM_INFINITY else min(limit, HIGHEST_DESCRIPTOR)
    lowest = random.SystemRandom().randrange(top - max(1, top // 4), top - 1)
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def _reap_group(group: int) -> None:
    """Collect the processes that a child left behind.

    The first process of a container becomes their parent; nobody else would collect the zombies.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    with contextlib.suppress(ChildProcessError, AttributeError):  # no such system call on Windows
        while time.monotonic() < deadline:
            if os.waitpid(-group, os.WNOHANG)[0] == 0:  # killed, but still dying
                time.sleep(0.005)
