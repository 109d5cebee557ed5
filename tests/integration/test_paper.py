"""benchmarks/paper: what is run, on which data, in which order; and that its page is up to date."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "benchmarks" / "paper"
sys.path.insert(0, str(PAPER))
import job  # noqa: E402
import run  # noqa: E402
from runaway import first_above, signs  # noqa: E402
from variants import METHODS, VARIANTS  # noqa: E402

from gft_lite.assets import resolve  # noqa: E402

TARGET, OLD_SKILL = "embedded:target_test", "embedded:old_skill_test"


def rows_of(path: str) -> list[dict[str, Any]]:
    text = Path(resolve(path)).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def is_right(text: str, row: dict[str, Any]) -> bool:
    return text.endswith(f"\n#### {row['answer']}")


def recorded(variant: str, rate: float, target: float, kept: float, **more: Any) -> dict[str, Any]:
    row = {"kind": "train", "variant": variant, "seed": 0, "learning_rate": rate, "steps": 100}
    return {**row, "target_greedy": target, "old_skill_greedy": kept, **more}


def trained(rows: list[dict[str, Any]], name: str, work: Path) -> list[dict[str, Any]]:
    """The training runs of a variant that would be started next."""
    return [j for j in run.jobs(rows, [name], [], work) if j["kind"] == "train"]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_configuration(name: str, tmp_path: Path) -> None:
    variant = VARIANTS[name]
    config = job.settings(variant, 1, variant.rates[0], None, tmp_path)
    stages = job.stage_of(variant)
    assert config.train.seed == 1 + 1000 * stages and config.train.steps == variant.steps
    assert Path(resolve(str(config.data.path))).is_file()
    assert (config.data.eval_path, config.data.retention_path) == (TARGET, OLD_SKILL)
    assert config.train.schedule == "constant"  # what runs.jsonl was recorded with


def test_the_rate_that_keeps_more_wins_among_those_within_chance() -> None:
    sft = VARIANTS["sft"]
    rows = [
        recorded("sft", 3e-4, 0.50, 0.99),
        recorded("sft", 1e-3, 0.87, 0.60),
        recorded("sft", 2e-3, 0.91, 0.20),
    ]
    assert run.chosen_rate(sft, rows[:2]) is None
    assert run.chosen_rate(sft, rows) == 1e-3


def test_a_stage_waits_for_the_run_that_it_continues(tmp_path: Path) -> None:
    assert trained([], "warm-gft", tmp_path) == []
    found = trained([recorded("warm", 1e-3, 0.4, 0.99, steps=25)], "warm-gft", tmp_path)
    assert [(j["seed"], Path(j["start"]).name) for j in found] == [(0, "warm-0.001-seed0")]


def test_what_is_recorded_is_not_run_again(tmp_path: Path) -> None:
    found = trained([recorded("gft", 5e-4, 0.9, 0.8)], "gft", tmp_path)
    assert [j["seed"] for j in found] == [1, 2]


def test_the_last_steps_of_a_run_are_recorded() -> None:
    curve = job.Curve(lambda: 0.0)
    step = {"type": "step", "trained_tokens": 10, "trained_responses": 1}
    accuracy = {"greedy_accuracy": 0.5}
    evaluation = {"type": "eval", "step": 20, "target": accuracy, "old_skill": accuracy}
    for event in (
        {**step, "entropy_nats_per_token": 0.1},
        evaluation,
        {**step, "entropy_nats_per_token": 0.6},
        {**step, "entropy_nats_per_token": 1.0},
        {**evaluation, "step": 22, "final": True},
    ):
        curve.add(event)
    assert [p["entropy_nats_per_token"] for p in curve.points] == [0.1]
    assert curve.end == {"entropy_nats_per_token": 0.8}


def test_signs_of_runaway() -> None:
    """Entropy 0.1 → 0.2 is E; 0.90 of 50 against 0.70 of 200 is T; mean@8 0.2 of 0.7 is M."""

    def curve(*entropies: float) -> list[dict[str, float]]:
        return [
            {"step": 20 * i, "entropy_nats_per_token": e, "target_quick": 0.9,
             "rectified_fraction_self": 0.1}
            for i, e in enumerate(entropies, 1)
        ]  # fmt: skip

    quiet = recorded("gft", 5e-4, 0.88, 0.9, target_mean_at_8=0.6, curve=curve(0.1, 0.19))
    assert signs(quiet) == "" and first_above(quiet) is None
    noisy = recorded("gft", 5e-4, 0.70, 0.9, target_mean_at_8=0.2, curve=curve(0.1, 0.2))
    assert signs(noisy) == "ETM"
    ended = {**quiet, "end": {"entropy_nats_per_token": 0.7}}
    assert signs(ended) == "E" and first_above(ended) == 100


def test_more_experts_are_wrong_and_nothing_else_changes() -> None:
    shipped = rows_of("embedded:target_train")
    wrong = job.with_wrong_experts(list(shipped), 0.4)
    assert sum(not is_right(row["expert"], row) for row in wrong) == 0.4 * len(shipped)
    assert [{**row, "expert": ""} for row in wrong] == [{**row, "expert": ""} for row in shipped]


def test_shortcuts_stop_one_step_early() -> None:
    rows = job.with_shortcuts(400)
    held_out = {row["prompt"] for row in rows_of(TARGET)}
    assert len({row["prompt"] for row in rows} - held_out) == 400
    told = [(text, row) for row in rows for text in (row["expert"], *row["teachers"])]
    wrong = [(text, row) for text, row in told if not is_right(text, row)]
    assert abs(len(wrong) / len(told) - job.SHORTCUTS) < 0.03
    for text, _row in wrong:
        assert f"={text.rpartition('#### ')[2]}" in text  # consistent with itself
    verified = job.only_right(rows)
    assert all(is_right(t, row) for row in verified for t in (row["expert"], *row["teachers"]))
    assert 250 < len(verified) < 350


@pytest.mark.slow
def test_passes_of_the_base_are_measured() -> None:
    row = job.measure_passes(None, prompts=4, samples=8)
    assert row["prompts"] == 4 and set(row["pass_at"]) == {"1", "2", "4", "8"}
    assert row["pass_at"]["1"] == row["mean_at_128"] <= row["pass_at"]["8"]


@pytest.mark.slow
def test_the_page_is_that_of_the_recorded_runs(tmp_path: Path) -> None:
    results = ROOT / "docs" / "results"
    copy = shutil.copytree(results, tmp_path / "results")
    done = subprocess.run([sys.executable, str(PAPER / "page.py"), "--out", str(copy)])
    assert done.returncode == 0
    for file in copy.iterdir():
        assert file.read_bytes() == (results / file.name).read_bytes(), file.name
    missing = [v.name for v in METHODS if v.label not in (copy / "README.md").read_text()]
    assert not missing
