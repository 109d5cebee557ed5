"""The report on data, the clean file, near-duplicates, and examples that stay on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gft_lite.data import (
    check_file,
    filter_examples,
    fix_file,
    load_examples,
    read_report,
    report_json,
    report_text,
    split_file,
)
from gft_lite.data.checks.minhash import Sketches
from gft_lite.data.store import ExampleBuffer, StoredExamples, subset
from gft_lite.preflight.reward_check import row_scorer
from gft_lite.report.data import data_page, write_data_page
from gft_lite.rewards import build_scorer
from gft_lite.types import DataError, Example, Message

CORPUS = Path(__file__).parents[2] / "data_corpus"
DOUBTFUL, HELD_OUT = CORPUS / "doubtful.jsonl", CORPUS / "held_out.jsonl"

# kind -> rows of doubtful.jsonl
DOUBTS = {
    "leak": [5],
    "conflict": [3],
    "duplicate": [2],
    "spelled alike": [4],
    "rejected expert": [5, 8],
    "unread expert": [6],
    "no contrast": [7],
    "identical": [7, 8],
    "echo": [8],
}


def test_doubts() -> None:
    with build_scorer("math") as scorer:
        report = check_file(
            DOUBTFUL, against=HELD_OUT, row_scorer=row_scorer(scorer), reward="math"
        )
    found: dict[str, list[int]] = {}
    for finding in report.findings:
        found.setdefault(finding.kind, []).append(finding.row)
    assert found == DOUBTS
    assert report.counts == {kind: len(rows) for kind, rows in DOUBTS.items()}
    text = report_text(report)
    assert "doubtful, reward math:" in text and "leak (1): the prompt is in the held-out" in text
    assert "row 5: row 1 of" in text and "row 3: as row 1" in text
    assert r"row 5: ends “\boxed{19}”, the answer is 18" in text
    page = data_page(report)
    assert "8 of 8 rows can be used" in page and "the prompt is in the held-out file" in page


def test_an_answer_the_reward_cannot_use(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "answer": "seven"}\n{"prompt": "b", "answer": "7"}\n')
    with build_scorer("number") as scorer:
        report = check_file(path, row_scorer=row_scorer(scorer))
    assert [(f.kind, f.row) for f in report.findings] == [("unusable answer", 1)]


def test_columns() -> None:
    report = check_file(CORPUS / "mixed_types.jsonl")
    prompt, expert = report.columns
    assert (prompt.name, prompt.filled) == ("prompt", 5)
    assert dict(prompt.kinds) == {"text": 3, "a number": 1, "true/false": 1}
    assert dict(expert.kinds) == {"text": 3, "an object": 1, "a list": 1}


STORY = (
    "A farmer has {} hens and every hen lays {} eggs in a week. She sells the eggs on Saturday at "
    "the market in the old town, where her sister helps her to carry the heavy wooden baskets. "
    "In the evening both of them drive home along the river and count what they have earned. "
)


def test_near_duplicates() -> None:
    """One word changed is near; another story is not; a short text is never compared."""
    sketches = Sketches()
    for row, text in enumerate(
        [
            STORY.format(12, 7),
            "A train leaves the station at noon and needs three hours for its way to the coast.",
            STORY.format(12, 7).replace("sister", "mother"),
            "2+2",
            "2+2",
        ]
    ):
        sketches.add(row, text)
    (pair,) = sketches.near()
    assert (pair.row, pair.earlier) == (2, 0) and 0.8 <= pair.similarity < 1


def test_near_leaks(tmp_path: Path) -> None:
    def written(name: str, *prompts: str) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps({"prompt": p, "answer": "1"}) + "\n" for p in prompts))
        return path

    train = written("train.jsonl", "other", STORY.format(3, 4), STORY.format(3, 4) + "Why?")
    test = written("test.jsonl", "nothing", STORY.format(3, 4))
    counts = check_file(train, against=test).counts
    assert counts == {"leak": 1, "near": 1, "near leak": 1}


def test_fix(tmp_path: Path) -> None:
    """Rows read = written + joined + left out, and the clean file is clean."""
    out = tmp_path / "clean.jsonl"
    with build_scorer("math") as scorer:
        fixed = fix_file(
            DOUBTFUL,
            out,
            against=HELD_OUT,
            row_scorer=row_scorer(scorer),
            drop_rejected=True,
        )
    assert (fixed.rows, fixed.written, fixed.joined, fixed.left_out) == (8, 4, 1, 3)
    assert fixed.reasons == {"leak": 1, "rejected expert": 2}
    left = [json.loads(line) for line in fixed.left_out_file.read_text().splitlines()]
    assert [(line["row"], line["kind"]) for line in left] == [
        *((5, "leak"), (6, "rejected expert"), (8, "rejected expert"))
    ]
    again = check_file(out)
    assert (again.recognised.format, again.rows, again.bad) == ("canonical", 4, 0)
    for taken in (out, fixed.left_out_file):
        before = taken.read_bytes()
        with pytest.raises(DataError, match="nothing was overwritten"):
            fix_file(DOUBTFUL, out)
        assert taken.read_bytes() == before


def test_rows_joined_to_a_left_out_row_are_listed_too(tmp_path: Path) -> None:
    """The expert of row 1 fails, so row 2, which brought it a teacher, has nowhere to go."""
    row = {"prompt": "9 + 9?", "answer": "18"}
    path = tmp_path / "rows.jsonl"
    rows = [row | {"expert": "19"}, row | {"teachers": ["18"]}, {"prompt": "a", "answer": "1"}]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    with build_scorer("math") as scorer:
        fixed = fix_file(
            path, tmp_path / "c.jsonl", row_scorer=row_scorer(scorer), drop_rejected=True
        )
    assert (fixed.written, fixed.joined, fixed.left_out) == (1, 0, 2)
    assert fixed.reasons == {"rejected expert": 1, "joined": 1}


@pytest.mark.parametrize("name", ["oasst.jsonl", "mixed_types.jsonl", "canonical_turns.jsonl"])
def test_fix_keeps_what_training_would_see(tmp_path: Path, name: str) -> None:
    fixed = fix_file(CORPUS / name, tmp_path / "clean.jsonl")
    assert fixed.rows == check_file(CORPUS / name).rows
    wanted = load_examples(CORPUS / name, skip_bad_rows=True).examples
    clean = load_examples(tmp_path / "clean.jsonl").examples
    assert [(e.prompt, e.experts, e.teachers, e.answer) for e in clean] == [
        (e.prompt, e.experts, e.teachers, e.answer) for e in wanted
    ]


# --- in two ---


def split_prompts(rows: list[dict[str, str]], folder: Path, count: int, **how: int) -> list[str]:
    """The prompts held out, in the order of their file; every example is in one of the parts."""
    folder.mkdir()
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = split_file(file, folder / "parts", count, **how)  # type: ignore[arg-type]
    train, held = (load_examples(part).examples for part in (found.train, found.held_out))
    assert (len(train), len(held)) == (found.train_examples, found.held_out_examples)
    assert len(train) + len(held) == len(rows)
    assert not {e.question.lower() for e in train} & {e.question.lower() for e in held}
    return [example.question for example in held]


def test_a_split_is_the_same_for_every_order_and_in_every_process(tmp_path: Path) -> None:
    """The least SHA-256 digests of the ten prompts: 7+7? 0240…, 9+9? 0c1b…, 8+8? 2800…"""
    rows = [{"prompt": f"{n}+{n}?", "answer": f"{2 * n}"} for n in range(10)]
    assert split_prompts(rows, tmp_path / "a", 3) == ["7+7?", "8+8?", "9+9?"]
    assert split_prompts(rows[::-1], tmp_path / "b", 3) == ["9+9?", "8+8?", "7+7?"]
    assert split_prompts(rows, tmp_path / "c", 2) == ["7+7?", "9+9?"]
    assert split_prompts(rows, tmp_path / "d", 3, seed=1) != ["7+7?", "8+8?", "9+9?"]


def test_a_prompt_is_held_out_with_all_of_its_examples(tmp_path: Path) -> None:
    """Digests: 7+7? 0240…, sum 1 2 9e01…, 4 + 4? 9e24…"""
    four = [{"prompt": p, "answer": a} for p in ("Sum 1 2", "sum  1 2") for a in ("3", "three")]
    rows, first = [*four, {"prompt": "4 + 4?", "answer": "8"}], {"prompt": "7+7?", "answer": "14"}
    assert len(split_prompts(rows, tmp_path / "a", 1)) == 4
    assert split_prompts([*four, first], tmp_path / "b", 4) == ["7+7?"], "one prompt is left"
    none = split_file(tmp_path / "a" / "rows.jsonl", tmp_path / "none", 0)
    assert (none.train_examples, none.held_out_examples) == (5, 0)
    with pytest.raises(DataError, match="has 5 examples of 2 prompts; hold out fewer"):
        split_prompts(rows, tmp_path / "d", 5)
    with pytest.raises(DataError, match="has 4 examples of 1 prompts; hold out fewer"):
        split_prompts(four, tmp_path / "e", 1)


def test_page_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "<script>alert(1)</script>", "expert": 1, "<b>": 2}))
    page = write_data_page(check_file(path), tmp_path / "report.html").read_text()
    assert "<script>" not in page and "<b>" not in page and "&lt;b&gt;" in page


def test_report_is_json() -> None:
    report = check_file(DOUBTFUL)
    document = json.loads(json.dumps(report_json(report)))
    assert document["counts"]["echo"] == 1 and document["groups"] == 7
    assert read_report(document | {"effort": {}, "scripts": {}}) == report


def example(n: int) -> Example:
    turns = (Message("system", "s"), Message("user", f"ü {n}?"))
    return Example(turns, (f"e{n}",), (), str(n), row=n + 1)


def test_examples_on_disk_are_the_same_as_in_memory() -> None:
    memory, disk = ExampleBuffer(100), ExampleBuffer(3)
    for buffer in (memory, disk):
        for n in range(10):
            buffer.add(example(n))
        for n in (9, 1):
            buffer.join(n, Example(example(n).prompt, (f"e{n}",), ("t",), str(n), row=50))
    wanted, found = memory.sequence(), disk.sequence()
    assert isinstance(wanted, tuple) and isinstance(found, StoredExamples)
    assert tuple(found) == wanted and len(found) == 10 and found[-1] == wanted[-1]
    assert wanted[9].teachers == ("t",) and wanted[9].experts == ("e9",)
    assert tuple(found[2:8:2]) == wanted[2:8:2]
    odd = filter_examples(found, lambda e: e.row % 2 == 1)
    assert isinstance(odd, StoredExamples) and tuple(odd) == filter_examples(
        wanted, lambda e: e.row % 2 == 1
    )
    assert tuple(subset(odd, [1, 0])) == (wanted[2], wanted[0])
    with pytest.raises(IndexError):
        found[10]


def test_a_published_file_end_to_end(tmp_path: Path) -> None:
    """Rows as GSM8K has them: every expert earns its reward, and no row is in both files."""
    names = "Ann Ben Eve Kim Leo Mia Tom Zoe".split()
    pens = [(name, red, red + 5) for name in names for red in (3, 40)]
    questions = [f"{name} has {red} red, {blue} blue pens. How many?" for name, red, blue in pens]
    answers = [
        f"{red} + {blue} = <<{red}+{blue}={red + blue}>>{red + blue}\n#### {red + blue}"
        for _, red, blue in pens
    ]
    for name, chosen in (("train", slice(0, 12)), ("test", slice(12, 16))):
        table = pa.table({"question": questions[chosen], "answer": answers[chosen]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    with build_scorer("math") as scorer:
        report = check_file(
            tmp_path / "train.parquet",
            against=tmp_path / "test.parquet",
            row_scorer=row_scorer(scorer),
        )
    assert (report.rows, report.usable, report.groups) == (12, 12, 12)
    assert report.recognised.format == "gsm8k" and set(report.counts) <= {"near", "near leak"}
    fixed = fix_file(tmp_path / "train.parquet", tmp_path / "clean.jsonl")
    assert (fixed.written, fixed.left_out) == (12, 0)
    assert load_examples(tmp_path / "clean.jsonl", limit=1).examples[0].answer == "11"
