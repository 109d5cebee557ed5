"""Tables to records: CSV with the standard library, Excel with openpyxl, Parquet with pyarrow.

In CSV and Excel the first row is the header, an empty cell is a missing value, and rows are counted
without the header. The delimiter of a CSV file is one that occurs in the header. If several occur,
it is the one that divides the rows below into as many cells as the header has.
"""

from __future__ import annotations

import contextlib
import csv
import re
import warnings
from collections.abc import Iterator
from itertools import islice

from gft_lite.data.readers.files import DataFile
from gft_lite.data.rows import Record, broken
from gft_lite.types import DataError, MissingExtraError

CELL_CHARACTERS = 64 * 1024 * 1024
DELIMITERS = ",;\t|"
RARE_DELIMITERS = "^~:\x1f\x01§¦"
SNIFF_LINES = 50
EXCEL_INSTALL = 'pip install "gft-lite[excel]"'
PARQUET_BATCH_ROWS = 1024


def read_csv(file: DataFile) -> Iterator[Record]:
    """Rows of cells under a header, separated by one of DELIMITERS or RARE_DELIMITERS."""
    csv.field_size_limit(CELL_CHARACTERS)  # the default limit, 128 KiB, is below real responses
    delimiter = delimiter_of(file)
    reader = csv.reader(file.lines(), delimiter=delimiter, strict=True)
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
                    f"{file.name}: the header cannot be read ({error}); correct it"
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
            header = _header(file.name, cells)
            continue
        number += 1
        if len(cells) != len(header):
            yield broken(
                number,
                f"has {len(cells)} cells, but the header has {len(header)} (line {first_line}); "
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


def delimiter_of(file: DataFile) -> str:
    """The delimiter of a table, from its header and its first lines."""
    sample = list(islice(file.lines(), SNIFF_LINES))
    header = next((line for line in sample if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", header).strip("\r\n\ufeff")
    order = DELIMITERS if file.kind == "csv" else "\t" + DELIMITERS
    delimiters = [mark for mark in dict.fromkeys(order) if mark in bare]
    if len(delimiters) > 1:
        return max(delimiters, key=lambda mark: (_even_rows(sample, mark), bare.count(mark)))
    if not delimiters:
        try:
            return csv.Sniffer().sniff("".join(sample[:10]), RARE_DELIMITERS).delimiter
        except csv.Error:
            return ","
    return delimiters[0]


def _even_rows(sample: list[str], delimiter: str) -> int:
    """How many of the first rows have as many cells as the header."""
    rows: list[int] = []
    with contextlib.suppress(csv.Error):
        rows.extend(len(cells) for cells in csv.reader(sample, delimiter=delimiter) if cells)
    return sum(cells == rows[0] for cells in rows[1:]) if rows else 0


def _header(name: str, cells: list[str]) -> list[str]:
    names = [cell.strip() or f"column {n}" for n, cell in enumerate(cells, start=1)]
    twice = sorted({cell for cell in names if names.count(cell) > 1})
    if twice:
        raise DataError(f"{name}: the header names '{twice[0]}' twice; rename one of the columns")
    return names


def read_xlsx(file: DataFile) -> Iterator[Record]:
    """The first sheet of an Excel workbook; formulas as their saved values."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise MissingExtraError(
            f"{file.name}: is an Excel workbook; to read it: {EXCEL_INSTALL}, "
            "or save it as CSV UTF-8"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and charts
            book = load_workbook(file.path, read_only=True, data_only=True)
        sheets = book.worksheets
    except Exception as error:  # zip, XML and openpyxl's own errors share no base class
        reason = f"{type(error).__name__}: {str(error)[:100]}"
        raise DataError(
            f"{file.name}: the workbook cannot be opened ({reason}); save it again, or as CSV UTF-8"
        ) from error
    header: list[str] = []
    number = 0
    try:
        for cells in sheets[0].iter_rows(values_only=True) if sheets else ():
            values = [
                cell if isinstance(cell, (str, int, float, bool)) else _as_text(cell)
                for cell in cells
            ]
            if all(value is None or value == "" for value in values):
                continue
            if not header:
                while values and values[-1] is None:
                    values.pop()
                header = _header(file.name, ["" if v is None else str(v) for v in values])
                continue
            number += 1
            if any(value is not None for value in values[len(header) :]):
                yield broken(number, f"has a cell right of the header's {len(header)} columns")
                continue
            padded = values[: len(header)] + [None] * (len(header) - len(values))
            yield Record(number, dict(zip(header, padded, strict=True)))
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{file.name}: the workbook cannot be read after row {number} ({str(error)[:100]}); "
            "save it again"
        ) from error


def _as_text(cell: object) -> str | None:
    """Dates and times as text."""
    return None if cell is None else str(cell)


def read_parquet(file: DataFile) -> Iterator[Record]:
    """The rows of a Parquet file, batch by batch."""
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(file.path) as table:
            for batch in table.iter_batches(batch_size=PARQUET_BATCH_ROWS):
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(number, fields)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        position = f"after row {number}" if number else "from its beginning"
        raise DataError(
            f"{file.name}: the Parquet file cannot be read {position} ({str(error)[:120]}); it is "
            "damaged or half-written: write or download it again"
        ) from error


def parquet_rows(file: DataFile) -> int | None:
    """The number of rows of a Parquet file; None if it cannot be read."""
    import pyarrow
    from pyarrow import parquet

    try:
        return int(parquet.read_metadata(file.path).num_rows)
    except (pyarrow.ArrowException, OSError, ValueError):
        return None  # read_parquet reports what is wrong
