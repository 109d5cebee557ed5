"""Serves requests, one JSON document a line. One thread reads while the main one serves.

A stop therefore reaches a request that is being served.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
from _thread import interrupt_main
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import torch

from gft_lite.model_server.chat import chat
from gft_lite.model_server.handlers import card, export, mix
from gft_lite.model_server.model_cache import ModelCache
from gft_lite.model_server.score import score
from gft_lite.rewards.child_process import Channel
from gft_lite.types import GftError

VERBS: dict[str, Callable[..., None]] = {
    "chat": chat,
    "score": score,
    "mix": mix,
    "export": export,
    "card": card,
}
NO_MEMORY = (
    "the GPU's memory is not enough for this; wait until no run trains, choose a shorter longest "
    "answer, or a smaller base"
)
BROKE = "this broke inside gft-lite; the log of the model process has the details"


class Loop:
    """Serves requests until there are no more. A stop is an interrupt of the main thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._cache = ModelCache()
        self._current: object = None
        self._change = threading.Lock()  # of what is current
        self._inbox: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    def run(self) -> None:
        """Serve; must be called in the main thread."""
        signal.signal(signal.SIGINT, signal.default_int_handler)  # not inherited by background jobs
        threading.Thread(target=self._read, daemon=True).start()
        while (request := self._inbox.get()) is not None:
            number = request.pop("id", None)
            with contextlib.suppress(KeyboardInterrupt):  # a stop that came as the work was done
                self._serve(number, request)

    def _serve(self, number: object, request: dict[str, Any]) -> None:
        def say(kind: str, **fields: Any) -> None:
            self._channel.write({"id": number, "say": kind, **fields})

        end: dict[str, Any] = {"kind": "done"}
        try:
            with self._change:
                self._current = number
            verb = VERBS.get(str(request.pop("do", None)))
            if verb is None:
                raise GftError("the model process does not know this request")
            verb(self._cache, say, **request)
        except KeyboardInterrupt:
            end = {"kind": "stopped"}
        except GftError as error:
            end = {"kind": "refused", "message": str(error)}
        except torch.cuda.OutOfMemoryError:
            self._cache.drop()
            end = {"kind": "refused", "message": NO_MEMORY}
        except Exception:
            traceback.print_exc()
            end = {"kind": "refused", "message": BROKE}
        finally:
            with self._change:
                self._current = None
            say(**end)

    def _read(self) -> None:
        for request in self._channel.documents():
            if not isinstance(request, dict):
                request = {"do": None}
            if request.get("do") == "stop":
                with self._change:
                    if self._current is not None and self._current == request.get("id"):
                        interrupt_main()
            else:
                self._inbox.put(request)
        os._exit(0)  # the parent is gone, perhaps in the middle of an answer
