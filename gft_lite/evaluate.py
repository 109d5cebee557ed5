"""How good a policy is: greedy accuracy, mean@k, pass@k, and how far it drifted from its base.

A response counts as correct where its reward is 1 (the full mark). pass@k is the unbiased estimator
1 − C(n−c, k)/C(n, k) of arXiv 2107.03374, eq. 1, averaged over prompts; mean@k is the plain average
of correct samples. The two are different things and are named so.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import torch

from gft_lite.batching import TokenSequence, collate, micro_batches
from gft_lite.models import Policy, Sampling
from gft_lite.rewards import Scorer, target_of
from gft_lite.types import DataError, Example

FULL_MARK = 1.0 - 1e-9


@dataclass(frozen=True)
class Answered:
    """One evaluated prompt."""

    row: int
    prompt: str
    answer: str | None
    greedy: str
    greedy_reward: float
    greedy_verdict: str
    correct_of_k: int


@dataclass(frozen=True)
class Evaluation:
    """Results over n prompts; shares are in [0, 1]. Sampled figures are None where k was 0."""

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
    answers: tuple[Answered, ...] = ()

    def to_dict(self, *, answers: bool = False) -> dict[str, Any]:
        """Plain data; single answers only on request."""
        plain = asdict(self)
        if not answers:
            plain.pop("answers")
        return plain


@dataclass(frozen=True)
class Drift:
    """Forward KL(base ‖ policy) on answers of the base: nats per answer and per token."""

    nats_per_sequence: float
    nats_per_token: float
    sequences: int


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that at least one of k draws (of n, without replacement) is correct.

    Raises:
        ValueError: k larger than n.
    """
    if k > n:
        raise ValueError(f"pass@{k} needs at least {k} samples a prompt, there are {n}")
    return 1.0 - comb(n - correct, k) / comb(n, k)


def evaluate(
    policy: Policy,
    examples: Sequence[Example],
    scorer: Scorer,
    *,
    k: int = 0,
    max_new_tokens: int = 512,
    temperature: float = 1.0,
    batch: int = 128,
    seed: int = 0,
) -> Evaluation:
    """Answer every prompt greedily and k times sampled, and score the answers.

    Args:
        policy: the model in its current state (adapter on).
        examples: what to answer.
        scorer: decides what is correct.
        k: samples a prompt; 0 measures greedy only.
        max_new_tokens: longest answer in tokens.
        temperature: of the samples.
        batch: answers generated at once.
        seed: of the samples.

    Raises:
        DataError: no examples.
    """
    if not examples:
        raise DataError("nothing to evaluate: the data holds no usable example")
    policy.sample_mode()
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    targets = [target_of(e) for e in examples]
    greedy = policy.generate(prompts, Sampling(max_new_tokens, temperature=0.0), batch)
    scores = scorer.score([(g.text, t) for g, t in zip(greedy, targets, strict=True)])
    correct = [0] * len(examples)
    if k:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            drawn = policy.generate(
                [ids for ids in prompts for _ in range(k)],
                Sampling(max_new_tokens, temperature=temperature),
                batch,
            )
        marks = scorer.score([(g.text, targets[i // k]) for i, g in enumerate(drawn)])
        for i, mark in enumerate(marks):
            correct[i // k] += mark.value >= FULL_MARK
    return Evaluation(
        n=len(examples),
        k=k,
        greedy_accuracy=statistics.fmean(s.value >= FULL_MARK for s in scores),
        greedy_reward=statistics.fmean(s.value for s in scores),
        mean_at_k=statistics.fmean(c / k for c in correct) if k else None,
        pass_at_k=statistics.fmean(pass_at_k(k, c, k) for c in correct) if k else None,
        truncated=sum(not g.finished for g in greedy),
        unparsed=sum(s.verdict == "unparsed" for s in scores),
        timeouts=sum(s.verdict == "timeout" for s in scores),
        response_tokens=statistics.fmean(len(g.token_ids) for g in greedy),
        answers=tuple(
            Answered(e.row, e.question, e.answer, g.text, s.value, s.verdict, c)
            for e, g, s, c in zip(examples, greedy, scores, correct, strict=True)
        ),
    )


def base_answers(
    policy: Policy, examples: Sequence[Example], *, max_new_tokens: int, batch: int, seed: int = 0
) -> list[TokenSequence]:
    """One sampled answer of the reference policy a prompt, for measuring drift later."""
    prompts = [policy.chat.prompt_ids(e.prompt) for e in examples]
    policy.sample_mode()
    with policy.reference(), torch.random.fork_rng():
        torch.manual_seed(seed)
        drawn = policy.generate(prompts, Sampling(max_new_tokens), batch)
    return [TokenSequence(p, g.token_ids) for p, g in zip(prompts, drawn, strict=True)]


@torch.no_grad()
def drift(policy: Policy, sequences: Sequence[TokenSequence], *, max_tokens: int = 16384) -> Drift:
    """Mean over base answers of Σ_t [log π_base − log π_θ] (method.md §2, "KL drift")."""
    total, tokens = 0.0, 0
    policy.sample_mode()
    for part in micro_batches(sequences, max_tokens):
        batch = collate(part, policy.tokenizer.pad_token_id)
        with policy.reference():
            base = policy.token_logps(batch).logps
        total += float((base - policy.token_logps(batch).logps).double().sum())
        tokens += int(batch.mask.sum())
    return Drift(total / len(sequences), total / tokens, len(sequences))
