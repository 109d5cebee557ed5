"""Archives and folders to plain files, bounded: what unpacks to far more than it weighs is refused.

gz, bz2, xz and zst hold one file, zip several. They are unpacked into a temporary folder that goes
when the rows have been read; files there have our names, never the archive's. A folder is read file
by file, README and the like left out. Where file names carry splits (train-…, test-…), only those
of the asked split are read.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from gft_lite.data.readers.sniff import KIND_OF_SUFFIX, READ_FORMATS, DataFile, data_file, open_file
from gft_lite.types import DataError

FREE_BYTES = 64 * 2**20
MOST_RATIO = 100
MOST_BYTES = 64 * 2**30
MOST_FILES = 10_000
MOST_DEPTH = 2
POUR_BYTES = 2**20

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


def _gz(path: Path) -> Any:
    import gzip

    return gzip.open(path, "rb")


def _bz2(path: Path) -> IO[bytes]:
    import bz2

    return bz2.open(path, "rb")


def _xz(path: Path) -> IO[bytes]:
    import lzma

    return lzma.open(path, "rb")


def _zst(path: Path) -> Any:
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


# first bytes -> (ending, what opens it)
COMPRESSED: dict[bytes, tuple[str, Callable[[Path], IO[bytes]]]] = {
    b"\x1f\x8b": (".gz", _gz),
    b"BZh": (".bz2", _bz2),
    b"\xfd7zXZ\x00": (".xz", _xz),
    b"\x28\xb5\x2f\xfd": (".zst", _zst),
}
ENDINGS = (*(ending for ending, _ in COMPRESSED.values()), ".zip")
ZIP = b"PK\x03\x04"


def files_in(path: Path, split: str, workplace: Path) -> list[DataFile]:
    """The data files behind a path: itself, or those of an archive or a folder."""
    if path.is_dir():
        files = [
            data
            for member in _members(path)
            for data in _opened(member, str(member), split, workplace, depth=0)
        ]
        if not files:
            raise DataError(f"{path}: is a folder without a data file; {READ_FORMATS}")
        return _of_split(files, split, str(path))
    return _opened(path, str(path), split, workplace, depth=0)


def _members(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
        and is_data_name(path.name)
        and path.is_file()
    )
    if len(found) > MOST_FILES:
        raise DataError(f"{folder}: holds {len(found):,} data files, more than {MOST_FILES:,}")
    return found


def is_data_name(name: str) -> bool:
    """The ending is one of a data file, packed or not; the hub's own JSON files are none."""
    if name in ("dataset_info.json", "dataset_infos.json", "config.json", "state.json"):
        return False
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return Path(name).suffix.lower() in KIND_OF_SUFFIX


def _opened(path: Path, name: str, split: str, workplace: Path, depth: int) -> list[DataFile]:
    with open_file(path) as file:
        head = file.read(8)
    if head.startswith(ZIP) and not _is_workbook(path, name):
        return _of_split(_unzipped(path, name, split, workplace, depth), split, name)
    for signature, (ending, opener) in COMPRESSED.items():
        if head.startswith(signature):
            inner = name.removesuffix(ending)
            target = _target(inner, workplace, name, depth)
            limit = _limit_bytes(path.stat().st_size)
            try:
                with opener(path) as source:
                    _pour(source, target, name, limit)
            except DataError:
                raise
            except Exception as error:  # zlib, lzma and pyarrow have error families of their own
                raise _damaged(name, error) from error
            return _opened(target, inner, split, workplace, depth + 1)
    return [data_file(path, name)]


def _unzipped(path: Path, name: str, split: str, workplace: Path, depth: int) -> list[DataFile]:
    files: list[DataFile] = []
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                info
                for info in archive.infolist()
                if not info.is_dir()
                and not any(p.startswith((".", "__")) for p in Path(info.filename).parts)
                and is_data_name(info.filename)
            ]
            if not members:
                raise DataError(f"{name}: is a zip archive without a data file; {READ_FORMATS}")
            left = _limit_bytes(path.stat().st_size)
            declared = sum(info.file_size for info in members)
            if declared > left or len(members) > MOST_FILES:
                raise _bomb(name, left)
            for info in sorted(members, key=lambda member: member.filename):
                inner = f"{name}/{info.filename}"
                target = _target(inner, workplace, name, depth)
                with archive.open(info) as source:
                    left -= _pour(source, target, inner, left)
                files += _opened(target, inner, split, workplace, depth + 1)
    except DataError:
        raise
    except RuntimeError as error:
        raise DataError(f"{name}: the archive cannot be opened ({error}); unpack it") from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _damaged(name, error) from error
    return files


def _is_workbook(path: Path, name: str) -> bool:
    """An Excel workbook, itself a zip archive, of a bounded size."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "xl/workbook.xml" not in names:
                return False
            if sum(i.file_size for i in archive.infolist()) > _limit_bytes(path.stat().st_size):
                raise _bomb(name, _limit_bytes(path.stat().st_size))
            return True
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _target(inner: str, workplace: Path, name: str, depth: int) -> Path:
    if depth >= MOST_DEPTH:
        raise DataError(f"{name}: is an archive in an archive in an archive; unpack it")
    return workplace / f"{sum(1 for _ in workplace.iterdir()):05d}"


def _limit_bytes(packed: int) -> int:
    return min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * packed))


def _pour(source: IO[bytes], target: Path, name: str, limit: int) -> int:
    written = 0
    with target.open("wb") as out:
        while chunk := source.read(POUR_BYTES):
            written += len(chunk)
            if written > limit:
                raise _bomb(name, limit)
            out.write(chunk)
    return written


def _bomb(name: str, limit: int) -> DataError:
    return DataError(
        f"{name}: unpacks to more than {limit / 2**20:,.0f} MiB, over {MOST_RATIO} times its own "
        "size, as zip bombs do; if you trust it, unpack it yourself and give the file inside"
    )


def _damaged(name: str, error: Exception) -> DataError:
    reason = str(error)[:100] or type(error).__name__
    return DataError(f"{name}: the archive is damaged or half-written ({reason}); get it again")


def _of_split(files: Sequence[DataFile], split: str, name: str) -> list[DataFile]:
    """The files of one split where their names carry splits, else all."""
    wanted = SPLITS.get(split, split)
    named = {file.name: _split_in(file.name.removeprefix(name)) for file in files}
    if not any(named.values()):
        return list(files)
    kept = [file for file in files if named[file.name] == wanted]
    if not kept:
        there = ", ".join(sorted({found for found in named.values() if found}))
        raise DataError(f"{name}: has no file of the split '{split}'; its splits are {there}")
    rest = ", ".join(Path(file.name).name for file in files if file not in kept)
    if rest:
        note = f"only files of the split '{split}' were read; not read: {rest[:200]}"
        kept[0] = replace(kept[0], notes=(*kept[0].notes, note))
    return kept


def _split_in(name: str) -> str:
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def new_workplace() -> TemporaryDirectory[str]:
    """A temporary folder for what is unpacked."""
    return TemporaryDirectory(prefix="gft-lite-data-", ignore_cleanup_errors=True)
