"""Every drawn response, appended the moment it is there: what was paid for is never lost.

One JSON object a line. The first says with what settings the journal was begun; going on with
others is refused. The others are responses, keyed by row and index. A half-written last line, left
by a killed process, is cut off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gft_lite.types import DataError, Example


@dataclass(frozen=True)
class Entry:
    """One response to the prompt of a row; `prompt` is a digest of it."""

    row: int
    index: int
    prompt: str
    text: str
    finished: bool


def digest(example: Example) -> str:
    """A short name of a prompt, to notice that the file has changed."""
    turns = "\0".join(f"{turn.role}\0{turn.content}" for turn in example.prompt)
    return hashlib.sha256(turns.encode()).hexdigest()[:16]


class Journal:
    """Entries by (row, index); `add` writes at once."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.entries: dict[tuple[int, int], Entry] = {}
        if path.exists():
            self._read(settings)
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_line({"settings": settings}), encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from None

    def _read(self, settings: Mapping[str, Any]) -> None:
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        try:
            first, *lines = [json.loads(line) for line in whole.splitlines()]
            begun = first["settings"]
            entries = [Entry(**line) for line in lines]
        except (ValueError, LookupError, TypeError):
            raise DataError(
                f"{self.path}: is no journal of `data distill`; choose another --out"
            ) from None
        changed = [name for name in settings if begun.get(name) != settings[name]]
        if changed:
            was = ", ".join(f"{name} was {begun.get(name)!r}" for name in changed)
            raise DataError(
                f"{self.path}: was begun with other settings ({was}); go on with those, or choose "
                "another --out"
            )
        if len(whole) < len(raw):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        self.entries = {(entry.row, entry.index): entry for entry in entries}

    def add(self, entry: Entry) -> None:
        """Keep a response."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(asdict(entry)))
        self.entries[entry.row, entry.index] = entry

    def of(self, example: Example, n: int) -> list[Entry | None]:
        """The first n responses to a row, None where one is missing.

        Raises:
            DataError: the row had another prompt when the journal was written.
        """
        found = [self.entries.get((example.row, index)) for index in range(n)]
        name = digest(example)
        if any(entry and entry.prompt != name for entry in found):
            raise DataError(
                f"{self.path}: row {example.row} had another prompt when its responses were drawn; "
                "the data file has changed: choose another --out"
            )
        return found


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
