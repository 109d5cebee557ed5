"""What kind of file this is, before it is read.

Decided by content first (databases, web pages, Parquet, Excel) and by the name's ending second.
Everything that cannot be read is refused by the name of what it is. Archives are unpacked before
this (`containers`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from gft_lite.data.readers.encoding import BOM, MARKS, encoding_of, lines_of
from gft_lite.data.rows import quoted
from gft_lite.types import DataError

Kind = Literal["json", "jsonl", "csv", "tsv", "parquet", "xlsx"]

READ_FORMATS = (
    "JSON, JSONL, CSV, TSV, Parquet and Excel are read, also as gz, bz2, xz, zst or zip, and "
    "folders of them"
)
HEAD_BYTES = 8192

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

# first bytes -> (what it is, what to do)
SIGNATURES: dict[bytes, tuple[str, str]] = {
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
}


@dataclass(frozen=True)
class DataFile:
    """One file ready to be read: where its bytes lie, and what messages call it.

    `rows_about` is how many rows it has at most, where that is cheap to know.
    """

    path: Path
    name: str
    kind: Kind
    codec: str = "utf-8-sig"
    notes: tuple[str, ...] = ()
    rows_about: int | None = None

    def lines(self) -> Iterator[str]:
        """The lines of a text file, line ends kept."""
        return lines_of(self.path, self.name, self.codec)


def data_file(path: Path, name: str) -> DataFile:
    """Kind and encoding of a file; DataError where it is none that can be read."""
    kind = file_kind(path, name)
    if kind in ("parquet", "xlsx"):
        return DataFile(path, name, kind)
    found = encoding_of(path, name)
    about = None if kind == "json" else found.lines
    return DataFile(path, name, kind, found.codec, (found.note,) if found.note else (), about)


def open_file(path: Path) -> BinaryIO:
    """The file opened for bytes; DataError where it is missing, no file or not permitted."""
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file; check the path (looked in {Path.cwd()})")
        if not path.is_file():
            raise DataError(f"{path}: is not an ordinary file; copy its content into one first")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be opened ({reason}); check its permissions") from error


def file_kind(path: Path, name: str) -> Kind:
    """The kind of a file; DataError names what was found where it is none that can be read."""
    with open_file(path) as file:
        head = file.read(HEAD_BYTES)
    kind = KIND_OF_SUFFIX.get(Path(name).suffix.lower())
    if any(head.startswith(mark) for mark in MARKS):
        head = head.decode("utf-32" if head[2:4] == b"\0\0" else "utf-16", "ignore").encode()
    text = head.removeprefix(BOM).lstrip()
    if not text:
        raise DataError(f"{name}: is empty; give a file with at least one row")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):  # other zip archives were unpacked before
        return "xlsx"
    if head[257:262] == b"ustar":
        raise DataError(f"{name}: is a tar archive; unpack it with tar -xf. {READ_FORMATS}")
    for signature, (what, todo) in SIGNATURES.items():
        if head.startswith(signature) or text.startswith(signature):
            raise DataError(f"{name}: is {what}; {todo}. {READ_FORMATS}")
    _refuse_binary(name, head)
    if kind in ("parquet", "xlsx"):
        called = "Parquet" if kind == "parquet" else "Excel"
        raise DataError(
            f"{name}: is named {called} but does not begin as one ({quoted(head)}); the file "
            f"is damaged or wrongly named. {READ_FORMATS}"
        )
    if kind == "jsonl" and text.startswith(b"["):
        return "json"  # a whole array under the wrong name; the JSON reader falls back to lines
    if kind is not None:
        return kind
    if text[:1] in (b"[", b"{"):
        return "json"
    raise DataError(
        f"{name}: cannot tell what this file is from its name or its beginning {quoted(text)}; "
        f"{READ_FORMATS}: rename it to end in .csv, .tsv, .json, .jsonl or .parquet"
    )


def _refuse_binary(name: str, head: bytes) -> None:
    if head.count(0) > 0.3 * len(head):
        raise DataError(
            f"{name}: is binary, or UTF-16 text without its mark; for text, convert it with "
            f"`iconv -f UTF-16LE -t UTF-8`. {READ_FORMATS}"
        )
    controls = sum(byte < 9 or 13 < byte < 32 or byte == 127 for byte in head)
    if controls > 2 and controls > 0.05 * len(head):
        raise DataError(f"{name}: is a binary file (begins {quoted(head[:12])}). {READ_FORMATS}")
