"""The app's end of the model process (`gft_lite.model_server`): start, ask, stop, end.

There is at most one process. The first question starts it, and it is ended after a while without
questions, so that no model occupies memory for nothing. Questions of several windows wait for each
other. If the process dies, the answer is a sentence, and the next question starts another one. No
text that comes back contains the folder of the workspace.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from gft_lite.rewards.child_process import ChildProcess
from gft_lite.types import TrainingError

Event = dict[str, Any]

IDLE_SECONDS = 300.0
GRACE_SECONDS = 10.0  # between a stop and the end of a process that does not react to it
LAST = ("done", "stopped", "refused")


class ModelProcess:
    """Questions to a process that holds a model."""

    def __init__(self, root: Path, log: str, *, idle_seconds: float = IDLE_SECONDS) -> None:
        """The process is not started yet.

        Args:
            root: folder whose name is removed from everything that comes back.
            log: file in it for the output of libraries and for tracebacks.
            idle_seconds: the process is ended after this time without a question.
        """
        self._log = root / log
        self._root = json.dumps(f"{root}/")[1:-1]  # as it stands in JSON
        self._idle_seconds = idle_seconds
        self._child: ChildProcess | None = None
        self._turn = threading.Lock()  # one question at a time
        self._question = 0  # number of the current question
        self._busy = False
        self._stopped = False
        self._idle: threading.Timer | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the process runs."""
        return self._child.pid if self._child and not self._child.has_ended() else None

    def ask(self, do: str, **request: Any) -> Generator[Event, None, None]:
        """Events of one question; the last one is done, stopped or refused.

        Closing the iterator early stops the question.
        """
        if not self._turn.acquire(blocking=False):
            yield {"say": "waiting"}
            self._turn.acquire()
        try:
            yield from self._answer({"do": do, **request})
        finally:
            self._start_idle_timer()
            self._turn.release()

    def stop(self) -> None:
        """End the current question; the model stays loaded."""
        if not self._busy:
            return
        self._stopped = True
        number, child = self._question, self._child
        self._send({"id": number, "do": "stop"})

        def kill() -> None:
            if self._busy and self._question == number and child is not None:
                child.kill()

        patience = threading.Timer(GRACE_SECONDS, kill)
        patience.daemon = True
        patience.start()

    def close(self) -> None:
        """End the process, which frees its memory."""
        if self._idle:
            self._idle.cancel()
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _answer(self, request: Event) -> Iterator[Event]:
        if self._idle:
            self._idle.cancel()
        if self.pid is None:
            yield {"say": "starting"}
            try:
                self._start()
            except TrainingError as error:
                yield {"say": "refused", "message": str(error)}
                return
        self._question += 1
        self._busy, self._stopped = True, False
        ended = False
        try:
            self._send({"id": self._question, **request})
            for event in self._events():
                ended = event["say"] in LAST
                yield event
                if ended:
                    return
            ended = True
            yield self._death()
        finally:
            if not ended:  # the caller closed the iterator
                self.stop()
                for event in self._events():
                    if event["say"] in LAST:
                        break
            self._busy = False

    def _start(self) -> None:
        self.close()
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "gft_lite.model_server"]
            self._child = ChildProcess(command, "the model process", stderr=log)

    def _send(self, request: Event) -> None:
        if self._child is not None:
            self._child.send(request)

    def _events(self) -> Iterator[Event]:
        """Events of the current question, until the process ends."""
        child = self._child
        while child is not None and isinstance(frame := child.receive(), dict):
            event = json.loads(json.dumps(frame).replace(self._root, ""))
            if event.pop("id") == self._question:
                yield event

    def _death(self) -> Event:
        """The last event of a question during which the process ended."""
        child, self._child = self._child, None
        code = child.close(ending=True) if child else None
        if self._stopped:
            return {"say": "stopped"}
        reason = (
            "the machine's memory ran out" if code == -9 else f"code {code}, see {self._log.name}"
        )
        return {
            "say": "refused",
            "message": f"The process that held the model has ended ({reason}). Ask again: it is "
            "started anew. If that repeats, choose fewer adapters or shorter answers.",
        }

    def _start_idle_timer(self) -> None:
        """End the process after a while without a question."""

        def end() -> None:
            if self._turn.acquire(blocking=False):
                try:
                    self.close()
                finally:
                    self._turn.release()

        self._idle = threading.Timer(self._idle_seconds, end)
        self._idle.daemon = True
        self._idle.start()
