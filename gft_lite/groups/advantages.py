"""Rewards of one group → advantages of its responses (GFT eq. 4, arXiv 2604.14258).

Deviations from the paper's public code, numbered:
1. A group of one has advantage 0, because there is nothing to compare it with. In the code its
   advantage is its reward; in the paper (appendix B.3) it becomes SFT.
2. If all rewards are equal every advantage is exactly 0, without rounding errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

EPSILON = 1e-6


def group_advantages(rewards: Sequence[float], epsilon: float = EPSILON) -> list[float]:
    """Standardise rewards over the whole mixed group: (R − mean) / (std + ε), std with n − 1.

    Args:
        rewards: one finite number a response, any unit.
        epsilon: added to the standard deviation.

    Returns:
        One dimensionless advantage a response; all 0.0 if the group is degenerate.

    >>> [round(a, 4) for a in group_advantages([1.0, 0.0, 0.0])]
    [1.1547, -0.5773, -0.5773]
    """
    # rounding of the mean could leave tiny nonzero advantages of equal rewards
    if is_degenerate(rewards):
        return [0.0] * len(rewards)
    n = len(rewards)
    # fsum: the result does not depend on the order of the responses
    mean = math.fsum(rewards) / n
    std = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (n - 1))
    return [(r - mean) / (std + epsilon) for r in rewards]


def is_degenerate(rewards: Sequence[float]) -> bool:
    """Whether a group carries no contrast: fewer than two responses, or all rewards equal."""
    return len(rewards) < 2 or all(r == rewards[0] for r in rewards)
