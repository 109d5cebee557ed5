"""A path or a hub name to Examples, in one pass: records → recognised format → examples.

Every row ends in an example or as a BadRow. Rows with the same prompt and the same answer become
one example with the responses of all of them, so that they form one group:
rows_read == len(examples) + joined_rows + len(bad_rows), always.

`columns` says where a field of the format comes from (`mapping`): of the canonical one, or of
`format` where that is given. A column named there is read as that field and as nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TypedDict, Unpack

from gft_lite.data.formats.mapping import ColumnSpec, Origin, numbered, read_origin, renamed
from gft_lite.data.formats.recognise import (
    PEEK_ROWS,
    Recognition,
    check_mapping,
    chosen,
    columns_of,
    known_format,
    recognise,
)
from gft_lite.data.formats.registry import FORMATS, Format
from gft_lite.data.readers.dispatch import Reading, read_path
from gft_lite.data.readers.hub import is_hub_name, read_hub
from gft_lite.data.readers.sniff import READ_FORMATS
from gft_lite.data.rows import BadRow, Fields, JoinedRow, Record, RowError
from gft_lite.data.store import ExampleBuffer
from gft_lite.types import DataError, Example, Message

SHOWN_BAD_ROWS = 5

Item = Example | BadRow | JoinedRow
Watch = Callable[[Record], None]

NO_FORMAT = Recognition("none", "", "", "no row of it can be read", None, "", (), ())


class ReadOptions(TypedDict, total=False):
    """How a file is read: what every function takes that reads one. `open_rows` has the defaults.

    format: name of a format, or "auto" to recognise it.
    columns: where fields of the format come from, as with --map.
    limit: read the first rows only.
    split: of a folder or a hub data set.
    system_prompt: leads every prompt that has no system turn.
    """

    format: str
    columns: Mapping[str, ColumnSpec] | None
    limit: int | None
    split: str
    system_prompt: str | None


@dataclass(frozen=True)
class Loaded:
    """The usable rows of a file, and what became of the others.

    `examples` is a tuple, or for a large file a sequence on disk (`store`). `joined_rows` counts
    the rows whose responses went into the example of another row.
    """

    examples: Sequence[Example]
    recognised: Recognition
    bad_rows: tuple[BadRow, ...]
    rows_read: int
    joined_rows: int = 0


@dataclass(frozen=True)
class Opened:
    """A file that was recognised and is ready to be read once; `rows_about` as in `DataFile`."""

    name: str
    recognised: Recognition
    rows: Iterator[Item]
    rows_about: int | None = None


def load_examples(
    path: str | os.PathLike[str],
    *,
    skip_bad_rows: bool = False,
    **options: Unpack[ReadOptions],
) -> Loaded:
    """All examples of a file or hub data set, read as `ReadOptions` say.

    DataError: the file cannot be read or recognised, has no usable row, or has bad rows and
    `skip_bad_rows` is false; the message names the first of them.
    """
    opened = open_rows(path, **options)
    examples = ExampleBuffer()
    places: dict[int, int] = {}
    bad: list[BadRow] = []
    joined = 0
    for item in opened.rows:
        if isinstance(item, BadRow):
            bad.append(item)
        elif isinstance(item, JoinedRow):
            joined += 1
        elif (place := places.setdefault(group_key(item), len(examples))) < len(examples):
            examples.join(place, item)
            joined += 1
        else:
            examples.add(item)
    total = len(examples) + joined + len(bad)
    if bad and not (skip_bad_rows and len(examples)):
        raise DataError(_bad_rows_message(opened, bad, total))
    return Loaded(examples.gathered(), opened.recognised, tuple(bad), total, joined)


def group_key(example: Example) -> int:
    """Equal for examples that form one group: same prompt, same answer."""
    return hash((example.prompt, example.answer))


def _bad_rows_message(opened: Opened, bad: list[BadRow], total: int) -> str:
    shown = "\n".join(f"  {row}" for row in bad[:SHOWN_BAD_ROWS])
    more = len(bad) - SHOWN_BAD_ROWS
    rest = f"\n  … and {more:,} more" if more > 0 else ""
    if len(bad) == total:
        todo = (
            f"It was read as '{opened.recognised.format}' ({opened.recognised.why}); if that is "
            "wrong, name the columns with --map. Else fix the rows"
        )
        return f"{opened.name}: none of its {total:,} rows can be used:\n{shown}{rest}\n{todo}"
    return (
        f"{opened.name}: {len(bad):,} of {total:,} rows cannot be used:\n{shown}{rest}\n"
        "Fix them, or pass --skip-bad-rows to drop them (`gft-lite data check` lists them all)"
    )


def open_rows(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    columns: Mapping[str, ColumnSpec] | None = None,
    limit: int | None = None,
    split: str = "train",
    system_prompt: str | None = None,
    watch: Watch | None = None,
) -> Opened:
    """The recognised file and its rows as a stream; DataError for what concerns the whole file.

    `watch` sees every record as it was read, before it becomes an example.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; give at least 1 row, or none to read all")
    name = os.fspath(path)
    if not name:
        raise DataError(f"no file was named; give a path or a hub name ({READ_FORMATS})")
    key = None if format == "auto" else known_format(format)
    if columns and key is None:
        key = "canonical"
    reading = (
        Reading("hub", read_hub(name, split)) if is_hub_name(name) else read_path(Path(name), split)
    )
    kind = reading.kind
    records: Iterator[Record] = islice(reading.records, limit)
    head = list(islice(records, PEEK_ROWS))
    if not head:
        raise DataError(f"{name}: holds no rows; give a file with at least one")
    peeked = [record.fields for record in head if record.bad is None]
    there = columns_of(peeked)
    named = {field: read_origin(said, there) for field, said in (columns or {}).items()}
    taken = {column for origin in named.values() for column in origin.columns}
    folded = {f: o for f, o in numbered(there, tuple(taken)).items() if f not in named}
    mapping = named | folded
    notes = (*reading.notes, *(f"{o.said} → {field}" for field, o in folded.items()))
    if not peeked:
        recognised = replace(NO_FORMAT, kind=kind)
    elif key is None:
        recognised = recognise([_looked_at(fields, mapping) for fields in peeked], name, kind)
    else:
        check_mapping(named, key, there, name)
        recognised = chosen([_looked_at(f, mapping) for f in peeked], name, kind, key, named)
    recognised = replace(recognised, notes=notes)
    form = FORMATS.get(recognised.format)
    records = _watched(chain(head, records), watch) if watch else chain(head, records)
    if form and form.assemble:
        records = form.assemble(records)
    rows = _converted(records, form, mapping, system_prompt, name)
    return Opened(name, recognised, rows, reading.rows_about)


def _looked_at(fields: Fields, mapping: Mapping[str, Origin]) -> Fields:
    """As `renamed`; a row that cannot be joined is reported later, in its turn."""
    try:
        return renamed(fields, mapping)
    except RowError:
        return {**fields, **dict.fromkeys(mapping, "")}


def _watched(records: Iterator[Record], watch: Watch) -> Iterator[Record]:
    for record in records:
        watch(record)
        yield record


def _converted(
    records: Iterator[Record],
    form: Format | None,
    mapping: Mapping[str, Origin],
    system_prompt: str | None,
    name: str,
) -> Iterator[Item]:
    system = (Message("system", system_prompt),) if system_prompt else ()
    for record in records:
        example: Example | None = None
        if record.bad is not None:
            yield record.bad
        elif form is None:
            raise DataError(
                f"{name}: its first {PEEK_ROWS} rows are all broken, so its format cannot be told; "
                "correct them, or name it with --map"
            )
        else:
            try:
                example = _finished(form.read(renamed(record.fields, mapping)), system, form.bare)
            except RowError as error:
                origin = mapping.get(error.column) if error.column else None
                column = origin.said if origin else error.column
                yield BadRow(record.row, column, error.reason, error.quote, record.place)
            else:
                yield replace(example, row=record.row)
        for row in record.joined:
            if example is not None:
                yield JoinedRow(row, record.row)
            else:
                yield BadRow(row, None, f"belongs to row {record.row}, which cannot be used")


def _finished(example: Example, system: tuple[Message, ...], bare: bool) -> Example:
    """The example with its system prompt; RowError where no model could be asked its prompt."""
    messages = example.prompt
    if not messages or messages[-1].role not in ("user", "tool"):
        reason = "does not end with a turn of the user" if messages else "has no turns"
        raise RowError(None, f"the prompt {reason}", messages[-1].content if messages else None)
    if any(message.role == "system" for message in messages[1:]):
        raise RowError(None, "the prompt has a system turn after its first turn")
    if not (bare or example.experts or example.teachers or example.answer is not None):
        raise RowError(None, "has no expert, no teachers and no answer: nothing to learn from")
    if messages[0].role == "system":
        return example
    return replace(example, prompt=system + messages)
