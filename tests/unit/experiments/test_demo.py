"""The demo end to end on few steps; `.ci/run` runs the whole one and checks its figures."""

import json
from pathlib import Path

import pytest

from gft_lite.experiments.demo import RECIPES, common_config, run_demo
from gft_lite.report import run_warnings
from gft_lite.runs import RunDir
from gft_lite.types import RunError

SMALL = (
    "group.max_new_tokens=40",
    "eval.examples=4",
    "eval.quick_examples=2",
    "eval.k=2",
    "train.prompts_per_step=2",
)


@pytest.mark.slow
def test_demo_writes_figures_report_and_runs(tmp_path: Path) -> None:
    notes: list[str] = []
    events: list[tuple[str, str]] = []
    out = tmp_path / "demo"
    comparison = run_demo(
        out,
        steps=2,
        seed=3,
        say=notes.append,
        on_event=lambda method, event: events.append((method, event["type"])),
        extra=SMALL,
    )
    document = json.loads((out / "demo.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(comparison.to_dict()))
    assert document["seed"] == 3
    assert [row["method"] for row in document["rows"]] == ["base", "sft", "dft", "gft"]
    for row in document["rows"]:
        for key in (
            "target_greedy target_mean_at_2 target_pass_at_2 old_skill_greedy "
            "kl_nats_per_token steps seconds"
        ).split():
            assert isinstance(row[key], (int, float)), key
    base = document["rows"][0]
    assert base["kl_nats_per_token"] == 0 and base["steps"] == 0
    assert (out / "report.html").stat().st_size > 10_000
    for method in ("sft", "dft", "gft"):
        warnings = {f"warning: {method}: {text}" for text in run_warnings(RunDir(out / method))}
        assert warnings <= set(notes)
        assert RunDir(out / method).status()["state"] == "finished"
        assert events.count((method, "step")) == 2
    assert any(note.startswith("warning: gft: ") for note in notes)
    with pytest.raises(RunError, match="nothing was overwritten"):
        run_demo(out, steps=2)


def test_methods_differ_in_method_and_learning_rate_only() -> None:
    """The comparison is fair: same prompts a step, same steps, same seed, same everything else."""
    common = common_config(steps=50, seed=1)
    configs = [c.to_dict() for recipe in RECIPES for c in recipe.configs(common).values()]
    for config in configs:
        config.pop("method")
        config["train"].pop("learning_rate")
    assert all(config == configs[0] for config in configs)
    for recipe in RECIPES:
        assert set(recipe.rates) < set(recipe.tried) and len(recipe.tried) >= 3
