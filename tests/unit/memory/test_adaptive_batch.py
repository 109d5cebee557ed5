"""Out of memory: the same step again, in smaller batches, to the same gradient.

The device limit is pretended by a policy around the real one; the error is torch's own.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from trainer_maker import gradient_of_a_step, make_trainer

from gft_lite.adapters.compare import compare, load_adapters
from gft_lite.assets import resolve
from gft_lite.config import LoraConfig, ModelConfig, RunConfig
from gft_lite.data import load_examples
from gft_lite.distill import local_teacher
from gft_lite.evaluation.accuracy import base_responses, drift, evaluate
from gft_lite.memory.adaptive_batch import AdaptiveBatchSize, generate_in_batches, is_out_of_memory
from gft_lite.models import Generated, Policy, Sampling, load_policy
from gft_lite.models.batching import TokenBatch
from gft_lite.preflight.inputs import validate_inputs
from gft_lite.rewards import build_scorer
from gft_lite.runs import RunDir
from gft_lite.training import worker
from gft_lite.training.likelihood import mean_logps
from gft_lite.training.memory_probe import longest_sequences, should_probe
from gft_lite.types import Example, Message, TrainingError

MakeConfig = Callable[..., RunConfig]


class SmallDevice:
    """The real policy on a device that holds so many tokens of a batch, and so many answers."""

    def __init__(self, policy: Policy, tokens: int = 10**9, answers: int = 10**9) -> None:
        self._policy, self._tokens, self._answers = policy, tokens, answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def _hold(self, batch: TokenBatch) -> None:
        if batch.input_ids.numel() > self._tokens:
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")

    def response_states(self, batch: TokenBatch) -> torch.Tensor:
        self._hold(batch)
        return self._policy.response_states(batch)

    def token_logps(self, batch: TokenBatch, *rest: Any) -> Any:
        self._hold(batch)
        return self._policy.token_logps(batch, *rest)

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, batch: int
    ) -> list[Generated]:
        if min(batch, len(prompts)) > self._answers:
            torch.rand(7)  # random numbers were used before memory ran out
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
        return self._policy.generate(prompts, sampling, batch)


def tiny_policy() -> Policy:
    return load_policy(ModelConfig(name="tiny"), LoraConfig(), seed=0)


@pytest.fixture
def loads_small_device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs started by the worker find a small device."""

    def limit(**limits: int) -> None:
        def load(*args: Any, **options: Any) -> SmallDevice:
            return SmallDevice(load_policy(*args, **options), **limits)

        monkeypatch.setattr("gft_lite.models.load_policy", load)

    return limit


@pytest.mark.slow
def test_the_gradient_is_the_same_after_running_out_of_memory(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config("train.prompts_per_step=8", "train.micro_batch_tokens=4096")
    wanted_gradient, _ = gradient_of_a_step(config, tmp_path / "large")
    caught, trainer = gradient_of_a_step(
        config, tmp_path / "small", SmallDevice(tiny_policy(), tokens=700)
    )
    assert (caught - wanted_gradient).norm() <= 1e-5 * wanted_gradient.norm()
    assert 100 < trainer.batch_sizes.micro_batch_tokens <= 700
    told = list(trainer.run.events("out_of_memory"))
    assert told and told[0]["before"] == 4096 and told[-1]["setting"] == "train.micro_batch_tokens"
    assert [e["after"] for e in told[:-1]] == [e["before"] for e in told[1:]]
    assert "the step is repeated" in told[0]["message"] and told[0]["step"] == 1


@pytest.mark.slow
def test_a_rollout_that_ran_out_equals_one_that_began_small(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    small = small_config("train.rollout_batch=2")
    wanted_data = make_trainer(small, tmp_path / "small").rollout.draw(0)[0]
    policy = SmallDevice(tiny_policy(), answers=2)
    trainer = make_trainer(small_config(), tmp_path / "large", policy)
    data = trainer.rollout.draw(0)[0]
    assert data.sequences == wanted_data.sequences
    assert trainer.batch_sizes.rollout_batch == 2
    assert [e["after"] for e in trainer.run.events("out_of_memory")] == [4, 2]


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_sizes_it_had_found(
    small_config: MakeConfig, tmp_path: Path, loads_small_device: Callable[..., None]
) -> None:
    loads_small_device(tokens=400, answers=4)
    config = small_config("data.eval_path=null", "train.steps=3")
    worker.train(config, tmp_path / "whole")
    events = worker.train_iter(config, tmp_path / "killed")
    for event in events:
        if event["type"] == "checkpoint":
            break
    events.close()
    worker.resume(tmp_path / "killed")
    whole, killed = RunDir(tmp_path / "whole"), RunDir(tmp_path / "killed")
    figures = [[(e["loss"], e["grad_norm"]) for e in r.events("step")] for r in (whole, killed)]
    assert figures[0] == figures[1]
    counts = [len(list(r.events("out_of_memory"))) for r in (whole, killed)]
    assert counts[0] == counts[1] > 0, "nothing had to be found out again"


@pytest.mark.slow
def test_what_cannot_be_made_smaller_says_what_to_change(
    small_config: MakeConfig, tmp_path: Path, loads_small_device: Callable[..., None]
) -> None:
    loads_small_device(tokens=60)
    with pytest.raises(TrainingError, match=r"one sequence of \d+ tokens does not.*lower gr"):
        worker.train(small_config("data.eval_path=null"), tmp_path / "training")
    assert RunDir(tmp_path / "training").status()["state"] == "failed"
    with pytest.raises(TrainingError, match=r"one answer of up to 13 tokens.*smaller model"):
        generate_in_batches(
            SmallDevice(tiny_policy(), answers=0), [[5, 6, 7]] * 3, Sampling(10), batch=64
        )


def test_only_memory_errors_are_caught(small_config: MakeConfig) -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    batch_size = AdaptiveBatchSize(4, 100, lambda event: None)
    policy = tiny_policy()

    def broken(part: object, state: object) -> None:
        raise RuntimeError("shapes do not match")

    config = small_config()
    prepared = validate_inputs(config)
    prepared.scorer.close()
    sequences = longest_sequences(config, policy, prepared.examples)
    with pytest.raises(RuntimeError, match="shapes"):
        batch_size.in_micro_batches(sequences, list, broken)
    assert batch_size.micro_batch_tokens == 100


@pytest.mark.slow
def test_a_dry_step_meets_the_longest_there_can_be_and_changes_no_number(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    common = ("data.eval_path=null", "train.steps=2", "train.log_groups_every=0")
    worker.train(small_config(*common), tmp_path / "without")
    worker.train(small_config(*common, "train.dry_step=true"), tmp_path / "with")
    runs = [RunDir(tmp_path / name) for name in ("without", "with")]
    steps = [[(e["loss"], e["grad_norm"]) for e in run.events("step")] for run in runs]
    assert steps[0] == steps[1]
    assert not list(runs[0].events("dry_step")), "auto is off on a CPU"
    (dry,) = runs[1].events("dry_step")
    assert dry["step"] == 0 and dry["micro_batch_tokens"] == 2048
    assert dry["longest_tokens"] > small_config().group.max_new_tokens
    assert should_probe("auto", torch.device("cuda")) and not should_probe(
        False, torch.device("cuda")
    )


@pytest.mark.slow
def test_a_dry_step_finds_the_size_before_the_first_step(
    small_config: MakeConfig, tmp_path: Path, loads_small_device: Callable[..., None]
) -> None:
    loads_small_device(tokens=700)
    config = small_config("data.eval_path=null", "train.steps=1", "train.dry_step=true")
    worker.train(config, tmp_path / "run")
    kinds = [e["type"] for e in RunDir(tmp_path / "run").events()]
    assert kinds.index("out_of_memory") < kinds.index("dry_step") < kinds.index("step")
    assert "out_of_memory" not in kinds[kinds.index("dry_step") :]


def test_without_sampling_the_longest_is_a_demonstration(small_config: MakeConfig) -> None:
    config = small_config("method=sft", "group.max_new_tokens=192")
    policy = tiny_policy()
    prepared = validate_inputs(config)
    prepared.scorer.close()
    sequences = longest_sequences(config, policy, prepared.examples)
    assert len(sequences[0].response_ids) < 192
    assert len(sequences) * len(sequences[0]) <= config.train.micro_batch_tokens


def test_evaluation_goes_on_in_smaller_batches(caplog: pytest.LogCaptureFixture) -> None:
    policy = tiny_policy()
    prompts = [[5, 6, 7 + i] for i in range(5)]
    greedy = Sampling(6, temperature=0.0)
    found = generate_in_batches(SmallDevice(policy, answers=2), prompts, greedy, batch=64)
    assert found == policy.generate(prompts, greedy, 2)
    assert "sampling 2 answers at once, not 5" in caplog.text


@pytest.mark.slow
def test_what_measures_goes_on_in_smaller_batches(caplog: pytest.LogCaptureFixture) -> None:
    """Greedy answers, samples, entropy and drift; the size that was found holds for the samples."""
    policy = tiny_policy()
    examples = load_examples(resolve("embedded:target_test"), limit=5).examples
    how: dict[str, Any] = {"k": 2, "max_new_tokens": 12, "entropy": True}
    with build_scorer("math") as scorer:
        wanted_figures = evaluate(policy, examples, scorer, batch=2, **how)
        small = SmallDevice(policy, tokens=100, answers=2)
        found = evaluate(small, examples, scorer, batch=64, **how)
    assert found.answers == wanted_figures.answers
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "answers" in line] == [
        "out of memory: sampling 2 answers at once, not 5"
    ]
    assert any("tokens at once, not 16384" in line for line in said)
    entropies = [
        f.readiness and f.readiness.entropy_nats_per_token for f in (found, wanted_figures)
    ]
    assert entropies[0] == pytest.approx(entropies[1], abs=1e-5) and entropies[0]
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(0.02)
    answers = base_responses(policy, examples, max_new_tokens=12, batch=8)
    moved, as_wanted = drift(small, answers), drift(policy, answers)
    assert moved.nats_per_token == pytest.approx(as_wanted.nats_per_token, rel=1e-4)
    assert as_wanted.nats_per_token > 0


def test_comparing_goes_on_in_smaller_batches(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    examples = load_examples(resolve("embedded:target_test"), limit=3).examples

    def texts() -> tuple[str, ...]:
        loaded = load_adapters(ModelConfig(name="tiny"), [])
        return compare(loaded, examples, None, max_new_tokens=8, batch=64).columns[0].texts

    wanted_texts = texts()
    monkeypatch.setattr(
        "gft_lite.models.load.load_policy",
        lambda *a, **o: SmallDevice(load_policy(*a, **o), answers=1),
    )
    assert texts() == wanted_texts
    assert "sampling 1 answers at once, not 3" in caplog.text


def test_a_teacher_here_goes_on_in_smaller_batches(caplog: pytest.LogCaptureFixture) -> None:
    """The second call begins with what the first one found."""
    policy = tiny_policy()
    prompts = [(Message("user", f"What is {i} + 4?"),) for i in range(5)]
    sampling = Sampling(6)
    ask = local_teacher(SmallDevice(policy, answers=2), sampling, seed=3)
    wanted_answers = local_teacher(policy, sampling, batch=2, seed=3)
    assert [ask(prompts), ask(prompts[:3])] == [
        wanted_answers(prompts),
        wanted_answers(prompts[:3]),
    ]
    assert caplog.text.count("out of memory") == 1


def test_responses_are_ranked_in_smaller_batches(caplog: pytest.LogCaptureFixture) -> None:
    policy = tiny_policy()
    example = Example((Message("user", "What is 3 + 4?"),))
    texts = ["7", "3 + 4 = 7\n#### 7", "I do not know.", "twelve"]
    found = mean_logps(SmallDevice(policy, tokens=90), example, texts)
    assert found == pytest.approx(mean_logps(policy, example, texts), abs=1e-5)
    assert "tokens at once, not 16384" in caplog.text
