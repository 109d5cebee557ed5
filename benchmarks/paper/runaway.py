"""Signs that a recorded run is in or past runaway: its self responses turn into noise.

The thresholds were set after the runs had been seen. They describe runs; they test nothing.

A run records means over the steps since its last evaluation, so the resolution is a fifth of the
run. Runs recorded before `end` was stored have nothing for their last fifth.
"""

from __future__ import annotations

import math
from typing import Any

from gft_lite.evaluation.statistics import Z_95

Row = dict[str, Any]
ENTROPY = "entropy_nats_per_token"
LIMIT_NATS = 0.5
QUICK_PROMPTS, FINAL_PROMPTS = 50, 200  # of an evaluation on the way and of the last one


def draws_self_responses(row: Row) -> bool:
    """Whether the run trained on self responses, which its entropy is then measured on."""
    return any("rectified_fraction_self" in point for point in row["curve"])


def entropies(row: Row) -> dict[int, float]:
    """Last step of an interval → mean entropy of trained self responses in it, nats a token."""
    points = {point["step"]: point[ENTROPY] for point in row["curve"] if ENTROPY in point}
    if ENTROPY in (end := row.get("end", {})):
        points[row["steps"]] = end[ENTROPY]
    return points


def first_above(row: Row, limit: float = LIMIT_NATS) -> int | None:
    """Last step of the first recorded interval whose mean entropy is above the limit."""
    return next((step for step, value in entropies(row).items() if value > limit), None)


def signs(row: Row) -> str:
    """Letters of the signs that a run shows, an empty string for none.

    E: mean entropy in the last recorded interval is at least twice that of the first.
    T: target accuracy at the end is below the last measurement before it by more than chance (95 %,
       two independent shares).
    M: mean@8 is below a third of greedy accuracy, where that is at least 10 %.
    """
    if not draws_self_responses(row):
        return ""
    found = ""
    values = list(entropies(row).values())
    if len(values) > 1 and values[-1] >= 2 * values[0]:
        found += "E"
    before, end = row["curve"][-1]["target_quick"], row["target_greedy"]
    pooled = (QUICK_PROMPTS * before + FINAL_PROMPTS * end) / (QUICK_PROMPTS + FINAL_PROMPTS)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / QUICK_PROMPTS + 1 / FINAL_PROMPTS))
    if before - end > Z_95 * spread:
        found += "T"
    if end >= 0.1 and row["target_mean_at_8"] < end / 3:
        found += "M"
    return found
