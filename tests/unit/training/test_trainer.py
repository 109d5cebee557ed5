"""The loop on the real embedded model: gradients do not depend on batching, runs resume to the same
bits, and what happened is written down."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from samples import sampled
from torch import Tensor
from trainer_maker import gradient_of_a_step, make_trainer

from gft_lite.config import RunConfig
from gft_lite.methods import METHODS, LossInputs
from gft_lite.models.batching import collate
from gft_lite.runs import RunDir
from gft_lite.training.likelihood import mean_logps
from gft_lite.training.optimizer import learning_rate
from gft_lite.training.worker import resume, train, train_iter
from gft_lite.types import InputError, ModelError, RunError

MakeConfig = Callable[..., RunConfig]


@pytest.mark.parametrize("method", sampled(METHODS, {"sft", "psft"}))
def test_micro_batches_of_one_equal_one_batch(
    small_config: MakeConfig, tmp_path: Path, method: str
) -> None:
    base = [f"method.name={method}", "train.prompts_per_step=8"]
    if method in ("grpo", "luffy", "chord"):  # a reward with contrast among self responses
        base += ["reward=length", "reward.max_chars=20"]
    one, _ = gradient_of_a_step(
        small_config(*base, "train.micro_batch_tokens=16"), tmp_path / "one"
    )
    all_, _ = gradient_of_a_step(
        small_config(*base, "train.micro_batch_tokens=1000000"), tmp_path / "all"
    )
    assert all_.norm() > 0
    assert (one - all_).norm() <= 1e-5 * all_.norm()


@pytest.mark.parametrize("method", sampled(METHODS, {"sft", "asft", "psft", "gft"}))
def test_one_pass_gives_the_gradient_of_autograd(
    small_config: MakeConfig, tmp_path: Path, method: str
) -> None:
    """The step's gradient equals that of the method's own loss on padded (B, T) log-probs, left to
    autograd through all logits."""
    settings = [f"method.name={method}", "train.updates_per_rollout=2"]
    if method in ("grpo", "luffy", "chord"):
        settings += ["reward=length", "reward.max_chars=20"]
    config = small_config(*settings)
    caught, trainer = gradient_of_a_step(config, tmp_path / "run")
    policy, rule = trainer.policy, trainer.method
    sequences = trainer.rollout.draw(0)[0].sequences
    batch = collate(sequences, policy.tokenizer.pad_token_id)
    policy.train_mode()
    with policy.reference():
        ref_states = policy.response_states(batch) if rule.needs_ref_kl else None
    stats = policy.token_logps(batch, ref_states)
    own = batch.own.unsqueeze(-1)
    loss = rule.loss(
        config.method,
        LossInputs(
            stats.logps, batch.advantages.unsqueeze(-1), own, None, batch.old_logps, stats.ref_kl
        ),
    )
    apart = (batch.mask & own).sum(), (batch.mask & ~own).sum()
    counts = torch.where(own, *apart) if rule.separate_means else batch.mask.sum()
    (loss * batch.mask / counts).sum().backward()
    wanted = torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None])
    assert wanted.norm() > 0
    assert (caught - wanted).norm() <= 1e-5 * wanted.norm()


@pytest.mark.slow
def test_skipping_zero_advantages_is_exact(small_config: MakeConfig, tmp_path: Path) -> None:
    """The step's gradient equals the literal formula over *all* responses, skipped ones included:
    −Σ A·C(π)·log π ÷ (number of all response tokens)."""
    config = small_config("train.prompts_per_step=8", "group.teacher=0", "group.expert=1")
    caught, trainer = gradient_of_a_step(config, tmp_path / "run")
    policy = trainer.policy
    data = trainer.rollout.draw(0)[0]
    built, sequences = data.built, data.sequences
    assert any(s.advantage == 0 for s in sequences), "the test needs a degenerate group"
    assert any(s.advantage != 0 for s in sequences)
    batch = collate(sequences, policy.tokenizer.pad_token_id)
    policy.train_mode()
    logps = policy.token_logps(batch).logps
    probs = logps.detach().exp()
    weights = torch.where(probs < config.method.tau, probs, 1.0) * batch.advantages[:, None]
    loss = -(weights * logps * batch.mask).sum() / batch.mask.sum()
    loss.backward()
    wanted = torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None])
    assert (caught - wanted).norm() <= 1e-5 * wanted.norm()
    assert len(built.groups) == 8


def test_a_step_without_contrast_changes_nothing(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config("reward=length", "reward.max_chars=100000")
    trainer = make_trainer(config, tmp_path / "run")
    before = [p.detach().clone() for p in trainer.parameters]
    event = trainer.train_step()
    assert event.degenerate_groups == event.groups == 3
    assert event.trained_responses == 0 and event.skipped_update == 1
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.parameters, strict=True))


def _weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def _figures(run: Path) -> list[tuple[int, float, float]]:
    return [(e["step"], e["loss"], e["grad_norm"]) for e in RunDir(run).events("step")]


@pytest.mark.slow
@pytest.mark.parametrize("updates", [1, 2])
def test_a_killed_run_resumes_to_the_same_bits(
    small_config: MakeConfig, tmp_path: Path, updates: int
) -> None:
    config = small_config(
        f"train.updates_per_rollout={updates}", "method.name=gft", "data.eval_path=null"
    )
    train(config, tmp_path / "whole")
    events = train_iter(config, tmp_path / "killed")
    for event in events:
        if event["type"] == "step" and event["step"] == 3:
            break
    events.close()
    assert [c.name for c in RunDir(tmp_path / "killed").checkpoints()] == ["step-000002"]
    resume(tmp_path / "killed")
    assert _figures(tmp_path / "killed") == _figures(tmp_path / "whole")
    whole, again = _weights(tmp_path / "whole"), _weights(tmp_path / "killed")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_checkpoint_that_falls_due_within_a_rollout_waits_for_its_end(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config(
        "method=sft",
        "train.steps=6",
        "train.updates_per_rollout=2",
        "train.checkpoint_every=3",
        "train.keep_checkpoints=9",
        "data.eval_path=null",
    )
    train(config, tmp_path / "run")
    assert [c.name for c in RunDir(tmp_path / "run").checkpoints()] == [
        "step-000004",
        "step-000006",
    ]


def test_stop_writes_a_checkpoint_and_resume_finishes(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config("train.checkpoint_every=0", "method=sft", "data.eval_path=null")
    run = RunDir(tmp_path / "run")
    seen = []
    for event in train_iter(config, run.path):
        seen.append(event["type"])
        if event["type"] == "step" and event["step"] == 2:
            run.request_stop()
    assert seen[-3:] == ["checkpoint", "stopped", "finished"]
    assert run.status()["state"] == "stopped" and run.status()["step"] == 2
    assert resume(run.path).state == "finished"
    assert [e["step"] for e in run.events("step")] == [1, 2, 3, 4]
    with pytest.raises(RunError, match="finished"):
        resume(run.path)


@pytest.mark.slow
def test_what_a_gft_run_writes_down(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config("train.steps=2", "eval.every=1")
    result = train(config, tmp_path / "run")
    run = RunDir.open(tmp_path / "run")
    step = next(run.events("step"))
    for key in (
        "loss reward_expert reward_teacher reward_self advantage_spread degenerate_groups "
        "entropy_nats_per_token grad_norm self_response_tokens truncated rollout_seconds "
        "scoring_seconds train_seconds tokens_per_second peak_memory_gib learning_rate"
    ).split():
        assert key in step, key
    assert [e["step"] for e in run.events("eval")] == [0, 1, 2]
    final = list(run.events("eval"))[-1]
    assert final["target"]["k"] == 2 and "drift" in final and "old_skill" in final
    assert result.metrics["target"] == final["target"]
    assert run.status()["state"] == "finished"
    assert run.group_steps() == [1, 2]
    group = run.read_groups(1)[0]
    assert [r["source"] for r in group["responses"]] == ["expert", "teacher"] + ["self"] * 3
    trained = [r for g in run.read_groups(1) for r in g["responses"] if r["advantage"]]
    assert trained, "some response of the step has an advantage"
    tau = config.method.tau
    for r in trained:
        assert len(r["tokens"]) == len(r["probs"]) == len(r["weights"])
        for p, w in zip(r["probs"], r["weights"], strict=True):
            assert w == pytest.approx(p if p < tau else 1.0, abs=2e-4)
    json.dumps(step)


def test_grpo_ratio_starts_at_one_and_moves(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config(
        "method.name=grpo",
        "reward=length",
        "reward.max_chars=20",
        "train.updates_per_rollout=2",
        "train.learning_rate=0.003",
    )
    trainer = make_trainer(config, tmp_path / "run")
    trainer._pending = trainer.rollout.draw(0)
    later = trainer._pending[1].sequences
    assert all(s.old_logps is not None and len(s.old_logps) == len(s.response_ids) for s in later)
    batch = collate(later, 0)
    assert batch.old_logps is not None
    with torch.no_grad():
        same = trainer.policy.token_logps(batch).logps - batch.old_logps
    assert (same * batch.mask).abs().max() < 1e-4
    trainer.train_step()
    with torch.no_grad():
        moved = trainer.policy.token_logps(batch).logps - batch.old_logps
    assert (moved * batch.mask).abs().max() > 1e-3


def test_4bit_run_trains_on_cpu(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config(
        "model.load_in_4bit=true", "train.steps=6", "method=sft", "data.eval_path=null",
        "train.learning_rate=0.005", "data.limit=3",
    )  # fmt: skip
    train(config, tmp_path / "run")
    losses = [e["loss"] for e in RunDir(tmp_path / "run").events("step")]
    assert losses[-1] < 0.8 * losses[0]


def test_failures_are_recorded_and_told_to_whoever_tries_again(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config("data.max_prompt_tokens=8")  # counted once the tokenizer is there
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            train(config, tmp_path / "run" / "x")
    said = str(caught.value)
    assert "already holds a run, which failed (embedded:target_train, row 1: the prompt has" in said
    assert "Choose another --out, delete the folder to begin again in it, or continue" in said
    assert said.count("\n") == 0
    run = RunDir(tmp_path / "run" / "x")
    assert run.status()["state"] == "failed"
    assert "the limit is 8; raise data.max_prompt_tokens" in run.status()["message"]
    assert "Traceback" in run.log_file.read_text()


@pytest.mark.parametrize("stages", [(), ("stages=[sft, gft]",)], ids=["run", "pipeline"])
def test_a_model_that_cannot_load_takes_no_folder(
    small_config: MakeConfig, tmp_path: Path, stages: tuple[str, ...]
) -> None:
    """The same command, with the same folder, works once the model is mended."""
    config = small_config(f"model.name={tmp_path}", *stages)
    with pytest.raises(ModelError, match="not a model folder"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_learning_rate_shapes(small_config: MakeConfig) -> None:
    def rates(*overrides: str) -> list[float]:
        config = small_config("train.steps=8", "train.learning_rate=1.0", *overrides).train
        return [round(learning_rate(i, config), 4) for i in range(8)]

    assert rates() == [1 - i / 8 for i in range(8)], "linear is the default"
    assert rates("train.warmup_steps=4")[:6] == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75]
    assert rates("train.schedule=constant") == [1.0] * 8
    assert rates("train.schedule=cosine")[4] == 0.5


def test_a_token_budget_ends_the_schedule_too(small_config: MakeConfig) -> None:
    """The rate follows whichever of steps and tokens is nearer to its end."""
    train = small_config(
        "train.steps=100", "train.learning_rate=1.0", "train.max_tokens=1000"
    ).train
    assert learning_rate(10, train, trained_tokens=0) == pytest.approx(0.9)
    assert learning_rate(10, train, trained_tokens=750) == pytest.approx(0.25)
    assert learning_rate(50, train, trained_tokens=100) == pytest.approx(0.5)
    assert learning_rate(10, train, trained_tokens=1200) == 0.0


@pytest.mark.slow
def test_a_killed_run_with_a_token_budget_resumes_to_the_same_rates(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config(
        "method=sft", "data.eval_path=null", "train.steps=50", "train.max_tokens=700"
    )
    train(config, tmp_path / "whole")
    events = train_iter(config, tmp_path / "killed")
    for event in events:
        if event["type"] == "step" and event["step"] == 3:
            break
    events.close()
    assert resume(tmp_path / "killed").reason == "max_tokens"
    whole, again = ([(e["step"], e["learning_rate"]) for e in RunDir(tmp_path / run).events("step")]
                    for run in ("whole", "killed"))  # fmt: skip
    assert whole == again and whole[-1][1] < whole[0][1] / 2


def test_likely_demonstrations_are_those_the_base_prefers(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    """Where a prompt has three teachers and the group wants one, the likeliest of them is taken."""
    config = small_config("group.choose=likely", "group.teacher=1", "group.self=0")
    trainer = make_trainer(config, tmp_path / "run")
    for group in trainer.rollout.draw(0)[0].built.groups:
        taken = next(r.text for r in group.responses if r.source == "teacher")
        means = mean_logps(trainer.policy, group.example, group.example.teachers)
        assert taken == group.example.teachers[means.index(max(means))]
