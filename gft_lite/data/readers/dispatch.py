"""A path or a Hub name to records: the reader of its type is chosen and the files are read in turn.

Each reader is a generator of records. A fault of one row becomes a broken record and reading
continues; a fault of the whole file raises DataError. A JSON document is read whole, everything
else is a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from gft_lite.data.readers.files import DataFile, Kind, data_files, temporary_folder
from gft_lite.data.readers.hub import is_hub_name, is_saved, read_hub, read_saved
from gft_lite.data.readers.json_files import read_json, read_jsonl
from gft_lite.data.readers.tables import parquet_rows, read_csv, read_parquet, read_xlsx
from gft_lite.data.rows import Record

READERS: dict[Kind, Callable[[DataFile], Iterator[Record]]] = {
    "json": read_json,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_csv,
    "parquet": read_parquet,
    "xlsx": read_xlsx,
}


@dataclass(frozen=True)
class RecordStream:
    """An opened input.

    Attributes:
        kind: what it is, in words.
        records: its rows, to be read once.
        notes: sentences for the report.
        max_rows: upper bound of its rows; None if it is not known before reading.
    """

    kind: str
    records: Iterator[Record]
    notes: tuple[str, ...] = ()
    max_rows: int | None = None


def open_records(name: str, split: str) -> RecordStream:
    """Open a file, a folder, a dataset saved to disk, or a Hub dataset.

    Raises:
        DataError: the input cannot be opened.
    """
    if is_hub_name(name):
        return RecordStream("hub", read_hub(name, split))
    path = Path(name)
    if is_saved(path):
        return RecordStream("saved data set", read_saved(path, split))
    temporary = temporary_folder()
    try:
        files = data_files(path, split, Path(temporary.name))
    except BaseException:
        temporary.cleanup()
        raise
    kinds = "/".join(dict.fromkeys(file.kind for file in files))
    return RecordStream(
        kind=kinds if len(files) == 1 else f"{len(files)} files of {kinds}",
        records=_until_read(_records(files), temporary),
        notes=tuple(note for file in files for note in file.notes),
        max_rows=_max_rows(files),
    )


def _max_rows(files: Sequence[DataFile]) -> int | None:
    counts = [parquet_rows(file) if file.kind == "parquet" else file.max_rows for file in files]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _records(files: Sequence[DataFile]) -> Iterator[Record]:
    """The records of all files; the rows of several files are numbered consecutively."""
    if len(files) == 1:
        yield from READERS[files[0].kind](files[0])
        return
    row = 0
    for file in files:
        for record in READERS[file.kind](file):
            row += 1
            place = f"{Path(file.name).name}, row {record.row}"
            bad = replace(record.bad, row=row, place=place) if record.bad else None
            yield Record(row, record.fields, bad, place)


def _until_read(
    records: Iterator[Record], temporary: AbstractContextManager[str]
) -> Iterator[Record]:
    """The records; the temporary folder is deleted when they end or the generator is closed."""
    with temporary:
        yield from records
