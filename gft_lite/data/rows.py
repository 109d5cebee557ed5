"""What a reader hands on: records, and the rows that cannot be used.

A record is one row of a file, either its fields or the reason why it has none. Row numbers are
1-based: the line in JSONL, the row below the header in tables, the position everywhere else. Where
several files are read, rows are counted through and `place` says which row of which file it is.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

from gft_lite.types import DataError

QUOTE_CHARACTERS = 48

Fields = Mapping[str, object]


class RowError(DataError):
    """One row cannot be used. Raised while a row is read, always turned into a `BadRow`."""

    def __init__(self, column: str | None, reason: str, value: object = None) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason
        self.quote = "" if value is None else quoted(value)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: where, why, and the first characters of what stands there."""

    row: int
    column: str | None
    reason: str
    quote: str = ""
    place: str = ""

    def __str__(self) -> str:
        where = f"row {self.row}" + (f" ({self.place})" if self.place else "")
        where += f", column '{self.column}'" if self.column else ""
        return f"{where}: {self.reason}" + (f", found {self.quote}" if self.quote else "")


@dataclass(frozen=True)
class JoinedRow:
    """A usable row that went into the example of another row."""

    row: int
    into: int


@dataclass(frozen=True)
class Record:
    """One row of a file: its fields, or `bad` where the row itself cannot be read.

    `place` says which file of several it is in; `joined` are other rows that went into this one.
    """

    row: int
    fields: Fields
    bad: BadRow | None = None
    place: str = ""
    joined: tuple[int, ...] = ()


def broken(row: int, reason: str, value: object = None) -> Record:
    """A record whose row cannot be read at all."""
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
    """The name of a value's type in the words of a data file."""
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
