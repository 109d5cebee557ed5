"""A path or a hub name to Examples, in one pass: records → recognised format → examples.

Every row ends as an Example or as a BadRow: rows_read == len(examples) + len(bad_rows), always.

`columns` names the file's column for a field of the format: of the canonical one, or of `format`
where that is given. A column named there is read as that field and as nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from gft_lite.data.formats import FORMATS
from gft_lite.data.hub import is_hub_name, read_hub
from gft_lite.data.readers import read_file
from gft_lite.data.recognise import (
    PEEK_ROWS,
    Recognition,
    check_mapping,
    chosen,
    columns_of,
    known_format,
    recognise,
)
from gft_lite.data.rows import BadRow, Fields, Record, RowError
from gft_lite.data.sniff import READ_FORMATS
from gft_lite.types import DataError, Example, Message

SHOWN_BAD_ROWS = 5

NO_FORMAT = Recognition("none", "", "", "no row of it can be read", None, "", (), ())


@dataclass(frozen=True)
class Loaded:
    """The usable rows of a file, and what became of the others."""

    examples: tuple[Example, ...]
    recognised: Recognition
    bad_rows: tuple[BadRow, ...]
    rows_read: int


@dataclass(frozen=True)
class Opened:
    """A file that was recognised and is ready to be read once."""

    name: str
    recognised: Recognition
    rows: Iterator[Example | BadRow]


def load_examples(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    skip_bad_rows: bool = False,
    split: str = "train",
    system_prompt: str | None = None,
) -> Loaded:
    """All examples of a file or hub data set.

    `limit` reads the first rows only. `system_prompt` leads every prompt that has no system turn.
    DataError: the file cannot be read or recognised, has no usable row, or has bad rows and
    `skip_bad_rows` is false; the message names the first of them.
    """
    opened = open_rows(
        path,
        format=format,
        columns=columns,
        limit=limit,
        split=split,
        system_prompt=system_prompt,
    )
    examples: list[Example] = []
    bad: list[BadRow] = []
    for item in opened.rows:
        if isinstance(item, Example):
            examples.append(item)
        else:
            bad.append(item)
    total = len(examples) + len(bad)
    if bad and (not skip_bad_rows or not examples):
        raise DataError(_bad_rows_message(opened, bad, total))
    return Loaded(tuple(examples), opened.recognised, tuple(bad), total)


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
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    split: str = "train",
    system_prompt: str | None = None,
) -> Opened:
    """The recognised file and its rows as a stream; DataError for what concerns the whole file."""
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; give at least 1 row, or none to read all")
    mapping = dict(columns or {})
    name = os.fspath(path)
    if not name:
        raise DataError(f"no file was named; give a path or a hub name ({READ_FORMATS})")
    key = None if format == "auto" else known_format(format)
    if mapping and key is None:
        key = "canonical"
    if is_hub_name(name):
        kind, records = "hub", read_hub(name, split)
    else:
        kind, records = read_file(Path(name))
    records = islice(records, limit)
    head = list(islice(records, PEEK_ROWS))
    if not head:
        raise DataError(f"{name}: holds no rows; give a file with at least one")
    peeked = [record.fields for record in head if record.bad is None]
    if not peeked:
        recognised = replace(NO_FORMAT, kind=kind)
    elif key is None:
        recognised = recognise(peeked, name, kind)
    else:
        check_mapping(mapping, key, columns_of(peeked), name)
        renamed = [rename(fields, mapping) for fields in peeked]
        recognised = chosen(renamed, name, kind, key, mapping)
    rows = _converted(chain(head, records), recognised, mapping, system_prompt, name)
    return Opened(name, recognised, rows)


def rename(fields: Fields, mapping: Mapping[str, str]) -> Fields:
    """The fields with mapped columns under the format's own names."""
    if not mapping:
        return fields
    kept = {name: value for name, value in fields.items() if name not in mapping.values()}
    return kept | {field: fields.get(column) for field, column in mapping.items()}


def _converted(
    records: Iterator[Record],
    recognised: Recognition,
    mapping: Mapping[str, str],
    system_prompt: str | None,
    name: str,
) -> Iterator[Example | BadRow]:
    form = FORMATS.get(recognised.format)
    system = (Message("system", system_prompt),) if system_prompt else ()
    for record in records:
        if record.bad is not None:
            yield record.bad
            continue
        if form is None:
            raise DataError(
                f"{name}: its first {PEEK_ROWS} rows are all broken, so its format cannot be told; "
                "correct them, or name it with --map"
            )
        try:
            example = _finished(form.read(rename(record.fields, mapping)), system)
        except RowError as error:
            column = mapping.get(error.column, error.column) if error.column else None
            yield BadRow(record.row, column, error.reason, error.quote)
        else:
            yield replace(example, row=record.row)


def _finished(example: Example, system: tuple[Message, ...]) -> Example:
    """The example with its system prompt; RowError where no model could be asked its prompt."""
    messages = example.prompt
    if not messages or messages[-1].role not in ("user", "tool"):
        reason = "does not end with a turn of the user" if messages else "has no turns"
        raise RowError(None, f"the prompt {reason}", messages[-1].content if messages else None)
    if any(message.role == "system" for message in messages[1:]):
        raise RowError(None, "the prompt has a system turn after its first turn")
    if not (example.experts or example.teachers or example.answer is not None):
        raise RowError(None, "has no expert, no teachers and no answer: nothing to learn from")
    if messages[0].role == "system":
        return example
    return replace(example, prompt=system + messages)
