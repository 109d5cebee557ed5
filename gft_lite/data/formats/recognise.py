"""Which format a file is in, why, and which other one it might have been.

A format is possible where its needed columns are there. Among the possible ones the order is: at
least half of the rows looked at fit; then the number of the file's columns that it explains; then
the share of fitting rows; then the order of FORMATS. Names therefore decide before values do: a
file with a wrong value in every row gets its rows reported instead of being read as something
poorer.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gft_lite.data.formats.cells import first_present
from gft_lite.data.formats.mapping import Origin
from gft_lite.data.formats.registry import FORMATS, Format
from gft_lite.data.rows import Fields
from gft_lite.types import DataError

PEEK_ROWS = 100


@dataclass(frozen=True)
class Recognition:
    """What a file was taken for. `format` is "none" where no row of it could be read at all.

    `notes` are sentences about how it was read: a guessed encoding, files that were left out.
    """

    format: str
    kind: str
    meaning: str
    why: str
    runner_up: str | None
    runner_up_why: str
    columns: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    name: str
    explains: tuple[str, ...]
    fitting: int

    def why(self, rows: int) -> str:
        named = ", ".join(f"'{column}'" for column in self.explains)
        evidence = FORMATS[self.name].evidence
        return f"columns {named}; {self.fitting} of {rows} rows looked at have {evidence}"


def columns_of(rows: Sequence[Fields]) -> tuple[str, ...]:
    """The columns of these rows, in order of appearance."""
    return tuple(dict.fromkeys(name for row in rows for name in row))


def recognise(rows: Sequence[Fields], name: str, kind: str) -> Recognition:
    """The format of these first rows; DataError, naming the columns, where it is none."""
    columns = columns_of(rows)
    filled = {column for row in rows for column in row if row[column] is not None}
    found = [_candidate(key, rows, columns, filled) for key in FORMATS]
    possible = [candidate for candidate in found if candidate is not None]
    if not possible:
        raise DataError(
            f"{name}: no known format has the columns {listed(columns)}. Name the columns with "
            "--map, for example --map prompt=QUESTION_COLUMN --map expert=ANSWER_COLUMN, or rename "
            f"them to prompt and expert, teachers or answer. Known formats: {', '.join(FORMATS)}"
        )
    ranked = sorted(
        possible,
        key=lambda c: (2 * c.fitting >= len(rows), len(c.explains), c.fitting),
        reverse=True,  # a stable sort: ties keep the order of FORMATS
    )
    best, second = ranked[0], ranked[1] if len(ranked) > 1 else None
    return Recognition(
        format=best.name,
        kind=kind,
        meaning=FORMATS[best.name].meaning,
        why=best.why(len(rows)),
        runner_up=second.name if second else None,
        runner_up_why=second.why(len(rows)) if second else "",
        columns=columns,
        unused=tuple(c for c in columns if c not in FORMATS[best.name].columns),
    )


def _candidate(
    key: str, rows: Sequence[Fields], columns: tuple[str, ...], filled: set[str]
) -> _Candidate | None:
    form = FORMATS[key]
    if not all(any(name in columns for name in names) for names in form.needs):
        return None
    fitting = sum(_fits(form, row) for row in rows)
    if form.strict and 2 * fitting < len(rows):
        return None
    return _Candidate(
        name=key,
        explains=tuple(name for name in form.columns if name in filled)
        or tuple(name for name in form.columns if name in columns),
        fitting=fitting,
    )


def _fits(form: Format, row: Fields) -> bool:
    present = all(row.get(first_present(row, names)) is not None for names in form.needs)
    return present and form.fits(row)


def chosen(
    rows: Sequence[Fields], name: str, kind: str, key: str, mapping: Mapping[str, Origin]
) -> Recognition:
    """The format that the user named, its columns checked against the (renamed) rows."""
    columns = columns_of(rows)
    form = FORMATS[key]
    for names in form.needs:
        if rows and not any(column in columns for column in names):
            raise DataError(
                f"{name}: format '{key}' needs a column {' or '.join(map(repr, names))}; the file "
                f"has {listed(columns)}. Name it with --map {names[0]}=COLUMN"
            )
    said = ", ".join(f"{field}={origin.said}" for field, origin in mapping.items())
    why = f"columns were named: {said}" if mapping else "the format was named"
    unused = tuple(c for c in columns if c not in form.columns)
    return Recognition(key, kind, form.meaning, why, None, "", columns, unused)


def known_format(key: str) -> str:
    """The key, or DataError with the nearest known one."""
    if key in FORMATS:
        return key
    near = difflib.get_close_matches(key, FORMATS, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise DataError(f"unknown data format '{key}'{hint} Known: auto, {', '.join(FORMATS)}")


def check_mapping(
    mapping: Mapping[str, Origin], key: str, columns: tuple[str, ...], name: str
) -> None:
    """DataError where a mapped field or a file's column does not exist."""
    fields = FORMATS[key].columns
    for field, origin in mapping.items():
        said = f"--map {field}={origin.said}"
        if field not in fields:
            raise DataError(
                f"{said}: format '{key}' has no field '{field}'; its fields are {', '.join(fields)}"
            )
        for column in origin.columns:
            if columns and column not in columns and column.split(".")[0] not in columns:
                near = difflib.get_close_matches(column, columns, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise DataError(
                    f"{name}: {said}: there is no column '{column}' in the first rows; "
                    f"the file has {listed(columns)}.{hint}"
                )


def listed(columns: Sequence[str]) -> str:
    """Column names for a message, cut after a dozen."""
    shown = ", ".join(f"'{column[:40]}'" for column in columns[:12])
    more = f" and {len(columns) - 12} more" if len(columns) > 12 else ""
    return shown + more if columns else "no columns"
