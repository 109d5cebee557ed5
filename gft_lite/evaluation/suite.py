"""The evaluation suite: held-out accuracy, forgetting on a retention set, drift from the base.

`evaluate_suite` measures a policy in its current state; parts without prompts are skipped. A run
(`evaluate_run`), the commands, and the model server all use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gft_lite.config import RunConfig
from gft_lite.evaluation.accuracy import (
    Drift,
    Evaluation,
    base_responses,
    drift,
    evaluate,
    self_entropy,
)
from gft_lite.evaluation.statistics import PairedCounts, mcnemar
from gft_lite.memory.adaptive_batch import TOKENS_AT_ONCE, AdaptiveBatchSize
from gft_lite.models import Policy, Sampling
from gft_lite.models.batching import TokenSequence
from gft_lite.preflight.inputs import RunInputs
from gft_lite.rewards import Scorer
from gft_lite.types import DataError, Example, Message

DRIFT_PROMPTS = 32  # of the held-out set, and as many of the retention set


@dataclass(frozen=True)
class EvalSettings:
    """How responses are generated and scored; see `accuracy.evaluate`.

    k, samples: of the held-out set; the retention set is measured with greedy responses only.
    max_tokens: of a batch of log-probs, padding included.
    """

    k: int = 0
    samples: int | None = None
    max_new_tokens: int = 256
    temperature: float = 1.0
    batch: int = 128
    seed: int = 0
    max_tokens: int = TOKENS_AT_ONCE
    entropy: bool = False


@dataclass(frozen=True)
class Forgetting:
    """Results on a skill that the policy had before. Each is None if it was not measured.

    before, after: the base and the policy on the retention set.
    paired: correct and wrong on the same prompts, a = before, b = after.
    drift: KL on responses of the base.
    """

    before: Evaluation | None
    after: Evaluation | None
    paired: PairedCounts | None
    drift: Drift | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without single responses."""
        return {
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "paired": asdict(self.paired) if self.paired else None,
            **(_drift_dict(self.drift) if self.drift else {}),
        }


@dataclass(frozen=True)
class SuiteResult:
    """Result of `evaluate_suite`. target: None if the held-out set is empty."""

    target: Evaluation | None
    forgetting: Forgetting


def evaluate_suite(
    policy: Policy,
    scorer: Scorer,
    settings: EvalSettings,
    *,
    target: Sequence[Example] = (),
    retention: Sequence[Example] = (),
    retention_before: Evaluation | None = None,
    responses_of_base: Sequence[TokenSequence] = (),
    on_scored: Callable[[int], None] | None = None,
) -> SuiteResult:
    """Measure a policy in its current state (adapter on or off).

    Args:
        policy: what is measured. Its reference must be the base if drift is measured.
        scorer: decides what is correct.
        settings: of generation and scoring.
        target: held-out set.
        retention: retention set.
        retention_before: result of the base on the retention set, to pair with.
        responses_of_base: see `accuracy.base_responses`; drift is measured on them.
        on_scored: called with the number of responses after each call of the scorer.

    Raises:
        RewardError: the reward failed on every greedy response.
    """
    common: dict[str, Any] = {
        "max_new_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "batch": settings.batch,
        "seed": settings.seed,
        "on_scored": on_scored,
    }
    accuracy = after = paired = moved = None
    if target:
        accuracy = evaluate(
            policy,
            target,
            scorer,
            k=settings.k,
            samples=settings.samples,
            entropy=settings.entropy,
            **common,
        )
    if retention:
        after = evaluate(policy, retention, scorer, **common)
    if after and retention_before:
        correct = ([r.correct for r in each.answers] for each in (retention_before, after))
        paired = mcnemar(*correct)
    if responses_of_base:
        moved = drift(policy, responses_of_base, max_tokens=settings.max_tokens)
    return SuiteResult(accuracy, Forgetting(retention_before, after, paired, moved))


def evaluate_run(
    policy: Policy, scorer: Scorer, config: RunConfig, inputs: RunInputs, *, quick: bool = False
) -> dict[str, Any]:
    """The metrics of a run: held-out accuracy, entropy, retention set, drift, as plain data.

    Entropy is measured on the first `eval.quick_examples` prompts with the sampling of training, so
    that values during a run and at its end can be compared.

    Args:
        quick: for curves during training: greedy responses to the first `eval.quick_examples`
            prompts, and no drift.
    """
    group, seed = config.group, config.train.seed
    settings = EvalSettings(
        k=0 if quick else config.eval.k,
        max_new_tokens=group.max_new_tokens,
        temperature=config.eval.temperature,
        batch=config.eval.batch,
        seed=seed,
        max_tokens=config.train.micro_batch_tokens,
    )
    responses: list[TokenSequence] = []
    if not quick:
        responses = base_responses(
            policy,
            drift_prompts(inputs.eval_examples, inputs.retention_examples),
            max_new_tokens=group.max_new_tokens,
            batch=config.eval.batch,
        )
    limit = config.eval.quick_examples if quick else None
    result = evaluate_suite(
        policy,
        scorer,
        settings,
        target=inputs.eval_examples[:limit],
        retention=inputs.retention_examples[:limit],
        responses_of_base=responses,
    )
    metrics: dict[str, Any] = {
        "target": result.target.to_dict() if result.target else None,
        "entropy_nats_per_token": self_entropy(
            policy,
            inputs.eval_examples[: config.eval.quick_examples],
            Sampling(group.max_new_tokens, group.temperature, group.top_p, group.top_k),
            seed=seed,
            batch_size=AdaptiveBatchSize(config.eval.batch),
            max_tokens=config.train.micro_batch_tokens,
        ),
    }
    if result.forgetting.after:  # events of old runs have the same key
        metrics["old_skill"] = result.forgetting.after.to_dict()
    if result.forgetting.drift:
        metrics["drift"] = _drift_dict(result.forgetting.drift)
    return metrics


def measure_forgetting(
    policy: Policy,
    retention: Sequence[Example],
    pinned: Sequence[str],
    scorer: Scorer,
    settings: EvalSettings | None = None,
) -> Forgetting:
    """Accuracy on a retention set with and without the adapter, and drift from the base.

    Args:
        policy: base with the adapter on; its reference must be the base.
        retention: examples of an earlier skill, with answers.
        pinned: prompts without answers, for drift only.
        scorer: decides what is correct.
        settings: of generation and scoring.

    Raises:
        DataError: neither examples nor pinned prompts.
    """
    settings = settings or EvalSettings()
    prompts = [*retention, *(Example((Message("user", text),)) for text in pinned)]
    if not prompts:
        raise DataError("forgetting needs a file of examples or pinned prompts")
    with policy.reference():
        base = evaluate_suite(policy, scorer, settings, retention=retention).forgetting.after
    responses = base_responses(
        policy,
        prompts,
        max_new_tokens=settings.max_new_tokens,
        batch=settings.batch,
        seed=settings.seed,
    )
    return evaluate_suite(
        policy,
        scorer,
        settings,
        retention=retention,
        retention_before=base,
        responses_of_base=responses,
    ).forgetting


def drift_prompts(target: Sequence[Example], retention: Sequence[Example]) -> list[Example]:
    """The prompts that drift is measured on: the first of both sets."""
    return [*target[:DRIFT_PROMPTS], *retention[:DRIFT_PROMPTS]]


def _drift_dict(measured: Drift) -> dict[str, Any]:
    return {
        "kl_nats_per_token": measured.nats_per_token,
        "kl_nats_per_sequence": measured.nats_per_sequence,
        "sequences": measured.sequences,
    }
