"""Measurements of a policy: greedy accuracy, mean@k, pass@k, KL drift from the base, entropy.

A response is correct if its reward is 1 (the full mark). pass@k is the unbiased estimator of
`evaluation.statistics.pass_at_k`, averaged over prompts. mean@k is the share of correct samples.
`evaluation.suite` combines these measurements.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from gft_lite.evaluation.statistics import Interval, mean_interval, pass_at_k, powers_of_two
from gft_lite.memory.adaptive_batch import (
    TOKENS_AT_ONCE,
    AdaptiveBatchSize,
    in_micro_batches,
)
from gft_lite.models import Generated, Policy, Sampling
from gft_lite.models.batching import TokenBatch, TokenSequence, collate
from gft_lite.rewards import Scorer, target_of
from gft_lite.types import ConfigError, DataError, Example, Score

FULL_MARK = 1.0 - 1e-9


@dataclass(frozen=True)
class PromptResult:
    """One evaluated prompt. rewards: one entry a sampled response."""

    row: int
    prompt: str
    answer: str | None
    greedy: str
    greedy_reward: float
    greedy_verdict: str
    correct_of_k: int
    rewards: tuple[float, ...] = ()

    @property
    def correct(self) -> bool:
        """Whether the greedy response earned the full mark."""
        return self.greedy_reward >= FULL_MARK


@dataclass(frozen=True)
class Readiness:
    """How much signal a next stage of reinforcement learning would get.

    mixed_reward_share: share of prompts whose samples have different rewards; the other prompts
        give no gradient.
    headroom: pass@k − mean@k.
    entropy_nats_per_token: `self_entropy` at temperature 1.
    """

    mixed_reward_share: float
    headroom: float
    entropy_nats_per_token: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Results over n prompts; shares are in [0, 1]. Figures of samples are None if k is 0.

    temperature: of the samples, which mean@k, pass@k and the readiness shares are measured on.
    samples: sampled responses a prompt; pass@k is the chance that k of them hold a correct one.
    pass_at: k' → pass@k' for every power of two up to k.
    intervals: name of a figure → its 95 % interval over prompts (`mean_interval`).
    truncated, unparsed, timeouts, errors: counts of greedy responses; sampled_*: of samples. An
        error is a response on which the reward failed.
    """

    n: int
    k: int
    greedy_accuracy: float
    greedy_reward: float
    mean_at_k: float | None
    pass_at_k: float | None
    truncated: int
    unparsed: int
    timeouts: int
    response_tokens: float
    samples: int = 0
    temperature: float | None = None
    pass_at: dict[int, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    sampled_truncated: int | None = None
    sampled_unparsed: int | None = None
    sampled_timeouts: int | None = None
    errors: int = 0
    sampled_errors: int | None = None
    readiness: Readiness | None = None
    answers: tuple[PromptResult, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the single responses."""
        plain = asdict(self)
        plain["pass_at"] = {
            str(k): share for k, share in self.pass_at.items()
        }  # JSON has no int keys
        plain.pop("answers")
        return plain


@dataclass(frozen=True)
class Drift:
    """Forward KL(base ‖ policy) on responses of the base, in nats per response and per token."""

    nats_per_sequence: float
    nats_per_token: float
    sequences: int


def evaluate(
    policy: Policy,
    examples: Sequence[Example],
    scorer: Scorer,
    *,
    k: int = 0,
    samples: int | None = None,
    max_new_tokens: int = 512,
    temperature: float = 1.0,
    batch: int = 128,
    seed: int = 0,
    entropy: bool = False,
    batch_size: AdaptiveBatchSize | None = None,
    on_scored: Callable[[int], None] | None = None,
) -> Evaluation:
    """Generate one greedy response and a number of samples for every prompt, and score them.

    Args:
        policy: the model in its current state (adapter on).
        examples: prompts with reference answers.
        scorer: decides what is correct.
        k: of mean@k and pass@k; 0 measures greedy responses only.
        samples: sampled responses a prompt; None means k, more than k narrow pass@k's interval.
        max_new_tokens: longest response in tokens.
        temperature: of the samples.
        batch: responses generated at once; fewer if so many do not fit into memory.
        seed: of the samples and of the bootstrap.
        entropy: also measure `self_entropy`; costs one more response and forward pass a prompt.
        batch_size: replaces `batch`; sizes that did not fit before are not tried again.
        on_scored: called with the number of responses after each call of the scorer.

    Raises:
        DataError: no examples.
        ConfigError: k larger than the samples.
        RewardError: the reward failed on every greedy response.
    """
    if not examples:
        raise DataError("nothing to evaluate: the data holds no usable example")
    samples = check_samples(k, samples)
    batch_size = batch_size or AdaptiveBatchSize(batch)
    report = on_scored or (lambda responses: None)
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    targets = [target_of(e) for e in examples]
    greedy = batch_size.generate(policy, prompts, Sampling(max_new_tokens, temperature=0.0))
    scores = scorer.score([(g.text, t) for g, t in zip(greedy, targets, strict=True)])
    report(len(greedy))
    scorer.require_some(scores)
    sampled: list[Generated] = []
    sample_scores: list[Score] = []
    if samples:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            sampled = batch_size.generate(
                policy,
                [ids for ids in prompts for _ in range(samples)],
                Sampling(max_new_tokens, temperature=temperature),
            )
        sample_scores = scorer.score(
            [(g.text, targets[i // samples]) for i, g in enumerate(sampled)]
        )
        report(len(sampled))
    values = [score.value for score in sample_scores]
    # the samples of one prompt lie side by side
    rewards = [tuple(values[i * samples : (i + 1) * samples]) for i in range(len(examples))]
    results = tuple(
        PromptResult(e.row, e.question, e.answer, g.text, s.value, s.verdict, _count_full(r), r)
        for e, g, s, r in zip(examples, greedy, scores, rewards, strict=True)
    )
    per_prompt = {
        "greedy_accuracy": [float(result.correct) for result in results],
        "greedy_reward": [score.value for score in scores],
    }
    if k:
        per_prompt |= _sample_figures(results, k, samples)
    means = {name: statistics.fmean(figures) for name, figures in per_prompt.items()}
    readiness = None
    if k:
        response_entropy = None
        if entropy:
            response_entropy = self_entropy(
                policy, examples, Sampling(max_new_tokens), seed=seed, batch_size=batch_size
            )
        readiness = Readiness(
            mixed_reward_share=statistics.fmean(len(set(r)) > 1 for r in rewards),
            headroom=means["pass_at_k"] - means["mean_at_k"],
            entropy_nats_per_token=response_entropy,
        )
    return Evaluation(
        n=len(examples),
        k=k,
        samples=samples,
        temperature=temperature if k else None,
        greedy_accuracy=means["greedy_accuracy"],
        greedy_reward=means["greedy_reward"],
        mean_at_k=means.get("mean_at_k"),
        pass_at_k=means.get("pass_at_k"),
        pass_at={j: means[f"pass_at_{j}"] for j in (powers_of_two(k) if k else ())},
        intervals={name: mean_interval(figures, seed=seed) for name, figures in per_prompt.items()},
        truncated=sum(not g.finished for g in greedy),
        unparsed=_count(scores, "unparsed"),
        timeouts=_count(scores, "timeout"),
        sampled_truncated=sum(not g.finished for g in sampled) if k else None,
        sampled_unparsed=_count(sample_scores, "unparsed") if k else None,
        sampled_timeouts=_count(sample_scores, "timeout") if k else None,
        errors=_count(scores, "error"),
        sampled_errors=_count(sample_scores, "error") if k else None,
        response_tokens=statistics.fmean(len(g.token_ids) for g in greedy),
        readiness=readiness,
        answers=results,
    )


def check_samples(k: int, samples: int | None) -> int:
    """Sampled responses a prompt: `samples`, or k if it is None; 0 if k is 0.

    Raises:
        ConfigError: fewer samples than k.
    """
    if samples is not None and samples < k:
        raise ConfigError(
            f"pass@{k} needs at least {k} samples a prompt, but only {samples} were asked for; "
            f"raise --samples to {k} or lower --k"
        )
    return (samples or k) if k else 0


def base_responses(
    policy: Policy, examples: Sequence[Example], *, max_new_tokens: int, batch: int, seed: int = 0
) -> list[TokenSequence]:
    """One response of the reference policy a prompt, sampled at temperature 1, for `drift`."""
    with policy.reference():
        return _responses(
            policy, examples, Sampling(max_new_tokens), seed, AdaptiveBatchSize(batch)
        )


@torch.no_grad()
def drift(
    policy: Policy, sequences: Sequence[TokenSequence], *, max_tokens: int = TOKENS_AT_ONCE
) -> Drift:
    """Mean over base responses of Σ_t [log π_base − log π_θ] (method.md §2, "KL drift")."""

    def difference(batch: TokenBatch) -> Tensor:
        with policy.reference():
            base = policy.token_logps(batch).logps  # (B, T)
        return base - policy.token_logps(batch).logps

    total, tokens = _sum_over_tokens(policy, sequences, difference, max_tokens)
    return Drift(total / len(sequences), total / tokens, len(sequences))


def self_entropy(
    policy: Policy,
    examples: Sequence[Example],
    sampling: Sampling,
    *,
    seed: int = 0,
    batch_size: AdaptiveBatchSize | None = None,
    max_tokens: int = TOKENS_AT_ONCE,
) -> float:
    """Entropy of self responses, the meaning of "entropy" everywhere in this project.

    One response a prompt is sampled from the policy with the sampling of training (temperature,
    top-p, top-k). The result is the mean over its tokens of the entropy of the next-token
    distribution (softmax of the logits at temperature 1, as in the loss), in nats per token. It
    can be measured for every method, also for those that do not sample in training.
    """
    sequences = _responses(
        policy, examples, sampling, seed, batch_size or AdaptiveBatchSize(len(examples))
    )
    return mean_entropy(policy, sequences, max_tokens=max_tokens)


@torch.no_grad()
def mean_entropy(
    policy: Policy, sequences: Sequence[TokenSequence], *, max_tokens: int = TOKENS_AT_ONCE
) -> float:
    """Entropy of the next-token distribution, averaged over response tokens, in nats."""
    total, tokens = _sum_over_tokens(
        policy, sequences, lambda batch: policy.token_logps(batch).entropy, max_tokens
    )
    return total / tokens


def _responses(
    policy: Policy,
    examples: Sequence[Example],
    sampling: Sampling,
    seed: int,
    batch_size: AdaptiveBatchSize,
) -> list[TokenSequence]:
    """One seeded response a prompt, as token sequences. The caller's random state is kept."""
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    policy.sample_mode()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        responses = batch_size.generate(policy, prompts, sampling)
    return [TokenSequence(p, r.token_ids) for p, r in zip(prompts, responses, strict=True)]


def _sum_over_tokens(
    policy: Policy,
    sequences: Sequence[TokenSequence],
    figure: Callable[[TokenBatch], Tensor],
    max_tokens: int,
) -> list[float]:
    """[sum of a (B, T) figure over all response tokens, number of response tokens]."""
    policy.sample_mode()

    def add(part: Sequence[TokenSequence], sums: list[float]) -> None:
        batch = collate(part, policy.tokenizer.pad_token_id)
        # float64: thousands of float32 terms would lose digits
        sums[0] += float(figure(batch).double().sum())
        sums[1] += int(batch.mask.sum())

    return in_micro_batches(sequences, lambda: [0.0, 0.0], add, max_tokens)


def _sample_figures(
    results: Sequence[PromptResult], k: int, samples: int
) -> dict[str, list[float]]:
    """Per prompt: the share of correct samples, and pass@k' for every k'."""
    correct = [result.correct_of_k for result in results]
    figures = {"mean_at_k": [count / samples for count in correct]}
    for j in powers_of_two(k):
        figures[f"pass_at_{j}"] = [pass_at_k(samples, count, j) for count in correct]
    figures["pass_at_k"] = figures[f"pass_at_{k}"]
    return figures


def _count_full(rewards: Sequence[float]) -> int:
    return sum(value >= FULL_MARK for value in rewards)


def _count(scores: Sequence[Score], verdict: str) -> int:
    return sum(s.verdict == verdict for s in scores)
