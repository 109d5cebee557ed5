"""Records, which readers produce, and rows that cannot be used.

A record is one row of a file: its fields, or the reason why it has none. Row numbers start at 1:
the line in JSONL, the row below the header in tables, the position everywhere else. The rows of
several files are numbered consecutively, and `place` names the file and its row.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

from gft_lite.types import DataError

QUOTE_CHARACTERS = 48

Fields = Mapping[str, object]


class RowError(DataError):
    """One row cannot be used; always converted to a `BadRow`."""

    def __init__(self, column: str | None, reason: str, value: object = None) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason
        self.quote = "" if value is None else quoted(value)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: its place, the reason, and a quote of its value."""

    row: int
    column: str | None
    reason: str
    quote: str = ""
    place: str = ""

    def __str__(self) -> str:
        name = f"row {self.row}" + (f" ({self.place})" if self.place else "")
        name += f", column '{self.column}'" if self.column else ""
        return f"{name}: {self.reason}" + (f", found {self.quote}" if self.quote else "")


@dataclass(frozen=True)
class JoinedRow:
    """A usable row that went into the example of another row."""

    row: int
    into: int


@dataclass(frozen=True)
class Record:
    """One row of a file.

    Attributes:
        row: its number.
        fields: column → value.
        bad: the reason if the row cannot be read; `fields` is empty then.
        place: file and row, if several files are read.
        joined: numbers of other rows that are part of this record.
    """

    row: int
    fields: Fields
    bad: BadRow | None = None
    place: str = ""
    joined: tuple[int, ...] = ()


def broken(row: int, reason: str, value: object = None) -> Record:
    """A record whose row cannot be read."""
    return Record(row, {}, BadRow(row, None, reason, "" if value is None else quoted(value)))


def quoted(value: object) -> str:
    """A short printable quote of any value, whatever its size and depth."""
    if isinstance(value, str):
        cut = value[:QUOTE_CHARACTERS]
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
        return f'"{shown}"' + ("…" if len(value) > QUOTE_CHARACTERS else "")
    if isinstance(value, bytes):
        return quoted(value[: QUOTE_CHARACTERS * 4].decode("utf-8", "backslashreplace"))
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 2, 24, 24
    short.maxlist = short.maxdict = short.maxtuple = 3
    shown = short.repr(value)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def kind_of(value: object) -> str:
    """The name of a value's type in the terms of a data file."""
    names = {
        type(None): "null",
        bool: "true/false",
        int: "a number",
        float: "a number",
        str: "text",
        bytes: "bytes",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"a {type(value).__name__}")
