"""benchmarks/gpu.py, tried whole on a CPU: what it writes where there is no GPU is no result."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import gpu  # noqa: E402
from random_models import CONFIGS  # noqa: E402


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.slow
def test_every_row_is_measured_or_says_why(tmp_path: Path) -> None:
    ran = benchmark("--out", str(tmp_path), "--device", "cpu", "--steps", "2")
    assert ran.returncode == 0, ran.stderr[-3000:]
    document = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert document["device"]["name"] == "CPU" and document["versions"]["torch"]
    rows = {row["runner"]: row for row in document["rows"]}
    assert set(rows) == {"hf", "unsloth", "trl"}
    if find_spec("unsloth") is None:
        assert rows.pop("unsloth")["why"] == "Unsloth is not installed"
    for row in rows.values():
        assert row["status"] == "measured", row["why"]
        assert not row["capped"] and "peak_gib" not in row
        assert row["rollout_seconds"] > 0 and row["training_seconds"] > 0
        assert row["sampled_tokens_per_second"] > 0 and len(row["each_step"]) == 2
    assert rows["hf"]["each_step"][0]["sampled_tokens"] == 2 * 24  # nothing ends by itself


@pytest.mark.slow
def test_without_a_gpu_it_says_what_to_do(tmp_path: Path) -> None:
    ran = benchmark("--out", str(tmp_path / "out"))
    assert ran.returncode == 2 and "--device cpu" in ran.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_row_that_breaks_or_takes_too_long_says_so() -> None:
    told = gpu.child("--row", "{}", "--out", "x", seconds=120)
    assert told is not None and "KeyError" in told
    assert gpu.child("--row", "{}", "--out", "x", seconds=0.01) == "took longer than 0 s"


def test_a_card_larger_than_the_gpu_is_not_measured(tmp_path: Path) -> None:
    row = gpu.Row("qwen2.5-1.5b", 24, "hf", gpu.SHORT, 2)
    found = gpu.outcome(row, {"cuda": True, "total_gib": 15.6}, tmp_path, 0.0)
    assert found == {"status": "not measured", "why": "this GPU has 15.6 GiB"}


def test_figures_leave_the_first_step_out() -> None:
    """Steps of 9, 2 and 4 s, 1 s of each rollout: median 3 s, 20 tokens in a second of rollout."""
    steps = [
        {"seconds": s, "rollout": 1.0, "training": s - 1, "sampled_tokens": 20, "trained_tokens": 8}
        for s in (9.0, 2.0, 4.0)
    ]
    found = gpu.figures(steps)
    assert found["seconds"] == 3.0 and found["training_seconds"] == 2.0
    assert found["sampled_tokens_per_second"] == 20 and found["trained_tokens_per_second"] == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "billions"),
    [("qwen2.5-1.5b", 1.54), ("qwen2.5-7b", 7.62), ("llama-3.2-3b", 3.21), ("qwen3-8b", 8.19)],
)
def test_shapes_have_the_published_number_of_parameters(name: str, billions: float) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**CONFIGS[name]))
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, abs=0.006)


def test_the_plan_has_every_model_and_card() -> None:
    assert set(gpu.PLAN) == set(CONFIGS)
    real = {name: tasks for name, tasks in gpu.PLAN.items() if name != "tiny"}
    assert {card for tasks in real.values() for card, _ in tasks} == {6, 8, 12, 16, 24}
    targets = [("qwen2.5-1.5b", 6, (4, 512, 512)), ("qwen2.5-7b", 12, (4, 512, 1024))]
    for name, card, numbers in [*targets, ("qwen2.5-7b", 16, (8, 1024, 2048))]:
        assert (card, gpu.Task(*numbers)) in real[name]
