"""Published data sets, as they are: read, checked, trained on and scored.

The files are not in the repository. $GFT_LITE_REAL_DATA names a folder with `gsm8k/train.parquet`
and `gsm8k/test.parquet` (openai/gsm8k, `main`) and `svamp/SVAMP.json`; without it these tests are
skipped.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from answer_corpus import WRAPPERS, wrapped

from gft_lite import load_config, load_examples, train
from gft_lite.data import check_file, fix_file
from gft_lite.preflight.reward_check import row_scorer
from gft_lite.rewards import Scorer, Target, build_scorer
from gft_lite.runs import RunDir

FOLDER = Path(os.environ.get("GFT_LITE_REAL_DATA") or "/nonexistent")
TRAIN, TEST = FOLDER / "gsm8k" / "train.parquet", FOLDER / "gsm8k" / "test.parquet"
SVAMP = FOLDER / "svamp" / "SVAMP.json"
SENTENCES = (*WRAPPERS, "The answer is X dollars a day.")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(file.is_file() for file in (TRAIN, TEST, SVAMP)),
        reason="GFT_LITE_REAL_DATA names no folder with gsm8k/ and svamp/",
    ),
]


@pytest.fixture(scope="module")
def math() -> Iterator[Scorer]:
    with build_scorer("math", timeout_seconds=10) as scorer:
        yield scorer


def test_every_row_is_read() -> None:
    loaded = load_examples(TEST)
    assert (loaded.rows_read, loaded.bad_rows) == (1319, ())
    assert loaded.recognised.format == "gsm8k" and loaded.recognised.kind == "parquet"
    assert all(float(example.answer or "nan") is not None for example in loaded.examples)
    assert not any("<<" in example.experts[0] for example in loaded.examples)
    assert loaded.examples[0].answer == "18" and loaded.examples[-1].row == 1319


def test_every_expert_earns_its_reward_and_the_splits_share_no_question(
    tmp_path: Path, math: Scorer
) -> None:
    report = check_file(TRAIN, against=TEST, row_scorer=row_scorer(math))
    assert (report.rows, report.usable, report.groups) == (7473, 7473, 7473)
    assert report.recognised.format == "gsm8k" and set(report.counts) <= {"near", "near leak"}
    assert report.characters["prompt"].count == 7473
    fixed = fix_file(TRAIN, tmp_path / "clean.jsonl")
    assert (fixed.written, fixed.left_out) == (7473, 0)
    assert load_examples(tmp_path / "clean.jsonl", limit=1).examples[0].answer == "72"


def test_it_trains_and_evaluates_with_nothing_special(tmp_path: Path) -> None:
    settings = ["train.steps=2", "train.prompts_per_step=2", "group.self=2", "reward=math"]
    settings += ["group.max_new_tokens=128", "data.limit=300", "data.max_prompt_tokens=800"]
    settings += [f"data.path={TRAIN}", "data.skip_bad_rows=true"]
    settings += [f"data.eval_path={TEST}", "eval.examples=8", "eval.k=1"]
    result = train(load_config(overrides=settings), tmp_path / "run")
    assert (result.state, result.steps) == ("finished", 2)
    *_, measured = RunDir(tmp_path / "run").events("eval")
    assert measured["target"]["n"] == 8


def failures(math: Scorer, items: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The (response, reference) pairs that did not earn 1 with a verdict of the checker."""
    scored = math.score([(response, Target(reference)) for response, reference in items])
    return [
        item
        for item, score in zip(items, scored, strict=True)
        if score.value != 1 or score.verdict in ("timeout", "error")
    ]


def test_solutions_and_answers_earn_1(math: Scorer) -> None:
    solutions = pq.read_table(TEST)["answer"].to_pylist()
    answers = [solution.rpartition("####")[2].strip() for solution in solutions]
    assert failures(math, list(zip(solutions, answers, strict=True))) == []
    answers += [str(row["Answer"]) for row in json.loads(SVAMP.read_text(encoding="utf-8"))]
    for wrapper in SENTENCES:
        assert failures(math, [(wrapped(text, wrapper), text) for text in answers]) == []
