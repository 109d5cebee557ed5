"""Bad input: what, where and what to do, never a traceback, never a silently dropped row."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gft_lite.data import FORMATS, check_file, load_examples, report_text
from gft_lite.types import DataError

GOOD = {"prompt": "1+1?", "expert": "2"}
LINE = json.dumps(GOOD)


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet_bytes(tmp_path: Path) -> bytes:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([GOOD] * 50), tmp_path / "made.parquet")
    return (tmp_path / "made.parquet").read_bytes()


# file name, content, what the message must say
FILES: list[tuple[str, str | bytes, list[str]]] = [
    ("empty.jsonl", "", ["is empty"]),
    ("blank.csv", "\ufeff \n\n", ["is empty"]),
    ("no_rows.json", "[]", ["holds no rows"]),
    ("header.csv", "prompt,expert\n", ["holds no rows"]),
    ("half.jsonl.gz", gzip.compress(LINE.encode() * 99)[:40], ["damaged or half-written"]),
    ("sheet.xls", b"\xd0\xcf\x11\xe0" + b"\x00" * 50, ["binary"]),
    ("model.json", bytes(range(1, 32)) * 20, ["binary"]),
    ("nul.csv", b"a\x00b\x00,\x00" * 20, ["binary", "UTF-16"]),
    ("page.jsonl", "<!DOCTYPE html><html>", ["web page", "raw file"]),
    ("lfs.parquet", "version https://git-lfs.github.com/spec/v1\n", ["Git LFS", "git lfs pull"]),
    ("notes.txt", "some words", ["cannot tell", '"some words"', "rename"]),
    ("fake.parquet", "prompt,expert\n", ["named Parquet", "does not begin"]),
    ("half.parquet", b"PAR1" + b"\x15\x04" * 40, ["Parquet", "half-written"]),
    (
        "half.json",
        '[{"prompt": "a", "expert": "b"}, {"prompt": "c',
        ["line 1", "stops in the middle"],
    ),
    ("half2.json", '[{"prompt": "a", "expert": "b"},', ["stops in the middle", "again"]),
    ("slip.json", '[{"prompt": "a",\n "expert" "b"}]', ["line 2, column 11", "correct"]),
    ("number.json", "17", ["holds a number, not rows"]),
    ("deep.json", "[" * 100_000, ["nested too deeply"]),
    ("uneven.json", '{"prompt": ["a", "b"], "expert": ["c"]}', ["different lengths", "'prompt' 2"]),
    ("twice.json", '{"prompt": "a", "prompt": "b"}', ["'prompt' stands twice"]),
    (
        "latin.csv",
        "prompt,expert\nähm,ja\ncafé,nein\n".encode().replace(b"caf\xc3\xa9", b"caf\xe9"),
        ["line 3", "byte 26", "0xe9", '"caf"', "iconv -f WINDOWS-1252"],
    ),
    ("names.csv", "prompt,prompt\na,b\n", ["'prompt' twice", "rename"]),
    ("strange.csv", "who,what\na,b\n", ["no known format", "'who', 'what'", "--map prompt="]),
]


@pytest.mark.parametrize(("name", "content", "phrases"), FILES, ids=[f[0] for f in FILES])
def test_bad_file(tmp_path: Path, name: str, content: str | bytes, phrases: list[str]) -> None:
    path = written(tmp_path, name, content)
    for read in (load_examples, check_file):
        with pytest.raises(DataError) as caught:
            read(path)
        for phrase in [name, *phrases]:
            assert phrase in str(caught.value)


def test_truncated_parquet(tmp_path: Path) -> None:
    whole = parquet_bytes(tmp_path)
    for kept in (8, len(whole) // 2, len(whole) - 1):
        with pytest.raises(DataError, match="damaged or half-written"):
            load_examples(written(tmp_path, "half.parquet", whole[:kept]))


def test_missing_folder_and_odd_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_examples(tmp_path / "nothing.jsonl")
    with pytest.raises(DataError, match="folder without a data file"):
        load_examples(tmp_path)
    with pytest.raises(DataError, match=r"no such file|cannot be opened"):
        load_examples("a\x00b.jsonl")
    with pytest.raises(DataError, match="no file was named"):
        load_examples("")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jsonl")
        with pytest.raises(DataError, match="not an ordinary file"):
            load_examples(tmp_path / "pipe.jsonl")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_forbidden_file(tmp_path: Path) -> None:
    path = written(tmp_path, "secret.jsonl", LINE)
    path.chmod(0)
    with pytest.raises(DataError, match=r"cannot be opened.*permissions"):
        load_examples(path)


# the row, the column named, what the reason must say
CANONICAL_ROWS: list[tuple[object, str | None, str]] = [
    ({"expert": "2"}, "prompt", "is missing"),
    ({"prompt": None, "expert": "2"}, "prompt", "is missing"),
    ({"prompt": "  ", "expert": "2"}, "prompt", "is empty"),
    ({"prompt": 11, "expert": "2"}, "prompt", "is a number, text is needed"),
    ({"prompt": ["a"], "expert": "2"}, "prompt", "not of turns"),
    ({"prompt": {"role": "user"}, "expert": "2"}, "prompt", "is an object, text is needed"),
    ({"prompt": "a\x00b", "expert": "2"}, "prompt", "NUL"),
    ({"prompt": "a\ud800", "expert": "2"}, "prompt", "lone surrogate"),
    ({"prompt": "q", "expert": ""}, "expert", "is empty"),
    ({"prompt": "q", "expert": 2.5}, "expert", "is a number"),
    ({"prompt": "q", "expert": ["a", None]}, "expert", "entry 2 is missing"),
    ({"prompt": "q", "teachers": ["a", {"b": 1}]}, "teachers", "entry 2 is an object"),
    ({"prompt": "q", "teachers": "['a', 'b']"}, "teachers", "not JSON"),
    ({"prompt": "q", "answer": True}, "answer", "is true/false"),
    ({"prompt": "q", "answer": ["2"]}, "answer", "is a list"),
    ({"prompt": "q", "answer": ""}, "answer", "is empty"),
    ({"prompt": "q", "answer": float("nan")}, "answer", "is a number"),
    ({"prompt": "q", "expert": [], "answer": None}, None, "nothing to learn from"),
    ({"prompt": [{"role": "assistant", "content": "a"}], "expert": "2"}, None, "turn of the user"),
    ({"prompt": [{"role": "robot", "content": "a"}], "expert": "2"}, "prompt", "unknown role"),
    (
        {"prompt": [{"role": "user", "content": None}], "expert": "2"},
        "prompt",
        "turn 1 (user) is m",
    ),
    (
        {"prompt": [{"role": "user", "content": [{"type": "image"}]}], "expert": "2"},
        "prompt",
        "part that is not text",
    ),
    (
        {
            "prompt": [
                {"role": "user", "content": "a"},
                {"role": "system", "content": "b"},
                {"role": "user", "content": "c"},
            ],
            "expert": "2",
        },
        None,
        "system turn after",
    ),
    (["a"], None, "is a list, not an object"),
    (None, None, "is null, not an object"),
]


@pytest.mark.parametrize(("row", "column", "reason"), CANONICAL_ROWS)
def test_bad_row(tmp_path: Path, row: object, column: str | None, reason: str) -> None:
    """One bad row among good ones: refused by number, dropped only if the user said so."""
    lines = [LINE, json.dumps(row), *(json.dumps(GOOD | {"prompt": p}) for p in "xy")]
    path = written(tmp_path, "rows.jsonl", "\n".join(lines))
    (bad,) = check_file(path).bad_rows
    assert (bad.row, bad.column) == (2, column) and reason in bad.reason
    assert len(bad.quote) < 200 and bad.quote.isprintable()
    with pytest.raises(DataError, match="1 of 4 rows cannot be used") as caught:
        load_examples(path)
    assert "row 2" in str(caught.value) and "--skip-bad-rows" in str(caught.value)
    loaded = load_examples(path, skip_bad_rows=True)
    assert [example.row for example in loaded.examples] == [1, 3, 4]
    assert loaded.bad_rows == (bad,)


TURN = {"role": "user", "content": "q"}
REPLY = {"role": "assistant", "content": "a"}

# format, the row, the column named, what the reason must say
FORMAT_ROWS: list[tuple[str, dict[str, object], str | None, str]] = [
    ("gsm8k", {"question": "q", "answer": "just 7"}, "answer", "no '####'"),
    ("gsm8k", {"question": "q", "answer": "so\n####"}, "answer", "nothing after '####'"),
    ("messages", {"messages": [TURN]}, "messages", "ends with a turn of the user"),
    ("messages", {"messages": []}, "messages", "has no turns"),
    ("messages", {"messages": None}, "messages", "is missing"),
    ("messages", {"messages": "hello"}, "messages", "is not a list of turns"),
    ("messages", {"messages": [TURN, None]}, "messages", "turn 2 is null"),
    ("messages", {"messages": [REPLY]}, None, "the prompt has no turns"),
    (
        "sharegpt",
        {"conversations": [{"from": "human"}]},
        "conversations",
        "turn 1 (user) is missing",
    ),
    ("preference", {"chosen": "a", "rejected": "b"}, "prompt", "add the prompt's column"),
    ("preference", {"prompt": "q", "chosen": "a", "rejected": None}, "rejected", "is missing"),
    ("preference", {"prompt": "q", "chosen": [TURN], "rejected": "b"}, "chosen", "does not end"),
    (
        "preference",
        {"chosen": [TURN, REPLY], "rejected": [TURN | {"content": "other"}, REPLY]},
        "rejected",
        "another prompt",
    ),
    ("alpaca", {"instruction": "q", "input": 3, "output": "a"}, "input", "is a number"),
    ("solution", {"problem": "q", "solution": ""}, "solution", "is empty"),
    ("gft-official", {"prompt": [TURN], "reward_model": {}}, "reward_model", "no ground_truth"),
    ("gft-official", {"prompt": [TURN], "reward_model": 3}, "reward_model", "is not an object"),
    (
        "gft-official",
        {
            "prompt": [TURN],
            "reward_model": {"ground_truth": "1"},
            "extra_info": {"model_answer": [1]},
        },
        "extra_info",
        "model_answer: entry 1 is a number",
    ),
]


@pytest.mark.parametrize(("name", "row", "column", "reason"), FORMAT_ROWS)
def test_bad_row_of_format(
    tmp_path: Path, name: str, row: dict[str, object], column: str | None, reason: str
) -> None:
    path = written(tmp_path, "rows.json", json.dumps([row]))
    (bad,) = check_file(path, format=name).bad_rows
    assert bad.column == column and reason in bad.reason
    with pytest.raises(DataError, match="none of its 1 rows can be used"):
        load_examples(path, format=name, skip_bad_rows=True)


def test_broken_lines_go_by_line_number(tmp_path: Path) -> None:
    content = "\n".join(
        [
            LINE,
            '{"prompt": oops}',
            "",
            LINE,
            '{"prompt": "a", "prompt": "b"}',
            "1" * 5000,
            LINE[:20],
        ]
    )
    path = written(tmp_path, "rows.jsonl", content)
    report = check_file(path)
    reasons = {bad.row: bad.reason for bad in report.bad_rows}
    assert list(reasons) == [2, 5, 6, 7] and report.rows == 6
    assert "is not JSON" in reasons[2] and "character 12" in reasons[2]
    assert "'prompt' stands twice" in reasons[5] and "not usable JSON" in reasons[6]
    assert "stops in the middle" in reasons[7]
    assert all(f"row {row}" in report_text(report) for row in reasons)


def test_only_broken_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", "oops\n" * 3)
    assert check_file(path).recognised.format == "none" and check_file(path).bad == 3
    with pytest.raises(DataError, match="none of its 3 rows"):
        load_examples(path, skip_bad_rows=True)
    late = written(tmp_path, "late.jsonl", "oops\n" * 150 + LINE)
    with pytest.raises(DataError, match="first 100 rows are all broken"):
        check_file(late)


def test_bad_csv_rows(tmp_path: Path) -> None:
    content = 'prompt,expert\na,b\na,b,c\nx\n,\n"a"b,c\nq,\nlast,one\n'
    report = check_file(written(tmp_path, "rows.csv", content))
    reasons = {bad.row: bad.reason for bad in report.bad_rows}
    assert (report.usable, list(reasons)) == (2, [2, 3, 4, 5, 6])
    assert "has 3 cells, but the header has 2 (line 3)" in reasons[2]
    assert "has 1 cells" in reasons[3] and "every cell is empty" in reasons[4]
    assert "not CSV" in reasons[5] and "nothing to learn from" in reasons[6]


def test_csv_quote_never_closed(tmp_path: Path) -> None:
    content = 'prompt,expert\na,b\nc,"half\n' + "d,e\n" * 5
    (bad,) = check_file(written(tmp_path, "rows.csv", content)).bad_rows
    assert bad.row == 2 and "opened on line 3 is never closed, so lines 3 to 8" in bad.reason


def test_message_names_five_rows_and_counts_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", "\n".join([LINE] + ["{}"] * 9))
    with pytest.raises(DataError) as caught:
        load_examples(path)
    assert "row 6" in str(caught.value) and "row 7" not in str(caught.value)
    assert "and 4 more" in str(caught.value)


def test_wrong_options(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", LINE)
    for options, phrase in [
        ({"format": "gsmk8"}, "did you mean 'gsm8k'"),
        ({"format": "alpaca"}, "needs a column 'instruction'"),
        ({"columns": {"prompt": "promt"}}, "Did you mean 'prompt'"),
        ({"columns": {"promt": "prompt"}}, "no field 'promt'"),
        ({"columns": {"prompt": "expert"}}, "needs a column 'expert' or 'teachers'"),
        ({"limit": 0}, "limit is 0"),
    ]:
        with pytest.raises(DataError, match=phrase):
            load_examples(path, **options)  # type: ignore[arg-type]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ROLES = st.sampled_from(["user", "assistant", "system", "human", "gpt", "tool", "robot"])
TURNS = st.lists(
    st.fixed_dictionaries({"role": ROLES, "content": SCALARS})
    | st.fixed_dictionaries({"from": ROLES, "value": SCALARS}),
    max_size=4,
)
CELLS = st.recursive(
    SCALARS | TURNS | st.just("1 #### 2"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(sorted({c for form in FORMATS.values() for c in form.columns} | {"other"}))
CSV_TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from('",;|\t\r\n '), max_size=12
)
FUZZ = settings(
    max_examples=5 * settings().max_examples,  # of the profile in tests/conftest.py
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def settle(path: Path, rows: int | None) -> None:
    """The invariant: rows in = rows used + rows reported, or one DataError for the whole file."""
    try:
        report = check_file(path)
    except DataError:
        with pytest.raises(DataError):
            load_examples(path, skip_bad_rows=True)
        return
    assert rows is None or report.rows == rows
    assert report.rows == report.usable + report.bad
    report_text(report).encode()
    try:
        loaded = load_examples(path, skip_bad_rows=True)
    except DataError:
        assert report.usable == 0
        return
    assert len(loaded.examples) == report.groups
    used = len(loaded.examples) + loaded.joined_rows
    assert loaded.rows_read == used + len(loaded.bad_rows) == report.rows
    numbers = [e.row for e in loaded.examples] + [bad.row for bad in loaded.bad_rows]
    assert len(set(numbers)) == len(numbers) == loaded.rows_read - loaded.joined_rows
    for example in loaded.examples:
        assert example.prompt[-1].role in ("user", "tool")
        bare = loaded.recognised.format == "prompt-only"
        assert bare or example.experts or example.teachers or example.answer is not None


@FUZZ
@given(rows=st.lists(st.dictionaries(NAMES, CELLS, max_size=5) | CELLS, max_size=8))
def test_no_row_is_lost(tmp_path: Path, rows: list[object]) -> None:
    settle(written(tmp_path, "f.json", json.dumps(rows)), len(rows))
    lines = written(tmp_path, "f.jsonl", "\n".join(map(json.dumps, rows)))
    one_array = len(rows) == 1 and isinstance(rows[0], list)  # a JSON array under the wrong name
    settle(lines, None if one_array else len(rows))


@FUZZ
@given(
    rows=st.lists(st.dictionaries(NAMES, CELLS, min_size=2, max_size=5), min_size=1, max_size=6),
    name=st.sampled_from(sorted(FORMATS)),
)
def test_no_row_is_lost_in_a_named_format(tmp_path: Path, rows: list[object], name: str) -> None:
    path = written(tmp_path, "f.jsonl", "\n".join(map(json.dumps, rows)))
    try:
        report = check_file(path, format=name)
    except DataError as error:
        assert "needs a column" in str(error)
        return
    assert report.usable + report.bad == len(rows)


@FUZZ
@given(cells=st.lists(st.tuples(CSV_TEXT, CSV_TEXT), min_size=1, max_size=6))
def test_csv_keeps_rows_and_text(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    path = tmp_path / "f.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("prompt", "expert"), *cells])
    report = check_file(path)
    assert report.rows == len(cells)
    if report.usable:
        for example in load_examples(path, skip_bad_rows=True).examples:
            prompt, expert = cells[example.row - 1]
            assert (example.question, example.experts[0]) == (prompt, expert)


@FUZZ
@given(
    content=st.binary(max_size=200) | st.text(alphabet='ab,;"\n\r\t{}[]:1 é\x00', max_size=80),
    ending=st.sampled_from([".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt"]),
    header=st.sampled_from([b"", b"prompt,expert\n", b"question,answer\n", b"PAR1", b'{"prompt":']),
)
def test_any_bytes(tmp_path: Path, content: bytes | str, ending: str, header: bytes) -> None:
    body = content.encode() if isinstance(content, str) else content
    settle(written(tmp_path, f"f{ending}", header + body), None)


@FUZZ
@given(
    rows=st.lists(st.dictionaries(NAMES, CELLS, min_size=1, max_size=5), min_size=1, max_size=5),
    said=st.text(alphabet="+,{}.\\n ab", max_size=10),
    names=st.lists(NAMES, min_size=1, max_size=3),
)
def test_no_row_is_lost_under_any_mapping(
    tmp_path: Path, rows: list[object], said: str, names: list[str]
) -> None:
    """Lists and templates of columns that hold anything at all, in older forms as well."""
    path = written(tmp_path, "f.jsonl", "\n".join(map(json.dumps, rows)))
    template = "".join(f"{{{n}}}" for n in names) + said
    for origin in ("+".join(names[:2]), ",".join(names), names, template):
        try:
            report = check_file(path, columns={"prompt": origin, "expert": names[0]})
        except DataError as error:
            assert "no column" in str(error)
            continue
        assert report.usable + report.bad == len(rows)


OASST = st.fixed_dictionaries(
    {
        "message_id": st.sampled_from(["a", "b", "c", "d", None]),
        "parent_id": st.sampled_from(["a", "b", "c", "gone", None]),
        "role": st.sampled_from(["prompter", "assistant", "system"]),
        "text": st.sampled_from(["one", "two", "", None]),
    },
    optional={"rank": st.none() | st.integers(0, 2), "deleted": st.booleans()},
)


@FUZZ
@given(rows=st.lists(OASST, min_size=1, max_size=7))
def test_no_message_of_a_tree_is_lost(tmp_path: Path, rows: list[object]) -> None:
    """Circles, doubles, orphans and answers to answers included."""
    path = written(tmp_path, "f.jsonl", "\n".join(map(json.dumps, rows)))
    report = check_file(path, format="oasst")
    assert report.usable + report.bad == len(rows)
