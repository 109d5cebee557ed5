"""The Unsloth backend, on its CPU path: the protocol's suite, hf's numbers, a run of the worker.

Importing Unsloth patches transformers, PEFT and TRL for the whole process, so every test here
starts one. Where Unsloth is missing they are skipped; with GFT_LITE_NEED_UNSLOTH=1 (CI) they fail.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from gft_lite.assets import MODEL_DIR
from gft_lite.models.unsloth import INSTEAD

NEEDED = "GFT_LITE_NEED_UNSLOTH"
INSTALL = "pip install --no-deps -r requirements-unsloth-cpu.txt"
TESTS = Path(__file__).parents[2]
LOGPS_ATOL = 1e-5  # nats
GRADIENT_RTOL = 1e-4  # of the largest entry of its tensor
SMALL = (
    "train.steps=3 train.prompts_per_step=3 group.teacher=1 group.self=3 "
    "group.max_new_tokens=48 eval.examples=2 eval.k=1"
).split()


@pytest.fixture
def unsloth() -> None:
    if find_spec("unsloth") and find_spec("unsloth_zoo"):
        return
    if os.environ.get(NEEDED):
        pytest.fail(f"{NEEDED} is set but Unsloth is not installed: {INSTALL}")
    pytest.skip(f"Unsloth is not installed: {INSTALL}")


def python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def train(folder: Path, backend: str, *more: str, **environment: str) -> Any:
    overrides = [f"--set={text}" for text in (*SMALL, f"model.backend={backend}", *more)]
    arguments = ("train", "--preset", "tiny-cpu", "--json", "--out", f"run-{backend}", *overrides)
    return python("-m", "gft_lite", *arguments, cwd=folder, **environment)


def steps(folder: Path, backend: str) -> list[dict[str, Any]]:
    lines = (folder / f"run-{backend}" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == "step"]


@pytest.mark.slow
def test_the_protocols_suite_is_green(unsloth: None, tmp_path: Path) -> None:
    ran = python(
        *("-m", "pytest", "-p", "no:cacheprovider", "--backend", "unsloth"),
        str(TESTS / "unit" / "models" / "test_models.py"),
        cwd=TESTS.parent,
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert "skipped" not in ran.stdout


@pytest.mark.slow
def test_numbers_are_those_of_hf(unsloth: None, tmp_path: Path) -> None:
    """Log-probs within 1e-5 nats, gradients within 1e-4 of their largest entry, same answers."""
    found = {}
    for backend in ("hf", "unsloth"):
        ran = python(str(TESTS / "backend_numbers.py"), backend, f"{backend}.pt", cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr[-2000:]
        found[backend] = torch.load(tmp_path / f"{backend}.pt")
    for held in ("dense", "nf4"):
        hf, ours = found["hf"][held], found["unsloth"][held]
        for name in ("log-probs", "reference"):
            assert torch.allclose(hf[name], ours[name], rtol=0, atol=LOGPS_ATOL), (held, name)
        assert torch.equal(ours["reference before"], ours["base"])
        assert torch.equal(ours["reference"], ours["base"])
        assert all(map(torch.equal, ours["gradient before"], ours["gradient"]))
        assert not torch.allclose(hf["log-probs"], hf["reference"], atol=0.01)
        assert len(hf["gradient"]) == len(ours["gradient"]) > 0
        for one, other in zip(hf["gradient"], ours["gradient"], strict=True):
            assert one.abs().max() > 0
            assert (one - other).abs().max() <= GRADIENT_RTOL * one.abs().max()
        for name in ("fresh adapter", "answers"):
            assert all(map(torch.equal, hf[name], ours[name])), (held, name)


@pytest.mark.slow
def test_a_run_of_the_worker_gives_hfs_numbers_and_keeps_to_its_folder(
    unsloth: None, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    ran = train(tmp_path, "unsloth", XDG_CACHE_HOME=str(cache))
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert json.loads(ran.stdout)["state"] == "finished"  # nothing else on stdout
    assert "unsloth backend (chosen in model.backend" in ran.stderr
    assert {p.name for p in tmp_path.iterdir()} <= {"run-unsloth", "cache"}
    assert train(tmp_path, "hf").returncode == 0
    pairs = list(zip(steps(tmp_path, "hf"), steps(tmp_path, "unsloth"), strict=True))
    assert len(pairs) == 3
    for hf, ours in pairs:
        for name in ("loss", "grad_norm", "reward_self", "entropy_nats_per_token"):
            assert ours[name] == pytest.approx(hf[name], rel=1e-4, abs=1e-6), name
        assert ours["response_tokens"] == hf["response_tokens"]
        assert ours["grad_norm"] > 0


@pytest.mark.slow
def test_unsloth_comes_before_transformers_and_keeps_quiet(unsloth: None, tmp_path: Path) -> None:
    """Also with its statistics off, its compiler in our cache, and our tokenizer left alone; and a
    float16 that it would silently turn into another type is refused."""
    code = """
import os, sys, torch
from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.models import load_policy
from gft_lite.types import ModelError
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("unsloth.") and self in sys.meta_path:
            sys.meta_path.remove(self)
            early = {"transformers", "peft", "trl"} & set(sys.modules)
            assert not early, early
            assert os.environ["UNSLOTH_DISABLE_STATISTICS"] == "1"
            assert os.path.isabs(os.environ["UNSLOTH_COMPILE_LOCATION"])
            print("first", file=sys.stderr)
sys.meta_path.insert(0, Watch())
policy = load_policy(ModelConfig(backend="unsloth"), LoraConfig())
side = policy.tokenizer.padding_side
policy.train_mode()
assert policy.model.training and policy.tokenizer.padding_side == side
policy.sample_mode()
assert not policy.model.training and policy.tokenizer.padding_side == side
assert all(p.dtype is torch.float32 for p in policy.parameters())
try:
    load_policy(ModelConfig(backend="unsloth", dtype="float16"), None)
except ModelError as error:
    print(error)
"""
    ran = python("-c", code, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "first" in ran.stderr
    assert "not float16" in ran.stdout and ran.stdout.count("\n") == 1 and INSTEAD in ran.stdout
    assert list(tmp_path.iterdir()) == []


# --- bad input ---


@pytest.mark.slow
def test_a_family_that_it_does_not_know_is_one_line(unsloth: None, tmp_path: Path) -> None:
    """T5 is an encoder with a decoder: no causal language model for Unsloth's CPU path."""
    for file in MODEL_DIR.iterdir():
        shutil.copy(file, tmp_path)
    config = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    more = (f"model.name={tmp_path}", "data.path=embedded:target_train")
    ran = train(tmp_path, "unsloth", *more)
    assert ran.returncode == 2, ran.stderr[-2000:]
    last = ran.stderr.strip().splitlines()[-1]
    assert "family 't5'" in last and "--set model.backend=hf" in last


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "told"),
    [("2025.1.1", "is older than 2026.10.9"), (None, "cannot be imported (ImportError: no triton")],
)
def test_an_old_or_broken_unsloth_is_one_line(
    version: str | None, told: str, tmp_path: Path
) -> None:
    """A package of that name before any other on the path: too old, or one that cannot start."""
    for module, package in (("unsloth", "unsloth"), ("unsloth_zoo", "unsloth_zoo")):
        (tmp_path / "lib" / module).mkdir(parents=True)
        (tmp_path / "lib" / module / "__init__.py").write_text("raise ImportError('no triton')\n")
        info = tmp_path / "lib" / f"{package}-9.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version or '2026.10.9'}\n"
        )
    path = os.pathsep.join([str(tmp_path / "lib"), str(TESTS.parent)])
    ran = train(tmp_path, "unsloth", PYTHONPATH=path)
    assert ran.returncode == 2, ran.stderr[-2000:]
    last = ran.stderr.strip().splitlines()[-1]
    assert told in last and "pip install -U" in last and INSTEAD in last
    assert "Traceback" not in ran.stderr
