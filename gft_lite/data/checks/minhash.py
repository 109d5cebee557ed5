"""Nearly equal texts in bounded memory: MinHash over windows of 8 bytes.

A text is the set of its 8-byte windows. A quarter of the windows is kept; the selection depends on
the hash of a window alone, so that equal windows are kept or dropped in every text. 32 minima of
that set estimate the share of windows that two texts have in common (Broder 1997) to about ± 0.1.
A text takes 128 bytes, whatever its length.

The minima are divided into eight bands of four. Two texts are compared if they agree in a whole
band, and a text is compared with the first text of its bucket only, so that the time is linear in
the number of texts. Texts with fewer than 8 kept windows (below about 40 bytes) are not compared.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

HASHES = 32
BANDS = 8
WINDOW_BYTES = 8
KEEP_ONE_IN = 4
MIN_WINDOWS = 8
MIN_SIMILARITY = 0.8
BATCH_TEXTS = 1000
MIX = 0x9E3779B97F4A7C15
SEED = 20240


@dataclass(frozen=True)
class Pair:
    """A text and an earlier one that it resembles, by their rows."""

    row: int
    earlier: int
    similarity: float


class Sketches:
    """Signatures of many texts: call `add` for each, then `near`."""

    def __init__(self) -> None:
        self._rows = array("q")
        self._pending: list[bytes] = []
        self._pending_rows: list[int] = []
        self._signatures: list[Any] = []

    def add(self, row: int, text: str) -> None:
        """Add the text of a row."""
        self._pending.append(text.encode("utf-8", "replace"))
        self._pending_rows.append(row)
        if len(self._pending) >= BATCH_TEXTS:
            self._flush()

    def near(self, before: Sketches | None = None) -> Iterator[Pair]:
        """Texts that resemble an earlier one; with `before`, those that resemble a text there."""
        import numpy as np

        rows, signatures = self._stacked()
        first_own = 0
        if before is not None:
            other_rows, other = before._stacked()
            first_own = len(other_rows)
            rows, signatures = (
                np.concatenate([other_rows, rows]),
                np.concatenate([other, signatures]),
            )
        if not len(rows):
            return
        best = np.zeros(len(rows), dtype=np.float32)
        earlier = np.zeros(len(rows), dtype=np.int64)
        for band in np.split(signatures, BANDS, axis=1):
            # One key a text; a stable sort puts the earliest text of a bucket first.
            keys = band[:, 0].astype(np.uint64)
            for column in band.T[1:]:
                keys = keys * np.uint64(MIX) + column
            order = np.argsort(keys, kind="stable")
            sorted_keys = keys[order]
            starts = np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]
            firsts = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
            rest = np.flatnonzero(~starts)
            for part in np.array_split(rest, len(rest) // 100_000 + 1):
                own, first = order[part], firsts[part]
                alike = (signatures[own] == signatures[first]).mean(axis=1, dtype=np.float32)
                better = alike > best[own]
                best[own[better]], earlier[own[better]] = alike[better], first[better]
        near = (best >= MIN_SIMILARITY) & (np.arange(len(rows)) >= first_own)
        if before is not None:
            near &= earlier < first_own
        for index in np.flatnonzero(near):
            yield Pair(int(rows[index]), int(rows[earlier[index]]), float(best[index]))

    def _stacked(self) -> tuple[Any, Any]:
        import numpy as np

        self._flush()
        if not self._signatures:
            return np.zeros(0, dtype=np.int64), np.zeros((0, HASHES), dtype=np.uint32)
        self._signatures = [np.concatenate(self._signatures)]
        return np.frombuffer(self._rows, dtype=np.int64).copy(), self._signatures[0]

    def _flush(self) -> None:
        if not self._pending:
            return
        indices, signatures = _signatures(self._pending)
        self._rows.extend(self._pending_rows[index] for index in indices)
        if len(indices):
            self._signatures.append(signatures)
        self._pending, self._pending_rows = [], []


def _signatures(texts: list[bytes]) -> tuple[Any, Any]:
    """(indices of the texts that are long enough, their minima as (texts, HASHES) uint32)."""
    import numpy as np

    lengths = np.array([len(text) for text in texts])
    joined = b"".join(texts) + b"\0" * WINDOW_BYTES
    # An overlapping view: element i is the 8 bytes that begin at byte i.
    windows = np.ndarray((int(lengths.sum()),), dtype="<u8", buffer=joined, strides=(1,))
    owner = np.repeat(np.arange(len(texts)), lengths)
    place = np.arange(len(windows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    mixed = windows * np.uint64(MIX)
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(MIX)
    # Windows that reach into the next text are dropped.
    inside = place <= np.repeat(lengths, lengths) - WINDOW_BYTES
    kept_windows = inside & ((mixed >> np.uint64(20)) % np.uint64(KEEP_ONE_IN) == 0)
    hashes = (mixed[kept_windows] >> np.uint64(32)).astype(np.uint32)
    owner = owner[kept_windows]
    counts = np.bincount(owner, minlength=len(texts))
    enough = counts >= MIN_WINDOWS
    indices = np.flatnonzero(enough)
    hashes = hashes[enough[owner]]
    signatures = np.empty((len(indices), HASHES), dtype=np.uint32)
    if len(indices):
        starts = np.cumsum(counts[indices]) - counts[indices]
        random = np.random.default_rng(SEED)
        factors = random.integers(1, 2**31, HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        shifts = random.integers(0, 2**32, HASHES, dtype=np.uint32)
        for n, (factor, shift) in enumerate(zip(factors, shifts, strict=True)):
            signatures[:, n] = np.minimum.reduceat(hashes * factor + shift, starts)
    return indices, signatures
