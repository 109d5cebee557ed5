"""Files of an earlier version: a run stopped at step 2 of 4, its configuration and its adapter.

tests/old_run/run was written by commit e324000, before the package was laid out by the stages of
training and before runs recorded their inputs: preset tiny-cpu with train.steps=4,
prompts_per_step=2, group.teacher=1, group.self=2, max_new_tokens=80, checkpoint_every=2,
keep_checkpoints=1, eval.every=2, eval.examples=4, micro_batch_tokens=512, lora.r=1 and
lora.targets=[q_proj, v_proj]. finished_adapter.safetensors is what that commit trains without the
stop.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gft_lite import worker
from gft_lite.config import load_config
from gft_lite.runs import RunDir, damage_report, damaged_groups

OLD = Path(__file__).parents[1] / "old_run"
WEIGHTS = "adapter/adapter_model.safetensors"


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD / "run", tmp_path / "run"))


def command(*arguments: str | Path) -> str:
    words = [sys.executable, "-m", "gft_lite", *map(str, arguments)]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_it_resumes_to_the_adapter_that_the_old_code_trains(old_run: Path) -> None:
    before = load_file(old_run / WEIGHTS)
    worker.resume(old_run)
    run = RunDir(old_run)
    assert run.current()["state"] == "finished" and not damage_report(run) + damaged_groups(run)
    assert [event["step"] for event in run.events("step")] == [1, 2, 3, 4]
    expected = load_file(OLD / "finished_adapter.safetensors")
    trained = load_file(old_run / WEIGHTS)
    assert trained.keys() == expected.keys() == before.keys()
    for name, weight in expected.items():  # the same machine gives the same bits
        torch.testing.assert_close(trained[name], weight, rtol=1e-4, atol=1e-7)
    assert any(not torch.equal(before[name], trained[name]) for name in before)


@pytest.mark.slow
def test_its_report_and_its_adapter_are_read(old_run: Path) -> None:
    command("report", old_run)
    page = (old_run / "report.html").read_text(encoding="utf-8")
    assert "GFT" in page and "Traceback" not in page
    assert "stopped" in command("runs", "show", old_run)
    data = Path(__file__).parents[1] / "data_corpus" / "gsm8k.jsonl"
    evaluated = command("eval", "--adapter", old_run / "adapter", "--data", data, "--limit", "1")
    assert "greedy" in evaluated


def test_its_configuration_is_a_configuration_of_today(tmp_path: Path) -> None:
    copy = tmp_path / "config.yaml"
    shutil.copy(OLD / "run" / "config.yaml", copy)
    config = load_config(copy)
    assert (config.method.name, config.lora.r, config.train.steps) == ("gft", 1, 4)
    assert config.train.schedule == "constant"  # written down, so today's default does not apply
