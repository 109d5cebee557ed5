"""The responses received so far, appended one by one, so that an interruption loses none.

One JSON object a line. The first line holds the settings; continuing with other settings is
refused. Every other line is a response, identified by row and index. An incomplete last line, which
a killed process leaves, is removed.
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
class JournalEntry:
    """One response to the prompt of a row; `prompt` is the digest of that prompt."""

    row: int
    index: int
    prompt: str
    text: str
    finished: bool


def prompt_digest(example: Example) -> str:
    """A digest of a prompt, which detects that the data file has changed."""
    turns = "\0".join(f"{turn.role}\0{turn.content}" for turn in example.prompt)
    return hashlib.sha256(turns.encode()).hexdigest()[:16]


class Journal:
    """Entries by (row, index); `add` writes immediately.

    Args:
        path: the file, which is created or continued.
        settings: settings that must not change.

    Raises:
        DataError: the file is not a journal, has other settings, or cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.entries: dict[tuple[int, int], JournalEntry] = {}
        if path.exists():
            self._read(settings)
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_line({"settings": settings}), encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from None

    def _read(self, settings: Mapping[str, Any]) -> None:
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        try:
            first, *lines = [json.loads(line) for line in complete.splitlines()]
            recorded = first["settings"]
            entries = [JournalEntry(**line) for line in lines]
        except (ValueError, LookupError, TypeError):
            raise DataError(
                f"{self.path}: is no journal of `data distill`; choose another --out"
            ) from None
        changed = [name for name in settings if recorded.get(name) != settings[name]]
        if changed:
            differences = ", ".join(f"{name} was {recorded.get(name)!r}" for name in changed)
            raise DataError(
                f"{self.path}: was begun with other settings ({differences}); continue with those, "
                "or choose another --out"
            )
        if len(complete) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(complete))
        self.entries = {(entry.row, entry.index): entry for entry in entries}

    def add(self, entry: JournalEntry) -> None:
        """Append a response."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(asdict(entry)))
        self.entries[entry.row, entry.index] = entry

    def of(self, example: Example, n: int) -> list[JournalEntry | None]:
        """The first n responses to a row; None for each that is missing.

        Raises:
            DataError: the row had another prompt when the journal was written.
        """
        entries = [self.entries.get((example.row, index)) for index in range(n)]
        digest = prompt_digest(example)
        if any(entry and entry.prompt != digest for entry in entries):
            raise DataError(
                f"{self.path}: row {example.row} had another prompt when its responses were drawn; "
                "the data file has changed: choose another --out"
            )
        return entries


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
