"""What stands in each column of a file, as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gft_lite.data.rows import Record, kind_of

MOST_COLUMNS = 200


@dataclass(frozen=True)
class Column:
    """One column: rows with a value, what kinds of value, and the longest text in characters."""

    name: str
    filled: int
    kinds: Mapping[str, int]
    longest: int


class Columns:
    """Counts columns while records go by."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[type, int]] = {}
        self._longest: dict[str, int] = {}

    def see(self, record: Record) -> None:
        """Count the cells of one record."""
        for name, value in record.fields.items():
            kinds = self._kinds.get(name)
            if kinds is None:
                if len(self._kinds) >= MOST_COLUMNS:
                    continue
                kinds = self._kinds.setdefault(name, {})
                self._longest[name] = 0
            kind = type(value)
            kinds[kind] = kinds.get(kind, 0) + 1
            if kind is str and len(value) > self._longest[name]:  # type: ignore[arg-type]
                self._longest[name] = len(value)  # type: ignore[arg-type]

    def found(self) -> tuple[Column, ...]:
        """The columns in order of appearance."""
        empty = {bool: True, int: 0, float: 0.0, str: "", bytes: b"", list: [], dict: {}}
        columns = []
        for name, counts in self._kinds.items():
            kinds: dict[str, int] = {}
            for kind, count in counts.items():
                if kind is not type(None):
                    called = kind_of(empty[kind]) if kind in empty else f"a {kind.__name__}"
                    kinds[called] = kinds.get(called, 0) + count
            columns.append(Column(name, sum(kinds.values()), kinds, self._longest[name]))
        return tuple(columns)
