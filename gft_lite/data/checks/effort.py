"""Where the compute of a run on this data will go, estimated before any of it is spent.

Counted in forward passes of one token: training a token takes three (forward and twice that
backward), drawing a token one. On a GPU drawing is slower than that, since it goes token by token,
so the share of sampling is a lower bound. Self answers are taken to be as long as the median
demonstration.
"""

from __future__ import annotations

from collections.abc import Mapping

from gft_lite.config import GroupConfig

TRAINING_PASSES = 3


def effort_shares(
    prompt: float, demonstration: float, offered: Mapping[str, float], group: GroupConfig
) -> dict[str, float]:
    """Shares of compute by part; empty where lengths are not known.

    Args:
        prompt: mean prompt length, in tokens or characters.
        demonstration: median response length in the same unit.
        offered: mean number of "expert" and "teacher" responses a row.
        group: how many responses of each source a group takes.
    """
    if not demonstration:
        return {}
    taken = {
        "expert": min(group.expert, offered["expert"]),
        "teacher": min(group.teacher, offered["teacher"]),
        "self": float(group.self_),
    }
    length = prompt + demonstration
    passes = {f"training on {name}": TRAINING_PASSES * n * length for name, n in taken.items()}
    passes["sampling self"] = taken["self"] * length
    total = sum(passes.values())
    return {name: value / total for name, value in passes.items() if value} if total else {}
