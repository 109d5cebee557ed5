"""Compressed files, folders, workbooks and saved datasets; archives and bombs are refused."""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from gft_lite.data import check_file, load_examples
from gft_lite.data.readers import files
from gft_lite.types import DataError, MissingExtraError

ROWS = [{"prompt": f"What is {n} + 1?", "expert": str(n + 1)} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
BAD = b'{"prompt": 1}\n'


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_jsonl", ".jsonl"), content)
    return path


def zst(content: bytes) -> bytes:
    import pyarrow

    return pyarrow.compress(content, "zstd", asbytes=True)


@pytest.fixture(autouse=True)
def own_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes may decompress files at the same time."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))


def left_behind() -> list[str]:
    folder = Path(tempfile.gettempdir())
    return [path.name for path in folder.glob("gft-lite-data-*")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl.gz", gzip.compress(LINES)),
        ("rows.jsonl", gzip.compress(LINES)),
        ("rows.jsonl.gz.gz", gzip.compress(gzip.compress(LINES))),
        ("rows.json.gz", gzip.compress(json.dumps(ROWS).encode())),
        ("rows.csv.gz", gzip.compress(b"prompt;expert\na;b\nc;d\ne;f\n")),
    ],
)
def test_compressed(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    before = left_behind()
    assert len(load_examples(path).examples) == 3
    assert left_behind() == before


def test_zst(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.zst").write_bytes(zst(LINES))
    assert len(load_examples(tmp_path / "rows.jsonl.zst").examples) == 3


def test_rows_of_several_files_are_numbered_consecutively(tmp_path: Path) -> None:
    """The place of a row names its file."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "sub" / "b.jsonl.gz").write_bytes(gzip.compress(BAD))
    (tmp_path / "README").write_text("hello")
    report = check_file(tmp_path)
    assert (report.rows, report.usable, report.recognised.kind) == (4, 3, "2 files of jsonl")
    assert str(report.bad_rows[0]).startswith("row 4 (b.jsonl, row 1), column 'prompt'")


def test_unusable_archives(tmp_path: Path) -> None:
    def refused(path: Path, phrase: str) -> None:
        before = left_behind()
        with pytest.raises(DataError, match=phrase):
            check_file(path)
        assert left_behind() == before

    whole = zipped(tmp_path / "rows.zip", a_jsonl=LINES * 50).read_bytes()
    refused(tmp_path / "rows.zip", "is an archive; unpack it, and give the file or the folder")
    for name, content, phrase in [
        ("half.zip", whole[: len(whole) // 2], "is an archive"),
        ("wrong_name.jsonl", whole, "is an archive"),
        ("rows.jsonl.bz2", b"BZh91AY&SY" + whole, "is an archive"),
        ("half.gz", gzip.compress(LINES * 50)[:60], "damaged or half-written"),
        ("half.jsonl.zst", zst(LINES * 50)[:40], "damaged or half-written"),
        ("empty.jsonl.gz", gzip.compress(b""), "is empty"),
        ("rows.tar.gz", gzip.compress(b"x" * 257 + b"ustar" + b"\0" * 250), "is an archive"),
    ]:
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, phrase)
    thrice = gzip.compress(gzip.compress(gzip.compress(LINES)))
    (tmp_path / "thrice.jsonl.gz").write_bytes(thrice)
    refused(tmp_path / "thrice.jsonl.gz", "compressed more than 2 times")


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by the bytes that come out, whatever the file declares."""
    assert files.UNBOUNDED_BYTES == 64 * 2**20
    monkeypatch.setattr(files, "UNBOUNDED_BYTES", 2**20)
    (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(b"0" * (3 * 2**20)))
    with pytest.raises(DataError, match=r"more than 1 MiB, over 100 times"):
        check_file(tmp_path / "bomb.jsonl.gz")
    (tmp_path / "honest.jsonl.gz").write_bytes(gzip.compress(LINES * 1000))
    assert check_file(tmp_path / "honest.jsonl.gz").rows == 3000


def test_a_workbook_that_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "UNBOUNDED_BYTES", 1000)
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 10**6)
    with pytest.raises(DataError, match="zip bombs"):
        check_file(path)


def test_folder(tmp_path: Path) -> None:
    """Files of one split where names carry splits; everything that is no data is passed over."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000.jsonl").write_bytes(LINES)
    (tmp_path / "data" / "train-00001.csv").write_text("prompt,expert\nx,y\n")
    (tmp_path / "data" / "test-00000.jsonl").write_bytes(BAD)
    (tmp_path / "README.md").write_text("about")
    (tmp_path / ".hidden.jsonl").write_bytes(BAD)
    report = check_file(tmp_path)
    assert (report.rows, report.bad, report.recognised.kind) == (4, 0, "2 files of jsonl/csv")
    assert any("not read: test-00000.jsonl" in note for note in report.recognised.notes)
    assert check_file(tmp_path, split="test").bad == 1
    with pytest.raises(DataError, match="no file of the split 'dev'"):
        check_file(tmp_path, split="dev")


def test_saved_data_set(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "one"))
    assert check_file(tmp_path / "one").recognised.kind == "saved data set"
    assert len(load_examples(tmp_path / "one").examples) == 3
    both = DatasetDict({"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:1])})
    both.save_to_disk(str(tmp_path / "both"))
    assert len(load_examples(tmp_path / "both", split="test").examples) == 1
    with pytest.raises(DataError, match="no split 'dev'; its splits are train, test"):
        load_examples(tmp_path / "both", split="dev")
    (tmp_path / "one" / "state.json").write_text("{")
    with pytest.raises(DataError, match="cannot be loaded"):
        load_examples(tmp_path / "one")


def test_excel(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for cells in [
        ("prompt", "expert", "answer"),
        ("What is 2 + 3?", "It is 5.", 5),
        (None, None, None),
        ("What is 1 + 1?", None, 2.0),
        ("b", "c", None, "beside"),
    ]:
        book.active.append(cells)
    book.save(tmp_path / "rows.xlsx")
    report = check_file(tmp_path / "rows.xlsx")
    assert (report.rows, report.usable, report.recognised.kind) == (3, 2, "xlsx")
    assert "right of the header's 3 columns" in report.bad_rows[0].reason
    (tmp_path / "half.xlsx").write_bytes((tmp_path / "rows.xlsx").read_bytes()[:-60])
    with pytest.raises(DataError):
        check_file(tmp_path / "half.xlsx")


def test_excel_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with zipfile.ZipFile(tmp_path / "rows.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(MissingExtraError, match=r'pip install "gft-lite\[excel\]"'):
        check_file(tmp_path / "rows.xlsx")


def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    long = json.dumps({"prompt": "long", "expert": "x" * 10_000_000})
    path.write_text(f"{long}\n{long[:-5]}\n" + json.dumps(ROWS[0]))
    report = check_file(path)
    assert (report.rows, report.usable, report.characters["expert"].longest) == (3, 2, 10_000_000)
    assert len(str(report.bad_rows[0])) < 300
