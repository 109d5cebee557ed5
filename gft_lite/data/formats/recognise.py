"""The format of a file, the evidence for it, and the second-best format.

A format is possible if its required columns exist. Possible formats are ranked by: at least half of
the inspected rows fit; then the number of the file's columns that the format explains; then the
number of fitting rows; then the order of FORMATS. Column names therefore decide before values: a
file with a wrong value in every row gets its rows reported instead of being read as a poorer
format.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gft_lite.data.formats.cells import first_present
from gft_lite.data.formats.mapping import FieldSource
from gft_lite.data.formats.registry import FORMATS, Format
from gft_lite.data.rows import Fields
from gft_lite.types import DataError

PEEK_ROWS = 100


@dataclass(frozen=True)
class Recognition:
    """How a file was read.

    Attributes:
        format: key of FORMATS; "none" if no row can be read.
        kind: the type of the file, in words.
        meaning: which columns become which fields.
        why: the evidence for the format.
        runner_up: the second-best format, if any.
        runner_up_why: the evidence for it.
        columns: the columns of the inspected rows.
        unused: the columns that the format does not read.
        notes: sentences such as a guessed encoding or files that were left out.
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


UNREADABLE = Recognition("none", "", "", "no row of it can be read", None, "", (), ())


@dataclass(frozen=True)
class _Candidate:
    name: str
    explains: tuple[str, ...]
    fitting: int

    def why(self, rows: int) -> str:
        names = ", ".join(f"'{column}'" for column in self.explains)
        evidence = FORMATS[self.name].evidence
        return f"columns {names}; {self.fitting} of {rows} rows looked at have {evidence}"


def columns_of(rows: Sequence[Fields]) -> tuple[str, ...]:
    """The columns of these rows, in order of appearance."""
    return tuple(dict.fromkeys(name for row in rows for name in row))


def recognise(rows: Sequence[Fields], name: str, kind: str) -> Recognition:
    """Detect the format of the first rows of a file.

    Raises:
        DataError: no known format has these columns.
    """
    columns = columns_of(rows)
    filled = {column for row in rows for column in row if row[column] is not None}
    candidates = [_candidate(key, rows, columns, filled) for key in FORMATS]
    ranked = sorted(
        (candidate for candidate in candidates if candidate is not None),
        key=lambda c: (2 * c.fitting >= len(rows), len(c.explains), c.fitting),
        reverse=True,  # a stable sort: ties keep the order of FORMATS
    )
    if not ranked:
        raise DataError(
            f"{name}: no known format has the columns {_listed(columns)}. Name the columns with "
            "--map, for example --map prompt=QUESTION_COLUMN --map expert=ANSWER_COLUMN, or rename "
            f"them to prompt and expert, teachers or answer. Known formats: {', '.join(FORMATS)}"
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


def named_format(
    rows: Sequence[Fields], name: str, kind: str, key: str, mapping: Mapping[str, FieldSource]
) -> Recognition:
    """The format that the user named.

    Args:
        rows: the first rows, under the format's field names.
        name: the file, for messages.
        kind: the type of the file.
        key: key of FORMATS.
        mapping: the fields that the user mapped.

    Raises:
        DataError: the file lacks a column that the format needs.
    """
    columns = columns_of(rows)
    form = FORMATS[key]
    for names in form.needs:
        if rows and not any(column in columns for column in names):
            raise DataError(
                f"{name}: format '{key}' needs a column {' or '.join(map(repr, names))}; the file "
                f"has {_listed(columns)}. Name it with --map {names[0]}=COLUMN"
            )
    specs = ", ".join(f"{field}={source.spec}" for field, source in mapping.items())
    why = f"columns were named: {specs}" if mapping else "the format was named"
    unused = tuple(c for c in columns if c not in form.columns)
    return Recognition(key, kind, form.meaning, why, None, "", columns, unused)


def check_format(key: str) -> None:
    """Check the name of a format.

    Raises:
        DataError: there is no such format; names the nearest one.
    """
    if key not in FORMATS:
        near = difflib.get_close_matches(key, FORMATS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise DataError(f"unknown data format '{key}'{hint} Known: auto, {', '.join(FORMATS)}")


def check_mapping(
    mapping: Mapping[str, FieldSource], key: str, columns: tuple[str, ...], name: str
) -> None:
    """Check a mapping against a format and the columns of a file.

    Raises:
        DataError: a mapped field or a column does not exist.
    """
    fields = FORMATS[key].columns
    for field, source in mapping.items():
        option = f"--map {field}={source.spec}"
        if field not in fields:
            raise DataError(
                f"{option}: format '{key}' has no field '{field}'; its fields are "
                f"{', '.join(fields)}"
            )
        for column in source.columns:
            if columns and column not in columns and column.split(".")[0] not in columns:
                near = difflib.get_close_matches(column, columns, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise DataError(
                    f"{name}: {option}: there is no column '{column}' in the first rows; "
                    f"the file has {_listed(columns)}.{hint}"
                )


def _listed(columns: Sequence[str]) -> str:
    """Column names for a message, a dozen at most."""
    shown = ", ".join(f"'{column[:40]}'" for column in columns[:12])
    more = f" and {len(columns) - 12} more" if len(columns) > 12 else ""
    return shown + more if columns else "no columns"
