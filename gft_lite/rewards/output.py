"""What a reward prints: shown on the parent's stderr up to a limit, and read for ever, so that a
reward that prints without end fills neither a pipe nor a disk."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import IO

SHOWN_BYTES = 1 << 16  # over the life of a scorer
KEPT_BYTES = 2000
CHUNK_BYTES = 1 << 16
JOIN_SECONDS = 0.5


class Output:
    """Follows the standard error of one process after the other."""

    def __init__(self) -> None:
        self._left = SHOWN_BYTES
        self._tail = b""
        self._reader: threading.Thread | None = None

    def follow(self, stream: IO[bytes] | None) -> None:
        """Read a stream until it ends."""
        assert stream is not None
        self._tail = b""
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def finish(self) -> None:
        """Wait for the rest of what a process that ended has printed.

        A process that it left behind may hold the stream open: it is read on, and not waited for.
        """
        if self._reader is not None:
            self._reader.join(JOIN_SECONDS)

    def last(self) -> str:
        """The last lines that were printed."""
        return _printable(self._tail)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := stream.read1(CHUNK_BYTES):  # type: ignore[attr-defined]
                self._tail = (self._tail + chunk)[-KEPT_BYTES:]
                if self._left <= 0:
                    continue
                shown = _printable(chunk[: self._left])
                self._left -= len(chunk)
                if self._left <= 0:
                    shown += "\n(the reward prints too much: the rest is not shown)\n"
                with contextlib.suppress(OSError, ValueError, AttributeError):  # no stderr
                    sys.stderr.write(shown)
                    sys.stderr.flush()


def _printable(output: bytes) -> str:
    """As text without control characters, which a terminal would obey."""
    text = output.decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
