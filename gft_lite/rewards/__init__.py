"""Rewards: one verifier a file, weighted sums of them, and a process that can be killed.

    with build_scorer({"name": "math"}) as scorer:
        scorer.check(target)                        # RewardError if a row lacks what is needed
        scores = scorer.score([(response, target), …])
        scorer.counts                               # scored, unparsed, timeouts, errors

Importing this package imports neither sympy nor torch.
"""

from __future__ import annotations

import math as _math

from gft_lite.rewards import (
    choice,
    exact,
    json_answer,
    length,
    math_answer,
    number,
    overlap,
    regex_match,
)
from gft_lite.rewards.base import Need, Option, Reward, Target, target_of
from gft_lite.rewards.failure import Failure
from gft_lite.rewards.scorer import Counts, Scorer
from gft_lite.rewards.spec import Part, Spec, read_spec
from gft_lite.types import RewardError

REWARDS: dict[str, Reward] = {
    "math": Reward(
        math_answer.score,
        "The final answer is mathematically equal to the row's answer.",
        needs="answer",
        options=math_answer.OPTIONS,
        isolated=True,
        quick=math_answer.quick,
        warm_up=math_answer.warm_up,
        validate=math_answer.validate,
        complain=math_answer.complain,
    ),
    "number": Reward(
        number.score,
        "The last number of the response is the answer's, within a tolerance.",
        needs="answer",
        options=number.OPTIONS,
        validate=number.validate,
        complain=number.complain,
    ),
    "exact": Reward(
        exact.score,
        "The marked answer, or the whole response, is the row's answer word for word.",
        needs="answer",
        options=exact.OPTIONS,
    ),
    "choice": Reward(
        choice.score,
        "The response picks the right letter or word of a multiple choice.",
        needs="answer",
        options=choice.OPTIONS,
        validate=choice.validate,
        complain=choice.complain,
    ),
    "regex": Reward(
        regex_match.score,
        "A pattern occurs in the response.",
        needs="answer",
        options=regex_match.OPTIONS,
        isolated=True,
        needs_rule=regex_match.needs_rule,
        validate=regex_match.validate,
        complain=regex_match.complain,
    ),
    "json": Reward(
        json_answer.score,
        "The response is JSON with the required keys and types; half-right output earns a part.",
        options=json_answer.OPTIONS,
        isolated=True,
        quick=json_answer.quick,
        warm_up=json_answer.warm_up,
        needs_rule=json_answer.needs_rule,
        validate=json_answer.validate,
        complain=json_answer.complain,
    ),
    "length": Reward(
        length.score,
        "The response keeps to a length, and earns less the further it is outside.",
        options=length.OPTIONS,
        validate=length.validate,
    ),
    "overlap": Reward(
        overlap.score,
        "The response says what the best-fitting expert says (ROUGE F1), for open-ended answers.",
        needs="expert",
        options=overlap.OPTIONS,
        validate=overlap.validate,
    ),
}


def build_scorer(spec: Spec, *, timeout_seconds: float = 5.0, allow_custom: bool = False) -> Scorer:
    """A scorer for a reward spec (see `spec.py` for its forms), everything in it checked.

    `timeout_seconds` is the limit for one response and one isolated part. A custom file is only
    taken with `allow_custom`, and is loaded at once, in the scoring process, so that its mistakes
    show before a model is loaded. Raises RewardError.
    """
    if not (_math.isfinite(timeout_seconds) and timeout_seconds > 0):
        raise RewardError(f"the reward's time limit must be above 0 s, not {timeout_seconds}")
    scorer = Scorer(read_spec(spec, REWARDS, allow_custom), timeout_seconds)
    scorer.warm_up()
    return scorer


__all__ = [
    "REWARDS",
    "Counts",
    "Failure",
    "Need",
    "Option",
    "Part",
    "Reward",
    "Scorer",
    "Spec",
    "Target",
    "build_scorer",
    "read_spec",
    "target_of",
]
