"""The encoding of a text file, and its lines.

The whole file is checked for UTF-8 first (at about a gigabyte a second), so that an invalid byte in
the last row is known before the first row is used. UTF-16 and UTF-32 need a byte order mark. Any
other encoding is a guess by charset-normalizer and is reported as one. A file that mixes UTF-8 with
another encoding is refused with line and byte, for no guess can be right.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gft_lite.data.rows import quoted
from gft_lite.types import DataError

BOM = codecs.BOM_UTF8
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CHUNK_BYTES = 2**20
SAMPLE_BYTES = 2**16
SCAN_LINES = 100_000

# Candidates for charset-normalizer: rarer encodings share their bytes and would be noise.
CANDIDATES = [
    *("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp932", "euc_jp", "gb18030", "big5", "euc_kr"),
]
COMMON = "cp1252"


@dataclass(frozen=True)
class Encoding:
    """A codec, a sentence for the report unless it is UTF-8, and the number of lines of UTF-8."""

    codec: str
    note: str = ""
    lines: int | None = None


def encoding_of(path: Path, name: str) -> Encoding:
    """The encoding of a text file.

    Raises:
        DataError: the file mixes encodings; names line and byte.
    """
    with path.open("rb") as file:
        head = file.read(4)
    for mark, codec in MARKS.items():
        if head.startswith(mark):
            return Encoding(codec, f"{Path(name).name} is {codec.upper()} and was read as that")
    lines = utf8_lines(path)
    return _guessed(path, name) if lines is None else Encoding("utf-8-sig", lines=lines)


def utf8_lines(path: Path) -> int | None:
    """The number of lines of a UTF-8 file; None if it is not valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    ends = 0
    with path.open("rb") as file:
        try:
            while chunk := file.read(CHUNK_BYTES):
                decoder.decode(chunk)
                ends += chunk.count(b"\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return None
    return ends + 1


def _guessed(path: Path, name: str) -> Encoding:
    """The likeliest encoding of a file none of whose non-ASCII lines is UTF-8."""
    from charset_normalizer import from_bytes

    sample, place = b"", ""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.isascii():
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    place = place or _place(line, number, offset, error)
                    sample += line[max(0, error.start - 2000) : error.start + 2000]
                    sample += b"" if sample.endswith(b"\n") else b"\n"
                else:
                    if not line.removeprefix(BOM).isascii():
                        raise _mixed(path, name, place)
            offset += len(line)
            if len(sample) > SAMPLE_BYTES or (sample and number > SCAN_LINES):
                break
    matches = list(from_bytes(sample, cp_isolation=CANDIDATES))
    if not matches:
        raise _mixed(path, name, place)
    best = matches[0]
    codec = best.encoding
    rivals = [m.encoding for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    if COMMON in rivals or COMMON in best.could_be_from_charset:
        codec = COMMON
    shown = _first_non_ascii(sample.decode(codec, "replace"))
    return Encoding(
        codec,
        f"{Path(name).name} is not UTF-8; read as {codec} (a guess by charset-normalizer: check "
        f'that "{shown}" looks right, else convert the file with iconv)',
    )


def _place(line: bytes, number: int, offset: int, error: UnicodeDecodeError) -> str:
    before = line[max(0, error.start - 20) : error.start].decode("utf-8", "replace")
    return (
        f"line {number}, byte {offset + error.start + 1} of the file "
        f"(0x{line[error.start]:02x}, after {quoted(before)}) is not UTF-8"
    )


def _mixed(path: Path, name: str, place: str) -> DataError:
    if not place:  # the first invalid byte comes after a line of valid UTF-8
        offset = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    place = _place(line, number, offset, error)
                    break
                offset += len(line)
    return DataError(
        f"{name}: {place}, while other lines are, or no encoding fits; convert the file, often "
        f"with `iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8-{path.name}` (a spreadsheet: "
        "save as 'CSV UTF-8')"
    )


def _first_non_ascii(text: str) -> str:
    start = next((i for i, c in enumerate(text) if not c.isascii()), 0)
    excerpt = text[max(0, start - 12) : start + 12].strip()
    return "".join(c if c.isprintable() else " " for c in excerpt)


def lines_of(path: Path, name: str, codec: str) -> Iterator[str]:
    """The lines of a text file, line ends kept, a leading byte order mark removed."""
    number = 0
    try:
        with path.open(encoding=codec, newline="\n") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007
                yield line
    except UnicodeError as error:
        raise DataError(
            f"{name}: near line {number + 1} is not {codec} ({str(error)[:80]}), which the lines "
            f"before are; convert the file, e.g. `iconv -f {codec} -t UTF-8`"
        ) from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from error
