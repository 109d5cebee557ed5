"""The app's end of the model process (`gft_lite.model_server`): start, ask, stop, end.

At most one process, started by the first question and ended when nobody has asked for a while, so
that a model is not held for nothing. Questions of several windows wait for each other. A process
that dies becomes a sentence, and the next question starts another one. No sentence that comes back
names the folder of the workspace.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]

IDLE_SECONDS = 300.0
GRACE_SECONDS = 10.0  # between a stop and the end of a process that does not hear it
LAST = ("done", "stopped", "refused")


class ModelProcess:
    """Questions to a process that holds a model."""

    def __init__(self, root: Path, log: str, *, idle_seconds: float = IDLE_SECONDS) -> None:
        """Nothing is started yet.

        Args:
            root: folder whose name is left out of everything that comes back.
            log: file in it for what libraries and tracebacks say.
            idle_seconds: how long a process is kept that nobody asks.
        """
        self._log = root / log
        self._hidden = json.dumps(f"{root}/").encode("ascii")[1:-1]
        self._idle_seconds = idle_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()  # one question at a time
        self._asked = 0
        self._busy = False
        self._stopped = False
        self._idle: threading.Timer | None = None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def ask(self, do: str, **request: Any) -> Generator[Event, None, None]:
        """Events of one question; the last one says done, stopped or refused.

        Closing the iterator early stops the question.
        """
        if not self._turn.acquire(blocking=False):
            yield {"say": "waiting"}
            self._turn.acquire()
        try:
            yield from self._asking({"do": do, **request})
        finally:
            self._rest()
            self._turn.release()

    def stop(self) -> None:
        """End the question being answered; the model stays."""
        if not self._busy:
            return
        self._stopped = True
        number, child = self._asked, self._child
        self._send({"id": number, "do": "stop"})

        def kill() -> None:
            if self._busy and self._asked == number and child is not None:
                child.kill()

        patience = threading.Timer(GRACE_SECONDS, kill)
        patience.daemon = True
        patience.start()

    def close(self) -> None:
        """End the process and give its memory back."""
        if self._idle:
            self._idle.cancel()
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()

    def _asking(self, request: Event) -> Iterator[Event]:
        if self._idle:
            self._idle.cancel()
        if self.pid is None:
            yield {"say": "starting"}
            self._start()
        self._asked += 1
        self._busy, self._stopped = True, False
        ended = False
        try:
            self._send({"id": self._asked, **request})
            for event in self._events():
                ended = event["say"] in LAST
                yield event
                if ended:
                    return
            ended = True
            yield self._died()
        finally:
            if not ended:  # nobody listens any more
                self.stop()
                for event in self._events():
                    if event["say"] in LAST:
                        break
            self._busy = False

    def _start(self) -> None:
        self.close()
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "gft_lite.model_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is the app's; this process ends with its stdin
            )

    def _send(self, request: Event) -> None:
        child = self._child
        if child is None or child.stdin is None:
            return
        try:
            child.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            child.stdin.flush()
        except OSError:  # it is dead, which the reader will see
            pass

    def _events(self) -> Iterator[Event]:
        """Of the present question, until the process ends."""
        child = self._child
        if child is None or child.stdout is None:
            return
        for line in child.stdout:
            event = json.loads(line.replace(self._hidden, b""))
            if event.pop("id") == self._asked:
                yield event

    def _died(self) -> Event:
        child, self._child = self._child, None
        code = child.wait() if child else None
        if self._stopped:
            return {"say": "stopped"}
        why = "the machine's memory ran out" if code == -9 else f"code {code}, see {self._log.name}"
        return {
            "say": "refused",
            "message": f"The process that held the model has ended ({why}). Ask again: it is "
            "started anew. If that repeats, choose fewer adapters or shorter answers.",
        }

    def _rest(self) -> None:
        """Give the memory back when nobody has asked for a while."""

        def end() -> None:
            if self._turn.acquire(blocking=False):
                try:
                    self.close()
                finally:
                    self._turn.release()

        self._idle = threading.Timer(self._idle_seconds, end)
        self._idle.daemon = True
        self._idle.start()
