"""Runs in stages: what is refused, what each stage starts from, stop and resume, and the report."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from gft_lite.adapters import adapter_folder
from gft_lite.config import RunConfig, load_config, method_names, stages_of, total_steps
from gft_lite.report import write_run_report
from gft_lite.runs import RunDir
from gft_lite.training.worker import resume, train, train_iter
from gft_lite.types import ConfigError, InputError, RunError

FEW = (
    "train.steps=2",
    "train.prompts_per_step=2",
    "group.self=2",
    "group.teacher=1",
    "group.max_new_tokens=48",
    "eval.examples=2",
    "eval.k=2",
    "train.log_kl_every=0",
)
THREE = "stages=[sft, {method: gft, model: {reference: start}, train: {steps: 3}}, grpo]"


@pytest.fixture
def three() -> RunConfig:
    return load_config(preset="tiny-cpu", overrides=[*FEW, THREE])


def without_time(event: dict[str, Any]) -> dict[str, Any]:
    """What must be equal between two runs of the same numbers."""
    return {
        key: value
        for key, value in event.items()
        if not key.endswith("seconds")
        and key not in ("time", "tokens_per_second", "resumed")
        and not key.startswith("peak_memory")
    }


# --- configuration ------------------------------------------------------------------------------


def test_a_stage_is_the_rest_of_the_file_with_its_differences(three: RunConfig) -> None:
    first, second, third = stages_of(three, Path("runs/x"))
    assert [s.name for s in (first, second, third)] == [
        "stage-1-sft",
        "stage-2-gft",
        "stage-3-grpo",
    ]
    assert first.config.model.adapter is None
    assert second.config.model.adapter == str(Path("runs/x/stage-1-sft/adapter"))
    assert third.config.model.adapter == str(Path("runs/x/stage-2-gft/adapter"))
    assert [s.config.model.reference for s in (first, second, third)] == ["base", "start", "base"]
    assert [s.config.train.steps for s in (first, second, third)] == [2, 3, 2]
    assert [s.config.train.seed for s in (first, second, third)] == [0, 1000, 2000]
    assert all(s.config.stages is None and s.config.eval.k == 2 for s in (first, second, third))
    assert (total_steps(three), method_names(three)) == (7, "sft-gft-grpo")


def test_stages_survive_the_file_and_are_changed_by_number(
    three: RunConfig, tmp_path: Path
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(three.to_yaml())
    assert load_config(file) == three
    more = load_config(file, overrides=["stages.2.train.steps=9", "stages.1.train.seed=5"])
    assert [s.config.train.steps for s in stages_of(more)] == [2, 9, 2]
    assert [s.config.train.seed for s in stages_of(more)] == [5, 1000, 2000]


def test_a_first_stage_may_continue_an_adapter() -> None:
    config = load_config(
        overrides=["model.adapter=old", "model.reference=start", "stages=[sft, gft]"]
    )
    first, second = stages_of(config)
    assert first.config.model.adapter == "old" and second.config.model.reference == "start"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["stages=[]"], r"stages: give a list of at least one stage.*got \[\]"),
        (["stages=sft"], r"stages: give a list of at least one stage.*got 'sft'"),
        (["stages=[sft, 3]"], r"stages\.2: give a method name or sections like `train:` \(got 3\)"),
        (["stages=[{trian: {}}]"], r"stages\.1: unknown key 'trian'; did you mean 'train'"),
        (["stages=[sft, {train: {step: 3}}]"], r"stages\.2: unknown key 'train\.step'.*'steps'"),
        (["stages=[sft, gtf]"], r"stages\.2: unknown method 'gtf'; did you mean 'gft'"),
        (["stages=[{train: 3}]"], r"stages\.1: train: expected keys below it"),
        (
            ["stages=[{model: {reference: start}}, gft]"],
            r"stages\.1: model\.reference is 'start' but model\.adapter names no adapter",
        ),
        (["stages=[sft, {lora: {r: 4}}]"], r"stages\.2: lora cannot differ between stages"),
        (["stages=[sft, {model: {adapter: x}}]"], r"stages\.2: model\.adapter cannot differ"),
        (["stages=[sft, {stages: [gft]}]"], r"stages\.2: stages cannot differ"),
        (
            ["stages=[sft, {train: {warmup_steps: 999}}]"],
            r"stages\.2: train\.warmup_steps is larger",
        ),
        (["stages=[sft]", "stages.2.train.steps=3"], r"stages\.2: there is no such stage"),
        (["stages.1.train.steps=3"], r"stages\.1: there is no such stage; no stages are listed"),
    ],
)
def test_one_sentence_names_stage_and_key(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        stages_of(load_config(overrides=overrides))


def test_every_stage_is_checked_before_the_first_begins(tmp_path: Path) -> None:
    """In a process that never loads torch; nothing is left behind."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "1 + 1?", "answer": "2"}\n')
    script = (
        "import sys\n"
        "from gft_lite.config import load_config\n"
        "from gft_lite.types import InputError\n"
        "from gft_lite.worker import train\n"
        "for stages in ('[grpo, sft]', '[grpo, {method: gft, group: {self: 0}}]'):\n"
        "    try:\n"
        f"        train(load_config(overrides=['data.path={rows}', 'stages=' + stages]), 'out')\n"
        "    except InputError as error:\n"
        "        print(error)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'heavy import'\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    no_expert, no_contrast = ran.stdout.splitlines()
    assert no_expert.startswith(f"stages.2 (sft): {rows}: method 'sft' trains on expert responses")
    assert "stages.2 (gft): method 'gft' compares responses" in no_contrast
    assert "raise group.self" in no_contrast
    assert not (tmp_path / "out").exists()


# --- training -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pipeline_is_its_stages_run_by_hand_one_after_the_other(
    three: RunConfig, tmp_path: Path
) -> None:
    """Same adapter, bit for bit; one run directory over all; a record that lists the stages."""
    told = list(train_iter(three, tmp_path / "all"))
    run = RunDir(tmp_path / "all")
    for stage in stages_of(three, tmp_path / "hand"):
        train(stage.config, tmp_path / "hand" / stage.name)
    by_hand = tmp_path / "hand" / "stage-3-grpo" / "adapter" / "adapter_model.safetensors"
    assert (run.adapter_dir / "adapter_model.safetensors").read_bytes() == by_hand.read_bytes()

    assert run.status()["state"] == "finished"
    assert (run.status()["step"], run.status()["steps"]) == (7, 7)
    assert [e["step"] for e in run.events("step")] == [1, 2, 3, 4, 5, 6, 7]
    assert [e["stage"] for e in run.events("step")] == [1, 1, 2, 2, 2, 3, 3]
    kept = list(run.events())
    assert [e["type"] for e in kept] == [e["type"] for e in told]
    assert [e["type"] for e in kept].count("stage_finished") == 3
    assert kept[-1]["type"] == "finished" and kept[-1]["metrics"]["target"]["n"] == 2
    assert run.group_steps() == [1, 2, 3, 4, 5, 6, 7]
    assert run.read_groups(4) == RunDir(run.path / "stage-2-gft").read_groups(2)

    record = json.loads((run.adapter_dir / "gft_lite.json").read_text())
    stages = record["stages"]
    assert [(s["method"], s["steps"], s["reference"]) for s in stages] == [
        ("sft", 2, "base"),
        ("gft", 3, "start"),
        ("grpo", 2, "base"),
    ]
    assert stages[1]["started_from"] and stages[1]["started_from"] != stages[2]["started_from"]
    assert record["metrics"] == kept[-1]["metrics"]
    assert adapter_folder(run.path) == run.adapter_dir

    page = write_run_report(run).read_text(encoding="utf-8")
    assert "SFT → GFT → GRPO" in page and "The stages of this run" in page
    assert all(f"Settings of {s.name}" in page for s in stages_of(three))
    with pytest.raises(RunError, match="finished; nothing is left to do"):
        resume(run.path)


@pytest.mark.slow
@pytest.mark.parametrize("last_step", [1, 2, 4], ids=["first", "between", "second"])
def test_stopped_anywhere_and_resumed_to_the_same_numbers(
    last_step: int, small_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = small_config(
        *FEW, "stages=[sft, {method: gft, train: {steps: 3}}]", "data.eval_path=null"
    )
    whole = RunDir(train(config, tmp_path / "whole").run_dir)

    def stop(event: dict[str, Any]) -> None:
        if event["type"] == "step" and event["step"] == last_step:
            RunDir(tmp_path / "cut").request_stop()

    cut = train(config, tmp_path / "cut", on_event=stop)
    assert (cut.state, cut.steps) == ("stopped", last_step)
    run = RunDir(cut.run_dir)
    assert run.status()["state"] == "stopped" and not run.stop_file.exists()
    assert not run.adapter_dir.exists(), "a pipeline's adapter is the last stage's"
    done = resume(run.path)
    assert (done.state, done.steps) == ("finished", 5)
    assert run.status()["state"] == "finished" and len(list(run.events("finished"))) == 1
    steps, wanted = ([without_time(e) for e in r.events("step")] for r in (run, whole))
    assert steps == wanted
    got, of_whole = (load_file(r.adapter_dir / "adapter_model.safetensors") for r in (run, whole))
    assert all((got[name] == of_whole[name]).all() for name in of_whole)


@pytest.mark.slow
def test_a_stage_whose_end_was_not_written_down_is_continued(
    small_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """As a version left it that was killed between a stage's status and its last event."""
    config = small_config(*FEW, "stages=[sft, dft]", "data.eval_path=null")
    run = RunDir(train(config, tmp_path / "run").run_dir)
    weights = (run.adapter_dir / "adapter_model.safetensors").read_bytes()
    first, second = run.stages()
    assert first.status()["state"] == "finished"
    lines = first.events_file.read_text().splitlines(keepends=True)
    first.events_file.write_text("".join(line for line in lines if '"finished"' not in line))
    run.set_status("stopped", step=2, steps=4)
    for folder in (second.path, run.adapter_dir):
        shutil.rmtree(folder)
    assert resume(run.path).state == "finished"
    assert len(list(run.events("stage_finished"))) == 2
    assert (run.adapter_dir / "adapter_model.safetensors").read_bytes() == weights


def test_a_stage_that_breaks_is_told_by_stage_and_pipeline(
    small_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """The second stage's prompts are too long, which only the tokenizer can tell."""
    config = small_config(
        *FEW, "stages=[sft, {method: sft, data: {max_prompt_tokens: 8}}]", "data.eval_path=null"
    )
    with pytest.raises(InputError, match="the limit is 8"):
        train(config, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    assert run.status()["state"] == "failed" and "the limit is 8" in run.status()["message"]
    assert [stage.status()["state"] for stage in run.stages()] == ["finished", "failed"]
    assert "failed" in [e["type"] for e in run.events()]


# --- token budget -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_token_budget_ends_the_run_with_the_step_that_reaches_it(
    small_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = small_config("method=sft", "train.steps=9", "data.eval_path=null")
    free = [
        e["trained_tokens"] for e in RunDir(train(config, tmp_path / "a").run_dir).events("step")
    ]
    budget = sum(free[:3]) + 1
    held = small_config(
        "method=sft", "train.steps=9", "data.eval_path=null", f"train.max_tokens={budget}"
    )

    def stop(event: dict[str, Any]) -> None:
        if event["type"] == "step" and event["step"] == 2:
            RunDir(tmp_path / "b").request_stop()

    assert train(held, tmp_path / "b", on_event=stop).steps == 2
    result = resume(tmp_path / "b")
    assert (result.state, result.steps) == ("finished", 4), "counted across the interruption"
    assert [e["trained_tokens"] for e in RunDir(tmp_path / "b").events("step")] == free[:4]
    assert result.adapter.is_dir()
