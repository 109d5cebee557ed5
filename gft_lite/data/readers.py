"""Files to records: JSON, JSONL and CSV/TSV with the standard library, Parquet with pyarrow.

Each reader is a generator of records. What concerns one row becomes a broken record and the reader
goes on; what concerns the whole file is a DataError. JSON is read whole, all others as a stream.

* JSON: an array of objects, an object of equally long arrays, `{"data": [rows]}`, or one object
  (one row). JSON Lines under a .json name are noticed and read as lines.
* JSONL: blank lines are no rows; the row number is the line number.
* CSV: the first row is the header, the delimiter (`,` `;` tab `|`) is found from it; an empty cell
  is a missing value. Rows are counted without the header.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from gft_lite.data.rows import Record, broken, kind_of, quoted
from gft_lite.data.sniff import Kind, file_kind, text_lines
from gft_lite.types import DataError

ROW_LIST_KEYS = ("data", "rows", "examples", "train", "items", "instances")
ONE_ROW_KEYS = ("messages", "conversations", "conversation")
CELL_CHARACTERS = 64 * 1024 * 1024
PARQUET_BATCH_ROWS = 1024


class _RepeatedKey(dict[str, object]):
    """An object in which one key stands twice, so that one of its values would be lost."""

    key: str = ""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    names = [name for name, _ in pairs]
    repeated = _RepeatedKey(fields)
    repeated.key = next(name for name in names if names.count(name) > 1)
    return repeated


def _record(row: int, value: object) -> Record:
    if isinstance(value, _RepeatedKey):
        return broken(row, f"the key '{value.key}' stands twice in this row; keep one of them")
    if not isinstance(value, dict):
        return broken(row, f"is {kind_of(value)}, not an object with named fields", value)
    return Record(row, value)


def read_jsonl(path: Path) -> Iterator[Record]:
    """One object a line."""
    for number, line in enumerate(text_lines(path), start=1):
        stripped = line.strip()
        if not stripped:
            continue
        try:
            yield _record(number, json.loads(stripped, object_pairs_hook=_object))
        except json.JSONDecodeError as error:
            if error.pos >= len(stripped) or error.msg.startswith("Unterminated"):
                reason = "the line stops in the middle (half-written?); complete or remove it"
                yield broken(number, reason, stripped[-40:])
            else:
                reason = f"is not JSON ({error.msg}, character {error.pos + 1} of the line)"
                yield broken(number, reason, stripped[max(0, error.pos - 16) : error.pos + 24])
        except (ValueError, RecursionError) as error:
            yield broken(number, f"is not usable JSON ({_short(error)})", stripped)


def read_json(path: Path) -> Iterator[Record]:
    """An array of objects, an object of arrays, or one object."""
    text = "".join(text_lines(path))
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Extra data"):
            yield from read_jsonl(path)
            return
        # a broken end is half-writing; anything before it is a slip of the pen
        at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        todo = (
            "the file stops in the middle (half-written?): write or download it again"
            if at_end
            else "correct this place"
        )
        near = quoted(text[max(0, error.pos - 24) : error.pos + 16])
        raise DataError(
            f"{path}: line {error.lineno}, column {error.colno} is not JSON ({error.msg}, "
            f"near {near}); {todo}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: is not usable JSON ({_short(error)}); write it as JSON Lines, one object a "
            "line, so that single rows can be named"
        ) from error
    for number, value in enumerate(_rows(path, document), start=1):
        yield _record(number, value)


def _short(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]


def _rows(path: Path, document: object) -> Iterator[object]:
    if isinstance(document, list):
        yield from document
        return
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: holds {kind_of(document)}, not rows; write an array of objects, "
            'such as [{"prompt": "…", "expert": "…"}]'
        )
    if isinstance(document, _RepeatedKey):
        raise DataError(f"{path}: the key '{document.key}' stands twice; keep one of them")
    for key in ROW_LIST_KEYS:
        rows = document.get(key)
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            yield from rows
            return
    arrays = {name: value for name, value in document.items() if isinstance(value, list)}
    if len(arrays) < len(document) or set(arrays) & set(ONE_ROW_KEYS):
        yield document
        return
    lengths = {name: len(value) for name, value in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{path}: the columns have different lengths ({_listed(lengths)}), so rows cannot be "
            "formed; make them equally long, or write one object a row"
        )
    names = tuple(arrays)
    for values in zip(*arrays.values(), strict=True):
        yield dict(zip(names, values, strict=True))


def _listed(lengths: dict[str, int]) -> str:
    return ", ".join(f"'{name}' {count}" for name, count in list(lengths.items())[:6])


def read_csv(path: Path, delimiter: str | None = None) -> Iterator[Record]:
    """Comma, semicolon, tab or bar separated rows under a header."""
    csv.field_size_limit(CELL_CHARACTERS)  # the module's own limit, 128 KiB, is below real answers
    delimiter = delimiter or _delimiter(path)
    reader = csv.reader(text_lines(path), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = 0
    while True:
        first_line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise DataError(
                    f"{path}: the header cannot be read ({error}); correct it"
                ) from error
            number += 1
            yield broken(number, _csv_reason(str(error), first_line, reader.line_num))
            continue
        if not any(cell.strip() for cell in cells):
            if len(cells) > 1 and header is not None:
                number += 1
                yield broken(number, f"every cell is empty (line {first_line})")
            continue
        if header is None:
            header = _header(path, cells)
            continue
        number += 1
        if len(cells) != len(header):
            yield broken(
                number,
                f"has {len(cells)} cells where the header has {len(header)} (line {first_line}); "
                "put text that holds a delimiter in double quotes",
                delimiter.join(cells),
            )
            continue
        yield Record(number, {n: c or None for n, c in zip(header, cells, strict=True)})


def _csv_reason(message: str, first_line: int, last_line: int) -> str:
    if "unexpected end of data" in message:
        return (
            f"a double quote opened on line {first_line} is never closed, so lines {first_line} "
            f"to {last_line} are one cell; close it, or write a quote inside a cell as two"
        )
    return f"is not CSV on line {last_line} ({message}); write a quote inside a cell as two"


def _delimiter(path: Path) -> str:
    for line in text_lines(path):
        if line.strip():
            bare = re.sub(r'"[^"]*"', "", line)
            return max(",;\t|", key=bare.count)
    return ","


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() or f"column {n}" for n, cell in enumerate(cells, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names '{twice[0]}' twice; rename one of the columns")
    return names


def read_parquet(path: Path) -> Iterator[Record]:
    """Rows of a Parquet file, batch by batch."""
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS):
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(number, fields)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        where = f"after row {number}" if number else "from its beginning"
        raise DataError(
            f"{path}: the Parquet file cannot be read {where} ({str(error)[:120]}); it is damaged "
            "or half-written: write or download it again"
        ) from error


READERS: dict[Kind, Callable[[Path], Iterator[Record]]] = {
    "json": read_json,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": lambda path: read_csv(path, "\t"),
    "parquet": read_parquet,
}


def read_file(path: Path) -> tuple[Kind, Iterator[Record]]:
    """The kind of a file and its records."""
    kind = file_kind(path)
    return kind, READERS[kind](path)
