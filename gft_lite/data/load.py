"""A path or a Hub name to examples in one pass: open the records, detect the format, convert rows.

Every row becomes an example, joins the example of another row, or is reported as a BadRow. Rows
with the same prompt and the same answer become one example with the responses of all of them, so
that they form one group: rows_read == len(examples) + joined_rows + len(bad_rows), always.

`columns` maps fields (`formats.mapping`) of `format`, or of the canonical format if `format` is
"auto". A mapped column is read as that field and as nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from gft_lite.data.formats.mapping import (
    ColumnSpec,
    FieldSource,
    apply_mapping,
    numbered_sources,
    parse_source,
)
from gft_lite.data.formats.recognise import (
    PEEK_ROWS,
    UNREADABLE,
    Recognition,
    check_format,
    check_mapping,
    columns_of,
    named_format,
    recognise,
)
from gft_lite.data.formats.registry import FORMATS, Format
from gft_lite.data.readers.dispatch import open_records
from gft_lite.data.readers.files import READ_FORMATS
from gft_lite.data.rows import BadRow, Fields, JoinedRow, Record, RowError
from gft_lite.data.store import ExampleBuffer
from gft_lite.types import DataError, Example, Message

SHOWN_BAD_ROWS = 5

Row = Example | BadRow | JoinedRow


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read. Functions that read a file take these fields as keyword arguments.

    Attributes:
        format: name of a format, or "auto" to detect it.
        columns: where fields of the format come from, as with --map.
        limit: read the first rows only.
        split: split of a folder or a Hub dataset.
        system_prompt: system turn of every prompt that has none.
    """

    format: str = "auto"
    columns: Mapping[str, ColumnSpec] | None = None
    limit: int | None = None
    split: str = "train"
    system_prompt: str | None = None


@dataclass(frozen=True)
class LoadedFile:
    """The usable rows of a file, and what became of the others.

    Attributes:
        examples: a tuple, or for a large file a sequence on disk (`store`).
        recognised: how the file was read.
        bad_rows: the rows that cannot be used.
        rows_read: all rows.
        joined_rows: rows whose responses went into the example of another row.
    """

    examples: Sequence[Example]
    recognised: Recognition
    bad_rows: tuple[BadRow, ...]
    rows_read: int
    joined_rows: int = 0


@dataclass(frozen=True)
class RowStream:
    """A file whose format is known, ready to be read once.

    Attributes:
        name: the file, for messages.
        recognised: how the file is read.
        rows: its rows, converted one by one.
        max_rows: upper bound of its rows; None if it is not known before reading.
    """

    name: str
    recognised: Recognition
    rows: Iterator[Row]
    max_rows: int | None = None


def load_examples(
    path: str | os.PathLike[str], *, skip_bad_rows: bool = False, **options: Any
) -> LoadedFile:
    """Load all examples of a file, a folder or a Hub dataset.

    Args:
        path: file, folder or Hub name.
        skip_bad_rows: leave out rows that cannot be used instead of raising.
        **options: fields of `ReadOptions`.

    Raises:
        DataError: the file cannot be read, its format is unknown, it has no usable row, or it has
            bad rows and `skip_bad_rows` is false; the message names the first of them.
    """
    stream = open_rows(path, ReadOptions(**options))
    examples = ExampleBuffer()
    positions: dict[int, int] = {}
    bad: list[BadRow] = []
    joined = 0
    for row in stream.rows:
        if isinstance(row, BadRow):
            bad.append(row)
        elif isinstance(row, JoinedRow):
            joined += 1
        elif (position := positions.setdefault(group_key(row), len(examples))) < len(examples):
            examples.join(position, row)
            joined += 1
        else:
            examples.add(row)
    total = len(examples) + joined + len(bad)
    if bad and not (skip_bad_rows and len(examples)):
        raise DataError(_bad_rows_message(stream, bad, total))
    return LoadedFile(examples.sequence(), stream.recognised, tuple(bad), total, joined)


def group_key(example: Example) -> int:
    """Equal for examples that form one group: same prompt and same answer."""
    return hash((example.prompt, example.answer))


def _bad_rows_message(stream: RowStream, bad: list[BadRow], total: int) -> str:
    shown = "\n".join(f"  {row}" for row in bad[:SHOWN_BAD_ROWS])
    more = len(bad) - SHOWN_BAD_ROWS
    rest = f"\n  … and {more:,} more" if more > 0 else ""
    if len(bad) == total:
        advice = (
            f"It was read as '{stream.recognised.format}' ({stream.recognised.why}); if that is "
            "wrong, name the columns with --map. Otherwise fix the rows"
        )
        return f"{stream.name}: none of its {total:,} rows can be used:\n{shown}{rest}\n{advice}"
    return (
        f"{stream.name}: {len(bad):,} of {total:,} rows cannot be used:\n{shown}{rest}\n"
        "Fix them, or pass --skip-bad-rows to drop them (`gft-lite data check` lists them all)"
    )


# --- open, detect, convert ---


def open_rows(
    path: str | os.PathLike[str],
    options: ReadOptions = ReadOptions(),
    watch: Callable[[Record], None] | None = None,
) -> RowStream:
    """Open a file, detect its format, and convert its rows as a stream.

    Args:
        path: file, folder or Hub name.
        options: how to read it.
        watch: called with every record before it is converted.

    Raises:
        DataError: a fault of the whole file; faults of single rows are in the stream.
    """
    name = os.fspath(path)
    if not name:
        raise DataError(f"no file was named; give a path or a hub name ({READ_FORMATS})")
    if options.limit is not None and options.limit < 1:
        raise DataError(f"limit is {options.limit}; give at least 1 row, or none to read all")
    if options.format != "auto":
        check_format(options.format)
    opened = open_records(name, options.split)
    records: Iterator[Record] = islice(opened.records, options.limit)
    head = list(islice(records, PEEK_ROWS))
    if not head:
        raise DataError(f"{name}: holds no rows; give a file with at least one")
    recognised, mapping = _detect(head, name, opened.kind, options)
    recognised = replace(recognised, notes=(*opened.notes, *recognised.notes))
    records = chain(head, records)
    if watch is not None:
        records = _watched(records, watch)
    form = FORMATS.get(recognised.format)
    if form and form.assemble:
        records = form.assemble(records)
    rows = _converted(records, form, mapping, options.system_prompt, name)
    return RowStream(name, recognised, rows, opened.max_rows)


def _detect(
    head: Sequence[Record], name: str, kind: str, options: ReadOptions
) -> tuple[Recognition, dict[str, FieldSource]]:
    """The format of the first records of a file, and the sources of its fields."""
    rows = [record.fields for record in head if record.bad is None]
    columns = columns_of(rows)
    named = {field: parse_source(spec, columns) for field, spec in (options.columns or {}).items()}
    used = [column for source in named.values() for column in source.columns]
    numbered = {
        field: source
        for field, source in numbered_sources(columns, used).items()
        if field not in named
    }
    mapping = named | numbered
    key = options.format if options.format != "auto" else "canonical" if named else None
    if not rows:
        recognised = replace(UNREADABLE, kind=kind)
    elif key is None:
        recognised = recognise([_mapped(fields, mapping) for fields in rows], name, kind)
    else:
        check_mapping(named, key, columns, name)
        mapped = [_mapped(fields, mapping) for fields in rows]
        recognised = named_format(mapped, name, kind, key, named)
    notes = [f"{source.spec} → {field}" for field, source in numbered.items()]
    notes += [
        f"{field}={source.spec} is an older form of mapping; write {field}: {source.current_form}"
        for field, source in named.items()
        if source.current_form
    ]
    return replace(recognised, notes=tuple(notes)), mapping


def _mapped(fields: Fields, mapping: Mapping[str, FieldSource]) -> Fields:
    """As `apply_mapping`; a row that cannot be mapped is reported when it is converted."""
    try:
        return apply_mapping(fields, mapping)
    except RowError:
        return {**fields, **dict.fromkeys(mapping, "")}


def _watched(records: Iterator[Record], watch: Callable[[Record], None]) -> Iterator[Record]:
    for record in records:
        watch(record)
        yield record


def _converted(
    records: Iterator[Record],
    form: Format | None,
    mapping: Mapping[str, FieldSource],
    system_prompt: str | None,
    name: str,
) -> Iterator[Row]:
    """Each record as an example or a BadRow, followed by the rows that were joined to it."""
    system = (Message("system", system_prompt),) if system_prompt else ()
    for record in records:
        example: Example | None = None
        if record.bad is not None:
            yield record.bad
        elif form is None:
            raise DataError(
                f"{name}: its first {PEEK_ROWS} rows are all broken, so its format cannot be "
                "detected; correct them, or name it with --map"
            )
        else:
            try:
                example = form.read(apply_mapping(record.fields, mapping))
                example = _with_system(_checked(example, form.bare), system)
            except RowError as error:
                example = None
                source = mapping.get(error.column) if error.column else None
                column = source.spec if source else error.column
                yield BadRow(record.row, column, error.reason, error.quote, record.place)
            else:
                yield replace(example, row=record.row)
        for row in record.joined:
            if example is not None:
                yield JoinedRow(row, record.row)
            else:
                yield BadRow(row, None, f"belongs to row {record.row}, which cannot be used")


def _checked(example: Example, bare: bool) -> Example:
    """The example; RowError if its prompt cannot be answered or it has nothing to learn from."""
    messages = example.prompt
    if not messages or messages[-1].role not in ("user", "tool"):
        reason = "does not end with a turn of the user" if messages else "has no turns"
        raise RowError(None, f"the prompt {reason}", messages[-1].content if messages else None)
    if any(message.role == "system" for message in messages[1:]):
        raise RowError(None, "the prompt has a system turn after its first turn")
    if not (bare or example.experts or example.teachers or example.answer is not None):
        raise RowError(None, "has no expert, no teachers and no answer: nothing to learn from")
    return example


def _with_system(example: Example, system: tuple[Message, ...]) -> Example:
    if example.prompt[0].role == "system":
        return example
    return replace(example, prompt=system + example.prompt)
