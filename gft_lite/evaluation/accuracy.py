"""How good a policy is: greedy accuracy, mean@k, pass@k, and how far it drifted from its base.

A response counts as correct where its reward is 1 (the full mark). pass@k is the unbiased estimator
(`evaluation.statistics.pass_at_k`), averaged over prompts; mean@k is the plain average of correct
samples. The two are different things and are named so. What an adapter forgot, and what it leaves
for reinforcement learning, is in `forgetting.py`.
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
    generate_in_batches,
    in_micro_batches,
)
from gft_lite.models import Generated, Policy, Sampling
from gft_lite.models.batching import TokenBatch, TokenSequence, collate
from gft_lite.rewards import Scorer, target_of
from gft_lite.types import ConfigError, DataError, Example, Score

FULL_MARK = 1.0 - 1e-9


@dataclass(frozen=True)
class Answered:
    """One evaluated prompt. `rewards` has one entry a sampled answer."""

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
        """Whether the greedy answer earned the full mark."""
        return self.greedy_reward >= FULL_MARK


@dataclass(frozen=True)
class Readiness:
    """What a next stage of reinforcement learning has to work with.

    mixed_reward_share: prompts whose samples do not all earn the same: the others give no gradient.
    headroom: pass@k − mean@k, what sampling finds and the average answer does not have.
    entropy_nats_per_token: `self_entropy` at temperature 1.
    """

    mixed_reward_share: float
    headroom: float
    entropy_nats_per_token: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Results over n prompts; shares are in [0, 1]. Sampled figures are None where k was 0.

    temperature: of the samples that mean@k, pass@k and the readiness shares are measured on.
    samples: answers drawn a prompt, of which pass@k looks at k. pass_at: k' → pass@k' for every
    power of two up to k. intervals: 95 % intervals over prompts (`mean_interval`), by the
    figure's name.
    truncated, unparsed, timeouts, errors: counts among the greedy answers; sampled_*: among the
    samples. errors are answers on which the reward broke.
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
    answers: tuple[Answered, ...] = ()

    def to_dict(self, *, answers: bool = False) -> dict[str, Any]:
        """Plain data; single answers only on request."""
        plain = asdict(self)
        plain["pass_at"] = {str(k): share for k, share in self.pass_at.items()}  # as JSON has it
        if not answers:
            plain.pop("answers")
        return plain


@dataclass(frozen=True)
class Drift:
    """Forward KL(base ‖ policy) on answers of the base: nats per answer and per token."""

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
    fitting: AdaptiveBatchSize | None = None,
) -> Evaluation:
    """Answer every prompt greedily and a number of times sampled, and score the answers.

    Args:
        policy: the model in its current state (adapter on).
        examples: what to answer.
        scorer: decides what is correct.
        k: of mean@k and pass@k; 0 measures greedy only.
        samples: answers drawn a prompt, k where it is None; more than k make pass@k surer.
        max_new_tokens: longest answer in tokens.
        temperature: of the samples.
        batch: answers generated at once; fewer where so many do not fit into memory.
        seed: of the samples and of the bootstrap.
        entropy: measure `self_entropy` too; costs one more answer and one forward pass a prompt.
        fitting: what was found to fit before, in place of `batch`.

    Raises:
        DataError: no examples.
        ConfigError: k larger than the samples.
        RewardError: the reward failed on every greedy answer.
    """
    if not examples:
        raise DataError("nothing to evaluate: the data holds no usable example")
    drawn_each = check_samples(k, samples)
    fitting = fitting or AdaptiveBatchSize(batch)
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    targets = [target_of(e) for e in examples]
    greedy = fitting.generate(policy, prompts, Sampling(max_new_tokens, temperature=0.0))
    scores = scorer.score([(g.text, t) for g, t in zip(greedy, targets, strict=True)])
    scorer.require_some(scores)
    drawn: list[Generated] = []
    marks: list[Score] = []
    if drawn_each:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            drawn = fitting.generate(
                policy,
                [ids for ids in prompts for _ in range(drawn_each)],
                Sampling(max_new_tokens, temperature=temperature),
            )
        marks = scorer.score([(g.text, targets[i // drawn_each]) for i, g in enumerate(drawn)])
    values = [mark.value for mark in marks]
    rewards = [tuple(values[i * drawn_each : (i + 1) * drawn_each]) for i in range(len(examples))]
    answers = tuple(
        Answered(e.row, e.question, e.answer, g.text, s.value, s.verdict, _count_full(r), r)
        for e, g, s, r in zip(examples, greedy, scores, rewards, strict=True)
    )
    sampled = _sampled_figures(answers, k, drawn_each) if k else {}
    return Evaluation(
        n=len(examples),
        k=k,
        samples=drawn_each,
        temperature=temperature if k else None,
        greedy_accuracy=statistics.fmean(a.correct for a in answers),
        greedy_reward=statistics.fmean(s.value for s in scores),
        mean_at_k=_mean(sampled["mean_at_k"]) if k else None,
        pass_at_k=_mean(sampled["pass_at_k"]) if k else None,
        pass_at={j: _mean(sampled[f"pass_at_{j}"]) for j in (powers_of_two(k) if k else ())},
        intervals={
            name: mean_interval(per_prompt, seed=seed)
            for name, per_prompt in {
                "greedy_accuracy": [float(a.correct) for a in answers],
                "greedy_reward": [s.value for s in scores],
                **sampled,
            }.items()
        },
        truncated=sum(not g.finished for g in greedy),
        unparsed=_count(scores, "unparsed"),
        timeouts=_count(scores, "timeout"),
        sampled_truncated=sum(not g.finished for g in drawn) if k else None,
        sampled_unparsed=_count(marks, "unparsed") if k else None,
        sampled_timeouts=_count(marks, "timeout") if k else None,
        errors=_count(scores, "error"),
        sampled_errors=_count(marks, "error") if k else None,
        response_tokens=statistics.fmean(len(g.token_ids) for g in greedy),
        readiness=Readiness(
            mixed_reward_share=statistics.fmean(len(set(r)) > 1 for r in rewards),
            headroom=_mean(sampled["pass_at_k"]) - _mean(sampled["mean_at_k"]),
            entropy_nats_per_token=self_entropy(
                policy, examples, Sampling(max_new_tokens), seed=seed, fitting=fitting
            )
            if entropy
            else None,
        )
        if k
        else None,
        answers=answers,
    )


def check_samples(k: int, samples: int | None) -> int:
    """Answers to draw a prompt.

    Raises:
        ConfigError: fewer than k.
    """
    if samples is not None and samples < k:
        raise ConfigError(
            f"pass@{k} needs at least {k} samples a prompt, but only {samples} were asked for; "
            f"raise --samples to {k} or lower --k"
        )
    return (samples or k) if k else 0


def base_answers(
    policy: Policy, examples: Sequence[Example], *, max_new_tokens: int, batch: int, seed: int = 0
) -> list[TokenSequence]:
    """One sampled answer of the reference policy a prompt, for measuring drift later."""
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    policy.sample_mode()
    with policy.reference(), torch.random.fork_rng():
        torch.manual_seed(seed)
        drawn = generate_in_batches(policy, prompts, Sampling(max_new_tokens), batch)
    return [TokenSequence(p, g.token_ids) for p, g in zip(prompts, drawn, strict=True)]


@torch.no_grad()
def drift(
    policy: Policy, sequences: Sequence[TokenSequence], *, max_tokens: int = TOKENS_AT_ONCE
) -> Drift:
    """Mean over base answers of Σ_t [log π_base − log π_θ] (method.md §2, "KL drift")."""

    def moved(batch: TokenBatch) -> Tensor:
        with policy.reference():
            base = policy.token_logps(batch).logps
        return base - policy.token_logps(batch).logps

    total, tokens = _summed(policy, sequences, moved, max_tokens)
    return Drift(total / len(sequences), total / tokens, len(sequences))


def self_entropy(
    policy: Policy,
    examples: Sequence[Example],
    sampling: Sampling,
    *,
    seed: int = 0,
    fitting: AdaptiveBatchSize | None = None,
    max_tokens: int = TOKENS_AT_ONCE,
) -> float:
    """Entropy of self responses: what `entropy` means everywhere in this project.

    One response a prompt is sampled from the policy the way training samples (`sampling`; for a
    run its temperature, top-p and top-k). The figure is the mean over their tokens of the entropy
    of the next-token distribution (softmax of the logits at temperature 1, as in the loss), in
    nats per token. Every method can be measured, whether or not it samples in training.
    """
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        drawn = (fitting or AdaptiveBatchSize(len(prompts))).generate(policy, prompts, sampling)
    sequences = [TokenSequence(p, g.token_ids) for p, g in zip(prompts, drawn, strict=True)]
    return mean_entropy(policy, sequences, max_tokens=max_tokens)


@torch.no_grad()
def mean_entropy(
    policy: Policy, sequences: Sequence[TokenSequence], *, max_tokens: int = TOKENS_AT_ONCE
) -> float:
    """Entropy of the next-token distribution, averaged over response tokens, in nats."""
    total, tokens = _summed(policy, sequences, lambda b: policy.token_logps(b).entropy, max_tokens)
    return total / tokens


def _summed(
    policy: Policy,
    sequences: Sequence[TokenSequence],
    figure: Callable[[TokenBatch], Tensor],
    max_tokens: int,
) -> list[float]:
    """Sum of a figure over all response tokens, and how many they are."""
    policy.sample_mode()

    def add(part: Sequence[TokenSequence], sums: list[float]) -> None:
        batch = collate(part, policy.tokenizer.pad_token_id)
        sums[0] += float(figure(batch).double().sum())
        sums[1] += int(batch.mask.sum())

    return in_micro_batches(sequences, lambda: [0.0, 0.0], add, max_tokens)


def _sampled_figures(answers: Sequence[Answered], k: int, drawn: int) -> dict[str, list[float]]:
    """Per prompt: the share of correct samples, and pass@k' for every k'."""
    correct = [a.correct_of_k for a in answers]
    figures = {"mean_at_k": [c / drawn for c in correct]}
    for j in powers_of_two(k):
        figures[f"pass_at_{j}"] = [pass_at_k(drawn, c, j) for c in correct]
    figures["pass_at_k"] = figures[f"pass_at_{k}"]
    return figures


def _count_full(rewards: Sequence[float]) -> int:
    return sum(value >= FULL_MARK for value in rewards)


def _count(scores: Sequence[Score], verdict: str) -> int:
    return sum(s.verdict == verdict for s in scores)


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
