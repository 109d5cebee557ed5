"""A path to records, whatever it is: a file, an archive, a folder of files, a saved data set.

Each reader is a generator of records. What concerns one row becomes a broken record and the reader
goes on; what concerns the whole file is a DataError. One JSON document is read whole, all else is a
stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from gft_lite.data.readers.archives import files_in, new_workplace
from gft_lite.data.readers.arrow import is_saved, read_saved
from gft_lite.data.readers.json_files import read_json, read_jsonl
from gft_lite.data.readers.sniff import DataFile, Kind
from gft_lite.data.readers.tables import read_csv, read_xlsx
from gft_lite.data.rows import Record
from gft_lite.types import DataError

PARQUET_BATCH_ROWS = 1024


@dataclass(frozen=True)
class Reading:
    """A path that was opened: what it is, its records to be read once, and what to know of it."""

    kind: str
    records: Iterator[Record]
    notes: tuple[str, ...] = ()
    rows_about: int | None = None


def read_parquet(file: DataFile) -> Iterator[Record]:
    """Rows of a Parquet file, batch by batch."""
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
        where = f"after row {number}" if number else "from its beginning"
        raise DataError(
            f"{file.name}: the Parquet file cannot be read {where} ({str(error)[:120]}); it is "
            "damaged or half-written: write or download it again"
        ) from error


READERS: dict[Kind, Callable[[DataFile], Iterator[Record]]] = {
    "json": read_json,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_csv,
    "parquet": read_parquet,
    "xlsx": read_xlsx,
}


def read_path(path: Path, split: str) -> Reading:
    """The kind of a path and its records."""
    if is_saved(path):
        return Reading("saved data set", read_saved(path, split))
    workplace = new_workplace()
    try:
        files = files_in(path, split, Path(workplace.name))
    except BaseException:
        workplace.cleanup()
        raise
    notes = tuple(note for file in files for note in file.notes)
    kinds = "/".join(dict.fromkeys(file.kind for file in files))
    if len(files) == 1:
        records = READERS[files[0].kind](files[0])
    else:
        kinds = f"{len(files)} files of {kinds}"
        records = _counted_through(files)
    return Reading(kinds, _until_read(records, workplace), notes, _rows_about(files))


def _rows_about(files: Sequence[DataFile]) -> int | None:
    """The rows of all files at most, None where one of them does not say."""
    counts = [_parquet_rows(f) if f.kind == "parquet" else f.rows_about for f in files]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _parquet_rows(file: DataFile) -> int | None:
    import pyarrow
    from pyarrow import parquet

    try:
        return int(parquet.read_metadata(file.path).num_rows)
    except (pyarrow.ArrowException, OSError, ValueError):
        return None  # the reader says what is wrong with it


def _counted_through(files: Sequence[DataFile]) -> Iterator[Record]:
    """The records of several files, numbered through."""
    row = 0
    for file in files:
        for record in READERS[file.kind](file):
            row += 1
            place = f"{Path(file.name).name}, row {record.row}"
            bad = replace(record.bad, row=row, place=place) if record.bad else None
            yield Record(row, record.fields, bad, place)


def _until_read(
    records: Iterator[Record], workplace: AbstractContextManager[str]
) -> Iterator[Record]:
    """The records; the temporary folder goes when they end or are given up."""
    with workplace:
        yield from records
