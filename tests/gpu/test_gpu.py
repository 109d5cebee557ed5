"""`pytest -m gpu`: both backends on a CUDA GPU, without network. Deselected otherwise.

Every test starts processes that see the GPU; this one does not (conftest.py). What is exact on a
CPU is held to bfloat16's eight bits here.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gft_lite.models.backend import OLDEST_UNSLOTH, this_machine
from gft_lite.runs import RunDir

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]
BACKENDS = ("hf", "unsloth")
BFLOAT16_NATS = 0.1  # mean over tokens of the difference between two ways of rounding


@pytest.fixture(scope="module")
def gpu() -> dict[str, str]:
    """The environment of a process that sees the GPU."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["CUDA_VISIBLE_DEVICES"] = os.environ["GFT_LITE_TEST_GPUS"]
    if environment["CUDA_VISIBLE_DEVICES"] == "all":
        del environment["CUDA_VISIBLE_DEVICES"]
    ran = run(environment, "-c", "import torch; print(torch.cuda.is_available())")
    if ran.stdout.strip() != "True":
        pytest.skip("no CUDA GPU here")
    return environment


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "unsloth" and this_machine().unsloth is None:
        pytest.skip(f"Unsloth {OLDEST_UNSLOTH} is not installed")
    return str(request.param)


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=1700,
    )


def numbers(environment: dict[str, str], backend: str, folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / f"{backend}.pt"
    ran = run(environment, str(ROOT / "tests" / "backend_numbers.py"), backend, str(file))
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: dict[str, dict[str, Any]] = torch.load(file)
    return found


def cosine(one: list[Tensor], other: list[Tensor]) -> float:
    flat = [torch.cat([t.flatten().double() for t in ts]) for ts in (one, other)]
    return float(torch.nn.functional.cosine_similarity(*flat, dim=0))


def test_reference_and_gradient(gpu: dict[str, str], backend: str, tmp_path: Path) -> None:
    """The reference is the base, before and after; generating changes no gradient, NF4 included."""
    for held, found in numbers(gpu, backend, tmp_path).items():
        assert torch.equal(found["reference before"], found["base"]), held
        assert torch.equal(found["reference"], found["base"]), held
        assert (found["log-probs"] - found["base"]).abs().max() > 0.01
        assert cosine(found["gradient before"], found["gradient"]) > 0.999, held
        assert all(g.abs().sum() > 0 for g in found["gradient"]), held


def test_backends_agree(gpu: dict[str, str], tmp_path: Path) -> None:
    if this_machine().unsloth is None:
        pytest.skip(f"Unsloth {OLDEST_UNSLOTH} is not installed")
    hf, unsloth = (numbers(gpu, name, tmp_path) for name in BACKENDS)
    for held in hf:
        gap = (hf[held]["log-probs"] - unsloth[held]["log-probs"]).abs()
        assert gap.mean() < BFLOAT16_NATS, held
        assert cosine(hf[held]["gradient"], unsloth[held]["gradient"]) > 0.98, held


@pytest.mark.parametrize("dtype", ["auto", "float16"])
@pytest.mark.parametrize("four_bit", [False, True])
def test_a_run_trains(
    gpu: dict[str, str], backend: str, dtype: str, four_bit: bool, tmp_path: Path
) -> None:
    """Also in float16, as on a T4: its loss scaler may skip first steps, not all of them."""
    settings = [
        *("train.steps=8", "train.prompts_per_step=4", "group.max_new_tokens=80"),
        *("eval.examples=4", "eval.k=1", f"model.backend={backend}", f"model.dtype={dtype}"),
        *(f"model.load_in_4bit={str(four_bit).lower()}", "model.gradient_checkpointing=true"),
    ]
    arguments = [f"--set={text}" for text in settings]
    out = tmp_path / "run"
    ran = run(gpu, "-m", "gft_lite", "train", "--preset=tiny-cpu", f"--out={out}", *arguments)
    assert ran.returncode == 0, ran.stderr[-3000:]
    events = list(RunDir.open(out).events())
    started = next(e for e in events if e["type"] == "started")
    assert started["device"].startswith("cuda") and started["backend"] == backend
    assert dtype == "auto" or started["dtype"] == dtype
    steps = [e for e in events if e["type"] == "step"]
    assert len(steps) == 8 and all(math.isfinite(e["loss"]) for e in steps)
    assert any(e["grad_norm"] > 0 and not e["skipped_update"] for e in steps)


def test_the_benchmark_measures(gpu: dict[str, str], tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "gpu.py")
    ran = run(gpu, script, "--out", str(tmp_path), "--model", "tiny", "--steps", "2")
    assert ran.returncode == 0, ran.stderr[-3000:]
    document = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    measured = {row["runner"]: row for row in document["rows"] if row["status"] == "measured"}
    assert "hf" in measured, document["rows"]
    assert all(row["capped"] and row["peak_gib"] > 0 for row in measured.values())
