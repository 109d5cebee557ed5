"""A path to the data files behind it: one file, a compressed file, or a folder of files.

The type of a file is decided by its content first and by its name second. gz and zst are
decompressed into a temporary folder that is deleted when the rows have been read; the output is
bounded, so that a decompression bomb is refused. The files of a folder are read in the order of
their names. If file names name a split (train-…, test-…), only those of the requested split are
read.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, BinaryIO, Literal

from gft_lite.data.readers.encoding import BOM, MARKS, encoding_of, lines_of
from gft_lite.data.rows import quoted
from gft_lite.types import DataError

Kind = Literal["json", "jsonl", "csv", "tsv", "parquet", "xlsx"]

READ_FORMATS = (
    "JSON, JSONL, CSV, TSV, Parquet and Excel are read, also compressed as gz or zst, and folders "
    "of them"
)
KIND_OF_SUFFIX: dict[str, Kind] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
}
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".7z", ".bz2", ".xz")
ZIP_SIGNATURE = b"PK\x03\x04"  # also the first bytes of an Excel workbook
HEAD_BYTES = 8192

UNBOUNDED_BYTES = 64 * 2**20
MAX_RATIO = 100
MAX_BYTES = 64 * 2**30
MAX_FILES = 10_000
MAX_NESTING = 2
COPY_BYTES = 2**20

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
}
HUB_METADATA = ("dataset_info.json", "dataset_infos.json", "config.json", "state.json")


@dataclass(frozen=True)
class DataFile:
    """One file that is ready to be read.

    Attributes:
        path: the file on disk.
        name: its name in messages.
        kind: its type.
        codec: the encoding of a text file.
        notes: sentences for the report.
        max_rows: upper bound of its rows; None if it is not known before reading.
    """

    path: Path
    name: str
    kind: Kind
    codec: str = "utf-8-sig"
    notes: tuple[str, ...] = ()
    max_rows: int | None = None

    def lines(self) -> Iterator[str]:
        """The lines of a text file, with their line ends."""
        return lines_of(self.path, self.name, self.codec)


def data_files(path: Path, split: str, temporary: Path) -> list[DataFile]:
    """The data files behind a path.

    Args:
        path: a file or a folder.
        split: the split to read if file names name splits.
        temporary: folder for decompressed files.

    Raises:
        DataError: a file cannot be read, or the folder has no data file of that split.
    """
    if not path.is_dir():
        return [_decompressed(path, str(path), temporary)]
    files = [_decompressed(member, str(member), temporary) for member in _members(path)]
    if not files:
        raise DataError(f"{path}: is a folder without a data file; {READ_FORMATS}")
    return _of_split(files, split, str(path))


def temporary_folder() -> TemporaryDirectory[str]:
    """A temporary folder for decompressed files."""
    return TemporaryDirectory(prefix="gft-lite-data-", ignore_cleanup_errors=True)


# --- folders ---


def _members(folder: Path) -> list[Path]:
    members = sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
        and _has_data_suffix(path.name)
        and path.is_file()
    )
    if len(members) > MAX_FILES:
        raise DataError(f"{folder}: holds {len(members):,} data files, more than {MAX_FILES:,}")
    return members


def _has_data_suffix(name: str) -> bool:
    if name in HUB_METADATA:
        return False
    for suffix, _ in DECOMPRESSORS.values():
        name = name.removesuffix(suffix)
    return Path(name).suffix.lower() in KIND_OF_SUFFIX


def _of_split(files: Sequence[DataFile], split: str, folder: str) -> list[DataFile]:
    """The files of one split; all files if no name names a split."""
    split_of = {file.name: _split_in(file.name.removeprefix(folder)) for file in files}
    if not any(split_of.values()):
        return list(files)
    selected = [file for file in files if split_of[file.name] == SPLITS.get(split, split)]
    if not selected:
        splits = ", ".join(sorted({name for name in split_of.values() if name}))
        raise DataError(f"{folder}: has no file of the split '{split}'; its splits are {splits}")
    rest = ", ".join(Path(file.name).name for file in files if file not in selected)
    if rest:
        note = f"only files of the split '{split}' were read; not read: {rest[:200]}"
        selected[0] = replace(selected[0], notes=(*selected[0].notes, note))
    return selected


def _split_in(name: str) -> str:
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "")


# --- compressed files ---


def _open_gz(path: Path) -> Any:
    import gzip

    return gzip.open(path, "rb")


def _open_zst(path: Path) -> Any:
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


# first bytes → (suffix, function that opens the file)
DECOMPRESSORS: dict[bytes, tuple[str, Callable[[Path], IO[bytes]]]] = {
    b"\x1f\x8b": (".gz", _open_gz),
    b"\x28\xb5\x2f\xfd": (".zst", _open_zst),
}


def _decompressed(path: Path, name: str, temporary: Path, nesting: int = 0) -> DataFile:
    with open_file(path) as file:
        head = file.read(HEAD_BYTES)
    for signature, (suffix, opener) in DECOMPRESSORS.items():
        if not head.startswith(signature):
            continue
        if nesting >= MAX_NESTING:
            raise DataError(f"{name}: is compressed more than {MAX_NESTING} times; decompress it")
        # The target has a name of its own: a name from the file could lead out of the folder.
        target = temporary / f"{sum(1 for _ in temporary.iterdir()):05d}"
        try:
            with opener(path) as source:
                _copy(source, target, name, _max_bytes(path))
        except DataError:
            raise
        except Exception as error:  # zlib and pyarrow raise errors without a common base class
            reason = str(error)[:100] or type(error).__name__
            raise DataError(
                f"{name}: the archive is damaged or half-written ({reason}); get it again"
            ) from error
        return _decompressed(target, name.removesuffix(suffix), temporary, nesting + 1)
    kind = _kind(path, name, head)
    if kind in ("parquet", "xlsx"):
        return DataFile(path, name, kind)
    encoding = encoding_of(path, name)
    max_rows = None if kind == "json" else encoding.lines
    notes = (encoding.note,) if encoding.note else ()
    return DataFile(path, name, kind, encoding.codec, notes, max_rows)


def _copy(source: IO[bytes], target: Path, name: str, max_bytes: int) -> None:
    written = 0
    with target.open("wb") as out:
        while chunk := source.read(COPY_BYTES):
            written += len(chunk)
            if written > max_bytes:
                raise _bomb(name, max_bytes)
            out.write(chunk)


def _max_bytes(path: Path) -> int:
    return min(MAX_BYTES, max(UNBOUNDED_BYTES, MAX_RATIO * path.stat().st_size))


def _bomb(name: str, max_bytes: int) -> DataError:
    return DataError(
        f"{name}: unpacks to more than {max_bytes / 2**20:,.0f} MiB, over {MAX_RATIO} times its "
        "own size, as zip bombs do; if you trust it, unpack it yourself and give the file inside"
    )


# --- the type of one file ---


def open_file(path: Path) -> BinaryIO:
    """Open a file for its bytes.

    Raises:
        DataError: the file is missing, is not an ordinary file, or may not be read.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file; check the path (looked in {Path.cwd()})")
        if not path.is_file():
            raise DataError(f"{path}: is not an ordinary file; copy its content into one first")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be opened ({reason}); check its permissions") from error


def _kind(path: Path, name: str, head: bytes) -> Kind:
    """The type of a file from its first bytes and its name; DataError if it cannot be read."""
    suffix = Path(name).suffix.lower()
    kind = KIND_OF_SUFFIX.get(suffix)
    if any(head.startswith(mark) for mark in MARKS):
        head = head.decode("utf-32" if head[2:4] == b"\0\0" else "utf-16", "ignore").encode()
    text = head.removeprefix(BOM).lstrip()
    if not text:
        raise DataError(f"{name}: is empty; give a file with at least one row")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(ZIP_SIGNATURE) and (kind == "xlsx" or _is_workbook(path)):
        _check_workbook_size(path, name)
        return "xlsx"
    if head.startswith(ZIP_SIGNATURE) or suffix in ARCHIVE_SUFFIXES:
        raise DataError(
            f"{name}: is an archive; unpack it, and give the file or the folder inside. "
            f"{READ_FORMATS}"
        )
    if text[:9].lower().startswith((b"<!doctype", b"<html")):
        raise DataError(f"{name}: is a web page; download the raw file instead of its page")
    if text.startswith(b"version https://git-lfs"):
        raise DataError(f"{name}: is a Git LFS pointer, not the data itself; run `git lfs pull`")
    _refuse_binary(name, head)
    if kind in ("parquet", "xlsx"):
        format_name = "Parquet" if kind == "parquet" else "Excel"
        raise DataError(
            f"{name}: is named {format_name} but does not begin as one ({quoted(head)}); the file "
            f"is damaged or wrongly named. {READ_FORMATS}"
        )
    if kind == "jsonl" and text.startswith(b"["):
        return "json"  # an array under the wrong name; the JSON reader falls back to lines
    if kind is not None:
        return kind
    if text[:1] in (b"[", b"{"):
        return "json"
    raise DataError(
        f"{name}: cannot tell what this file is from its name or its beginning {quoted(text)}; "
        f"{READ_FORMATS}: rename it to end in .csv, .tsv, .json, .jsonl or .parquet"
    )


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _check_workbook_size(path: Path, name: str) -> None:
    """Refuse a workbook, which is a zip archive, that declares too large a content."""
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # openpyxl reports what is wrong with it
    if declared > _max_bytes(path):
        raise _bomb(name, _max_bytes(path))


def _refuse_binary(name: str, head: bytes) -> None:
    if head.count(0) > 0.3 * len(head):
        raise DataError(
            f"{name}: is binary, or UTF-16 text without its mark; for text, convert it with "
            f"`iconv -f UTF-16LE -t UTF-8`. {READ_FORMATS}"
        )
    controls = sum(byte < 9 or 13 < byte < 32 or byte == 127 for byte in head)
    if controls > 2 and controls > 0.05 * len(head):
        raise DataError(f"{name}: is a binary file (begins {quoted(head[:12])}). {READ_FORMATS}")
