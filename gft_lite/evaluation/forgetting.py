"""What an adapter forgot: accuracy before and after on an old skill, and KL on the base's answers.

The probe is a second data file, prompts the user pinned, or both. Prompts that no answer is known
for are measured by KL alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gft_lite.evaluation.accuracy import Drift, Evaluation, base_answers, drift, evaluate
from gft_lite.evaluation.statistics import PairedCounts, mcnemar
from gft_lite.models import Policy
from gft_lite.rewards import Scorer
from gft_lite.types import DataError, Example, Message


@dataclass(frozen=True)
class Forgetting:
    """before: the base (adapter off); after: the adapter; None where no answers are known.

    paired: right and wrong on the same prompts, a = before, b = after.
    """

    before: Evaluation | None
    after: Evaluation | None
    paired: PairedCounts | None
    drift: Drift

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without single answers."""
        return {
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "paired": asdict(self.paired) if self.paired else None,
            "kl_nats_per_token": self.drift.nats_per_token,
            "kl_nats_per_sequence": self.drift.nats_per_sequence,
            "sequences": self.drift.sequences,
        }


def probe(
    policy: Policy,
    examples: Sequence[Example],
    pinned: Sequence[str],
    scorer: Scorer,
    *,
    max_new_tokens: int = 256,
    batch: int = 128,
    seed: int = 0,
    max_tokens: int = 16384,
) -> Forgetting:
    """Measure what is kept.

    Args:
        policy: base with the adapter on; its reference must be the base.
        examples: rows of the old skill, with answers.
        pinned: prompts without answers.
        scorer: decides what is correct.
        max_new_tokens: longest answer in tokens.
        batch: answers generated at once.
        seed: of the base's sampled answers.
        max_tokens: of a scoring batch.

    Raises:
        DataError: neither examples nor pinned prompts.
    """
    asked = [*examples, *(Example((Message("user", text),)) for text in pinned)]
    if not asked:
        raise DataError("the forgetting probe needs a file of rows or pinned prompts")
    before = after = paired = None
    if examples:
        how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "batch": batch, "seed": seed}
        with policy.reference():
            before = evaluate(policy, examples, scorer, **how)
        after = evaluate(policy, examples, scorer, **how)
        paired = mcnemar([a.correct for a in before.answers], [a.correct for a in after.answers])
    answers = base_answers(policy, asked, max_new_tokens=max_new_tokens, batch=batch, seed=seed)
    return Forgetting(before, after, paired, drift(policy, answers, max_tokens=max_tokens))
