"""What kind of file this is, before it is read; and text lines with their encoding checked.

Decided by content first (archives, databases, web pages, Parquet) and by the name's ending second.
Everything that is not readable text or Parquet is refused by the name of what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from gft_lite.data.rows import quoted
from gft_lite.types import DataError

Kind = Literal["json", "jsonl", "csv", "tsv", "parquet"]

READ_FORMATS = "JSON, JSONL, CSV, TSV and Parquet are read"
HEAD_BYTES = 8192
BOM = b"\xef\xbb\xbf"

KIND_OF_SUFFIX: dict[str, Kind] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}

# first bytes -> (what it is, what to do)
SIGNATURES: dict[bytes, tuple[str, str]] = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unzip it, or save the sheet as CSV"),
    b"\x1f\x8b": ("a gzip archive", "unpack it with gunzip"),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "unpack it with zstd -d"),
    b"\xfd7zXZ\x00": ("an xz archive", "unpack it with xz -d"),
    b"BZh91AY": ("a bzip2 archive", "unpack it with bunzip2"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"%PDF-": ("a PDF", "give a table of prompts and answers instead"),
    b"\x89PNG": ("a PNG image", "give a data file instead"),
    b"\xff\xd8\xff": ("a JPEG image", "give a data file instead"),
    b"SQLite format 3\x00": ("an SQLite database", "export the table as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel or Word file", "save it as CSV UTF-8"),
    b"ARROW1": ("an Arrow file", "write it as Parquet"),
    b"\x93NUMPY": ("a NumPy array", "write it as JSONL"),
    b"\x89HDF": ("an HDF5 file", "write it as Parquet"),
    b"Obj\x01": ("an Avro file", "write it as Parquet"),
    b"\x7fELF": ("a program", "give a data file instead"),
    b"\x80\x04\x95": ("a Python pickle", "write it as JSONL; pickles are never opened"),
    b"version https://git-lfs": ("a Git LFS pointer, not the data itself", "run `git lfs pull`"),
    b"<!DOCTYPE": ("a web page", "download the raw file instead of its page"),
    b"<!doctype": ("a web page", "download the raw file instead of its page"),
    b"<html": ("a web page", "download the raw file instead of its page"),
    b"\xff\xfe": ("UTF-16 text", "convert it with `iconv -f UTF-16 -t UTF-8`"),
    b"\xfe\xff": ("UTF-16 text", "convert it with `iconv -f UTF-16 -t UTF-8`"),
}


def open_file(path: Path) -> BinaryIO:
    """The file opened for bytes; DataError where it is missing, a folder or not permitted."""
    try:
        if path.is_dir():
            raise DataError(f"{path}: is a folder; give one file of it ({READ_FORMATS})")
        if not path.exists():
            raise DataError(f"{path}: no such file; check the path (looked in {Path.cwd()})")
        if not path.is_file():
            raise DataError(f"{path}: is not an ordinary file; copy its content into one first")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be opened ({reason}); check its permissions") from error


def file_kind(path: Path) -> Kind:
    """The kind of a file; DataError names what was found where it is none that can be read."""
    with open_file(path) as file:
        head = file.read(HEAD_BYTES)
    text = head.removeprefix(BOM).lstrip()
    if not text:
        raise DataError(f"{path}: is empty; give a file with at least one row")
    if head.startswith(b"PAR1"):
        return "parquet"
    for signature, (what, todo) in SIGNATURES.items():
        if head.startswith(signature) or text.startswith(signature):
            raise DataError(f"{path}: is {what}; {todo}. {READ_FORMATS}")
    _refuse_binary(path, head)
    kind = KIND_OF_SUFFIX.get(path.suffix.lower())
    if kind == "parquet":
        raise DataError(
            f"{path}: is named Parquet but does not begin as one ({quoted(head)}); "
            f"the file is damaged or wrongly named. {READ_FORMATS}"
        )
    if kind == "jsonl" and text.startswith(b"["):
        return "json"  # a whole array under the wrong name; the JSON reader falls back to lines
    if kind is not None:
        return kind
    if text[:1] in (b"[", b"{"):
        return "json"
    raise DataError(
        f"{path}: cannot tell what this file is from its name or its beginning {quoted(text)}; "
        f"{READ_FORMATS}: rename it to end in .csv, .tsv, .json, .jsonl or .parquet"
    )


def _refuse_binary(path: Path, head: bytes) -> None:
    if head.count(0) > 0.3 * len(head):
        raise DataError(
            f"{path}: is binary, or UTF-16 text without its mark; for text, convert it with "
            f"`iconv -f UTF-16LE -t UTF-8`. {READ_FORMATS}"
        )
    controls = sum(byte < 9 or 13 < byte < 32 or byte == 127 for byte in head)
    if controls > 2 and controls > 0.05 * len(head):
        raise DataError(f"{path}: is a binary file (begins {quoted(head[:12])}). {READ_FORMATS}")


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, line ends kept, a leading byte order mark removed.

    Another encoding is a DataError with line, byte and the command that converts it.
    """
    offset = 0
    with open_file(path) as file:
        for number, line in enumerate(file, start=1):
            raw = line.removeprefix(BOM) if number == 1 else line
            offset += len(line) - len(raw)
            try:
                yield raw.decode("utf-8")
            except UnicodeDecodeError as error:
                before = raw[max(0, error.start - 20) : error.start].decode("utf-8", "replace")
                raise DataError(
                    f"{path}: line {number}, byte {offset + error.start + 1} of the file "
                    f"(0x{raw[error.start]:02x}, after {quoted(before)}) is not UTF-8; convert the "
                    f"file, often with `iconv -f WINDOWS-1252 -t UTF-8 {path.name} > "
                    f"utf8-{path.name}` (a spreadsheet: save as 'CSV UTF-8')"
                ) from error
            offset += len(raw)
