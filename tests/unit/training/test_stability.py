"""Runs that get worse: noticed, ended, and kept at their best step, to the same bits on resume."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gft_lite.cli.terminal import training_progress
from gft_lite.config import RunConfig, load_config
from gft_lite.models.validation import read_record
from gft_lite.report.findings import warnings
from gft_lite.report.record import read_record as read_run
from gft_lite.runs import RunDir
from gft_lite.runs.events import StepEvent
from gft_lite.training.runaway import RunawayWatch, runaway_events
from gft_lite.training.worker import resume, train, train_iter
from gft_lite.types import ConfigError, RunError

MakeConfig = Callable[..., RunConfig]

# Steps 1 to 60 of two real runs on the embedded model (docs/log.md, 2026-11-24): entropy in nats
# per token and mean length in tokens. The longest demonstration has 52.
# fmt: off
# GFT in the paper's form at 2e-3: its own reward is below 0.1 from step 44 on
NOISE_ENTROPY = [
    0.144, 0.121, 0.13, 0.144, 0.145, 0.138, 0.113, 0.167, 0.171, 0.162, 0.209, 0.196, 0.181,
    0.22, 0.189, 0.229, 0.225, 0.25, 0.296, 0.352, 0.36, 0.338, 0.357, 0.404, 0.398, 0.339,
    0.31, 0.398, 0.276, 0.383, 0.355, 0.442, 0.364, 0.464, 0.415, 0.503, 0.614, 0.552, 0.688,
    0.718, 0.737, 0.909, 1.317, 1.873, 3.021, 4.866, 5.519, 5.606, 5.3, 4.991, 4.738, 4.234,
    3.691, 3.818, 4.187, 3.58, 4.225, 4.569, 4.781, 4.797,
]
NOISE_LENGTH = [
    17, 21, 20, 18, 24, 22, 21, 22, 26, 30, 29, 31, 32, 38, 33, 36, 36, 46, 49, 64, 60, 54,
    69, 69, 73, 50, 49, 63, 42, 53, 45, 50, 54, 53, 46, 48, 52, 44, 51, 55, 53, 59, 81, 103,
    132, 188, 192, 192, 187, 187, 177, 141, 139, 136, 130, 117, 125, 138, 133, 133,
]
# the demo's GFT run: learns
HEALTHY_ENTROPY = [
    0.144, 0.121, 0.124, 0.134, 0.136, 0.131, 0.111, 0.146, 0.136, 0.094, 0.158, 0.181, 0.159,
    0.192, 0.17, 0.14, 0.14, 0.116, 0.172, 0.13, 0.183, 0.174, 0.168, 0.158, 0.216, 0.215,
    0.226, 0.198, 0.206, 0.241, 0.196, 0.193, 0.173, 0.254, 0.197, 0.203, 0.165, 0.148, 0.209,
    0.263, 0.217, 0.239, 0.298, 0.214, 0.275, 0.275, 0.206, 0.232, 0.221, 0.223, 0.202, 0.179,
    0.165, 0.181, 0.206, 0.139, 0.152, 0.168, 0.189, 0.147,
]
HEALTHY_LENGTH = [
    17, 21, 18, 18, 21, 20, 18, 20, 19, 21, 23, 21, 22, 26, 25, 24, 24, 24, 26, 26, 27, 33,
    30, 30, 32, 33, 37, 34, 32, 38, 38, 35, 33, 40, 36, 36, 36, 34, 42, 47, 44, 47, 69, 43,
    65, 56, 48, 47, 43, 46, 44, 48, 45, 44, 45, 42, 40, 37, 44, 42,
]
# fmt: on

# --- the rule -----------------------------------------------------------------------------------


def steps(
    entropy: Sequence[float], length: Sequence[float] | None = None, longest: float = 50
) -> list[StepEvent]:
    lengths = length or [40.0] * len(entropy)
    return [
        StepEvent(
            step=i,
            entropy_nats_per_token=e,
            self_response_tokens=tokens,
            longest_demonstration_tokens=longest,
        )
        for i, (e, tokens) in enumerate(zip(entropy, lengths, strict=True), 1)
    ]


def test_entropy_that_doubles_is_reported_once() -> None:
    """Early level 0.3; the mean of the last five steps passes 0.6 at step 24."""
    events = runaway_events(steps([0.3] * 20 + [0.7] * 20))
    assert [(e.sign, e.step) for e in events] == [("entropy", 24)]
    assert events[0].early == 0.3 and events[0].current > events[0].limit == 0.6
    assert "rose from 0.30 to 0.62 nats per token" in events[0].message


@pytest.mark.parametrize(
    "entropy",
    [
        [0.3] * 20 + [1.4] + [0.3] * 20,  # one noisy step: the mean of five is 0.52
        [0.01] * 20 + [0.39] * 20,  # many times nearly nothing
        [0.3] * 40,
        [0.3] * 4 + [3.0] * 2 + [0.3] * 30,  # noise at the start does not raise the early level
        [0.3] * 13 + [float("nan")] * 5 + [0.3] * 10,
        [0.9] * 12,  # too short to have a current level
    ],
)
def test_noise_and_tiny_values_are_not_reported(entropy: list[float]) -> None:
    assert runaway_events(steps(entropy)) == []


def test_a_noisy_start_does_not_hide_a_runaway() -> None:
    entropy = [0.3] * 4 + [3.0] * 2 + [0.3] * 14 + [0.8] * 10
    assert [e.sign for e in runaway_events(steps(entropy))] == ["entropy"]


def test_length_beyond_the_longest_demonstration() -> None:
    quiet = [0.3] * 30
    events = runaway_events(steps(quiet, [40] * 15 + [90] * 15))
    assert [(e.sign, e.limit) for e in events] == [("length", 75.0)]
    assert "from 40 to 80 tokens on average, far beyond the longest demonstration (50)" in (
        events[0].message
    )
    assert runaway_events(steps(quiet, [40] * 15 + [70] * 15)) == [], "within the margin"
    assert runaway_events(steps(quiet, [80] * 15 + [95] * 15)) == [], "longer from the start"
    assert runaway_events(steps(quiet, [40] * 15 + [90] * 15, longest=0)) == [], "no demonstrations"


def test_the_rule_tells_two_real_runs_apart() -> None:
    """It warns ten steps before the reward of the one is gone, and never in the other."""
    events = runaway_events(steps(NOISE_ENTROPY, NOISE_LENGTH, longest=52))
    assert [(e.sign, e.step) for e in events] == [("entropy", 34), ("length", 45)]
    assert runaway_events(steps(HEALTHY_ENTROPY, HEALTHY_LENGTH, longest=52)) == []


def test_a_watch_that_reads_a_run_again_goes_on_the_same() -> None:
    rng = random.Random(0)
    events = steps([0.2 + 0.02 * i + rng.gauss(0, 0.05) for i in range(40)])
    whole = runaway_events(events)
    assert whole
    for cut in (3, 12, 20, 39):
        watch = RunawayWatch()
        before = [sign for event in events[:cut] for sign in watch.read(event)]
        assert before + [sign for event in events[cut:] for sign in watch.read(event)] == whole


# --- real runs ----------------------------------------------------------------------------------

WILD = (  # a reward that own samples rarely earn, and a rate that makes noise of the model
    "train.steps=40",
    "train.learning_rate=0.02",
    "train.schedule=constant",
    "eval.every=5",
    "eval.quick_examples=4",
    "group.max_new_tokens=64",
)


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunDir, list[dict[str, Any]]]]:
    """A run of GFT that runs away and ends by that, with its events."""
    path = tmp_path_factory.mktemp("wild") / "run"
    config = load_config(
        preset="tiny-cpu",
        overrides=[
            "train.prompts_per_step=3",
            "group.teacher=1",
            "group.self=3",
            "eval.examples=4",
            "eval.k=2",
            "train.checkpoint_every=7",
            "train.stop_on_runaway=true",
            "data.eval_path=embedded:old_skill_test",
            "data.retention_path=null",
            *WILD,
        ],
    )
    train(config, path)
    run = RunDir.open(path)
    yield run, list(run.events())


@pytest.mark.slow
def test_a_runaway_ends_the_run_at_its_best_adapter(
    wild: tuple[RunDir, list[dict[str, Any]]],
) -> None:
    run, events = wild
    signs = [e for e in events if e["type"] == "runaway"]
    end = events[-1]
    assert signs and end["type"] == "finished"
    assert (end["state"], end["reason"]) == ("finished", "runaway")
    assert end["step"] == signs[-1]["step"] < 40
    candidates = [e for e in events if e["type"] == "eval" and not e.get("final")]
    best = max(candidates, key=lambda e: e["target"]["greedy_accuracy"])  # the first of equals
    assert end["adapter_step"] == best["step"] < end["step"]
    record = read_record(run.adapter_dir) or {}
    assert record["best"]["step"] == best["step"] and record["best"]["last_step"] == end["step"]
    assert record["stages"][-1]["steps"] == best["step"]
    saved = load_file(run.path / "best" / f"step-{best['step']:06d}/adapter/{WEIGHTS}")
    assert same(saved, weights(run))
    final = next(e for e in events if e.get("final"))
    assert final["adapter_step"] == best["step"] and final["step"] == end["step"]


@pytest.mark.slow
def test_a_runaway_is_a_line_on_stderr_and_a_warning_of_the_report(
    wild: tuple[RunDir, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, events = wild
    sign = next(e for e in events if e["type"] == "runaway")
    with training_progress("training", 40) as show:
        show(sign)
    assert sign["message"] in " ".join(capsys.readouterr().err.split())
    record = read_run(run)
    assert sign["message"] in warnings(record)
    # the curve ends with what was measured at the last step, the headline with the adapter's
    assert record.evals[-1]["step"] == record.final["step"] and "final" not in record.evals[-1]
    assert record.last_eval is record.final


@pytest.mark.slow
def test_a_run_that_ended_by_runaway_resumes_to_its_end_only(
    wild: tuple[RunDir, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """Killed between the last checkpoint and the adapter: nothing is trained on."""
    run, events = wild
    shutil.copytree(run.path, tmp_path / "run")
    again = RunDir(tmp_path / "run")
    shutil.rmtree(again.adapter_dir)
    again.set_status("failed", step=events[-1]["step"], steps=40)
    result = resume(again.path)
    assert (result.reason, result.adapter_step) == ("runaway", events[-1]["adapter_step"])
    assert same(weights(again), weights(run))


WEIGHTS = "adapter_model.safetensors"


def weights(run: RunDir) -> dict[str, Tensor]:
    return load_file(run.adapter_dir / WEIGHTS)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def rising(tmp_path: Path, small_config: MakeConfig, *more: str) -> RunConfig:
    """A run that learns to answer "x x x": accuracy rises in steps and falls at the end."""
    things = ("cats", "dogs", "apples", "seven", "a name", "your age", "3 + 4", "nothing")
    asked = [
        f"Say {thing}." if i % 2 else f"Tom has {i + 2} {thing}. How many?"
        for i, thing in enumerate(things)
    ]
    files = {"train": ["Say one.", "Say two."], "held": asked}
    for name, prompts in files.items():
        rows = [json.dumps({"prompt": p, "expert": "x x x", "answer": "x x x"}) for p in prompts]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return small_config(
        "method=sft", "reward=exact", "data.retention_path=null",
        f"data.path={tmp_path}/train.jsonl", f"data.eval_path={tmp_path}/held.jsonl",
        "train.steps=10", "train.learning_rate=0.005", "train.schedule=constant",
        "train.prompts_per_step=2", "train.checkpoint_every=3", "train.keep_best=true",
        "eval.every=2", "eval.quick_examples=8", "eval.examples=8", "eval.k=1",
        "group.max_new_tokens=16", *more,
    )  # fmt: skip


@pytest.mark.slow
def test_keep_best_keeps_the_earliest_of_the_best_steps(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    result = train(rising(tmp_path, small_config), tmp_path / "run")
    events = list(RunDir(result.run_dir).events("eval"))
    quick = [e for e in events if not e.get("final")]
    assert [e["step"] for e in quick] == [0, 2, 4, 6, 8, 10]
    accuracies = [e["target"]["greedy_accuracy"] for e in quick]
    earliest = quick[accuracies.index(max(accuracies))]["step"]
    assert 0 < earliest < 10, "the test needs a run that is best in between"
    assert result.adapter_step == earliest and result.steps == 10 and result.reason == "steps"
    # eval.examples is the same eight prompts, so the final figure is that of the best step
    assert result.metrics["target"]["greedy_accuracy"] == max(accuracies)
    assert [e["step"] for e in RunDir(result.run_dir).events("best")] == [
        e["step"] for i, e in enumerate(quick)
        if accuracies[i] > max(accuracies[:i], default=-1.0)
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "killed_after",
    [
        ("eval", 4),
        ("best", 8),
        ("step", 9),
        ("eval", 10),
    ],
)
def test_keep_best_is_exact_under_kill_and_resume(
    small_config: MakeConfig, tmp_path: Path, killed_after: tuple[str, int]
) -> None:
    config = rising(tmp_path, small_config)
    whole = train(config, tmp_path / "whole")
    run = RunDir(tmp_path / "killed")
    events = train_iter(config, run.path)
    for event in events:
        if (event["type"], event["step"]) == killed_after:
            break
    events.close()
    again = resume(run.path)
    assert again.adapter_step == whole.adapter_step
    assert same(weights(run), weights(RunDir(whole.run_dir)))
    assert curve(run) == curve(RunDir(whole.run_dir))


@pytest.mark.slow
def test_the_best_so_far_survives_a_resume_that_trains_no_further(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    """A best of after the checkpoint is forgotten; the one before is still on disk."""
    config = rising(tmp_path, small_config)
    run = RunDir(tmp_path / "run")
    events = train_iter(config, run.path)
    for event in events:
        if event["type"] == "checkpoint" and event["step"] == 9:
            break
    events.close()
    assert [e["step"] for e in run.events("best")][-1] > 6, "the test needs a best to forget"
    best_by_6 = max(
        (e for e in run.events("eval") if e["step"] <= 6),
        key=lambda e: e["target"]["greedy_accuracy"],
    )
    assert [c.name for c in run.checkpoints()] == ["step-000006", "step-000009"]
    shutil.rmtree(run.checkpoints()[-1])
    resume(run.path, on_event=lambda e: run.request_stop() if e["type"] == "started" else None)
    assert run.status()["state"] == "stopped"
    record = read_record(run.adapter_dir) or {}
    assert record["best"]["step"] == best_by_6["step"]


@pytest.mark.slow
def test_a_missing_best_is_a_sentence(small_config: MakeConfig, tmp_path: Path) -> None:
    config = rising(tmp_path, small_config)
    run = RunDir(tmp_path / "run")
    events = train_iter(config, run.path)
    for event in events:
        if (event["type"], event["step"]) == ("checkpoint", 10):
            break
    events.close()
    shutil.rmtree(run.path / "best")
    with pytest.raises(RunError, match="the run's best adapter and cannot be used: it is missing"):
        resume(run.path)


def curve(run: RunDir) -> list[tuple[int, float, float]]:
    return [
        (e["step"], e["target"]["greedy_accuracy"], e["entropy_nats_per_token"])
        for e in run.events("eval")
    ]


@pytest.mark.parametrize("name", ["keep_best", "stop_on_runaway"])
@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        (("data.eval_path=null", "eval.every=5"), "set data.eval_path to a held-out file"),
        (("eval.every=0",), "set eval.every to a number of steps"),
    ],
)
def test_keeping_the_best_needs_evaluations(
    small_config: MakeConfig, name: str, settings: tuple[str, ...], missing: str
) -> None:
    with pytest.raises(ConfigError, match=f"train.{name} keeps the adapter .*{missing}"):
        small_config(f"train.{name}=true", *settings)


# --- entropy ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "dft", "grpo", "gft"])
def test_every_method_measures_the_same_entropy(
    small_config: MakeConfig, tmp_path: Path, method: str
) -> None:
    """Before the first step all methods have the same model, so the same entropy; a step event has
    one only if the step trained on self responses."""
    config = small_config(
        f"method={method}", "train.steps=2", "eval.every=1", "eval.quick_examples=3"
    )
    train(config, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    evals = list(run.events("eval"))
    assert [e["step"] for e in evals] == [0, 1, 2]
    assert all(e["entropy_nats_per_token"] > 0 for e in evals)
    assert evals[0]["entropy_nats_per_token"] == pytest.approx(base_entropy(config), rel=1e-5)
    for event in run.events("step"):
        if "entropy_nats_per_token" in event:
            assert "self" in config.method.sources and event["self_response_tokens"] > 0
    if method in ("sft", "dft"):
        assert not any("entropy_nats_per_token" in e for e in run.events("step"))


def base_entropy(config: RunConfig) -> float:
    """Entropy of the base on its own samples at the training temperature, by plain arithmetic."""
    from gft_lite.models import Sampling, load_policy
    from gft_lite.preflight.inputs import validate_inputs

    prepared = validate_inputs(config)
    prepared.scorer.close()
    policy = load_policy(config.model, config.lora, seed=0)
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(e.prompt) for e in prepared.eval_examples[:3]]
    torch.manual_seed(config.train.seed)
    drawn = policy.generate(prompts, Sampling(config.group.max_new_tokens, temperature=1.0), 128)
    total, tokens = 0.0, 0
    with torch.no_grad():
        for prompt, answer in zip(prompts, drawn, strict=True):
            ids = torch.tensor([[*prompt, *answer.token_ids]])
            logits = policy.model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
            logps = logits.log_softmax(-1)
            total -= float((logps.exp() * logps).sum())
            tokens += len(answer.token_ids)
    return total / tokens
