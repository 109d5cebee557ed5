"""Runaway: self responses that turn into noise, noticed from two figures of the step events.

While most self responses are wrong, training takes probability from likely tokens and spreads it
over all others. At a constant or too high learning rate this can feed itself: entropy grows,
responses run to the length limit, and what was learned is lost within twenty steps (docs/log.md,
"GFT can run away into noise" and "A schedule that ends at zero"). Entropy doubles about fifteen
steps before accuracy falls.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeGuard

Event = dict[str, Any]
Sign = Literal["entropy", "length"]

EARLY_STEPS = 10  # whose median is the run's own early level
RECENT_STEPS = 5  # whose mean is compared with it
RISE = 2.0
SMALLEST_LEVEL = 0.2  # nats per token; below it, twice the level is still a sure model
LENGTH_MARGIN = 1.5


class RunawayWatch:
    """Reads step events in order and reports each sign of a runaway once.

    The rule, in full. The early level of a figure is the median of its first `EARLY_STEPS` values;
    nothing is reported before there are as many. The current level is the mean of its last
    `RECENT_STEPS` values, all of them after the early ones, so that one noisy step decides nothing.

    entropy: `entropy_nats_per_token` of self responses. Reported when the current level is more
        than `RISE` times the early level, or more than `RISE` times `SMALLEST_LEVEL` if the early
        level is smaller: the healthy run of the demo goes from 0.13 to 0.26 and back.
    length: `self_response_tokens`, the mean of a step. Reported when the current level exceeds
        `LENGTH_MARGIN` times the longest demonstration of all steps so far, unless the early level
        already did: a model that answers at more length than its demonstrations from the start
        does not run away. Without the margin, three cut-off responses in one step are enough.

    Steps without a figure are left out; a method that draws no self responses has none. The state
    is a function of the events, so a resumed run that reads its events again goes on exactly.
    """

    def __init__(self) -> None:
        self._early: dict[str, list[float]] = {}
        self._recent: dict[str, deque[float]] = {}
        self._longest_demonstration = 0.0
        self._reported: set[Sign] = set()

    def read(self, step: Mapping[str, Any]) -> list[Event]:
        """Take in one step event; returns a `runaway` event for each new sign, usually none."""
        longest = step.get("longest_demonstration_tokens")
        if _is_number(longest):
            self._longest_demonstration = max(self._longest_demonstration, float(longest))
        limits: dict[Sign, tuple[str, float | None]] = {
            "entropy": ("entropy_nats_per_token", None),
            "length": ("self_response_tokens", LENGTH_MARGIN * self._longest_demonstration or None),
        }
        events = []
        for sign, (field, limit) in limits.items():
            value = step.get(field)
            if "self_response_tokens" not in step or not _is_number(value):
                continue
            levels = self._levels(sign, float(value))
            if levels is None or sign in self._reported:
                continue
            early, current = levels
            if sign == "entropy":
                limit = RISE * max(early, SMALLEST_LEVEL)
            if limit is not None and early <= limit < current:
                self._reported.add(sign)
                events.append(_event(sign, int(step["step"]), early, current, limit))
        return events

    def _levels(self, sign: Sign, value: float) -> tuple[float, float] | None:
        """(early level, current level) with one more value; None before both are known."""
        early = self._early.setdefault(sign, [])
        if len(early) < EARLY_STEPS:
            early.append(value)
            return None
        recent = self._recent.setdefault(sign, deque(maxlen=RECENT_STEPS))
        recent.append(value)
        if len(recent) < RECENT_STEPS:
            return None
        return statistics.median(early), statistics.fmean(recent)


def signs_of(steps: Iterable[Mapping[str, Any]]) -> list[Event]:
    """The `runaway` events of a whole run, from its step events."""
    watch = RunawayWatch()
    return [event for step in steps for event in watch.read(step)]


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _event(sign: Sign, step: int, early: float, current: float, limit: float) -> Event:
    figures = {
        "entropy": f"the entropy of self responses rose from {early:.2f} to {current:.2f} nats per "
        "token",
        "length": f"self responses grew from {early:.0f} to {current:.0f} tokens on average, far "
        f"beyond the longest demonstration ({limit / LENGTH_MARGIN:.0f})",
    }
    return {
        "type": "runaway",
        "step": step,
        "sign": sign,
        "early": early,
        "current": current,
        "limit": limit,
        "message": f"Step {step}: {figures[sign]}. The run may be turning into noise. Lower "
        "train.learning_rate or, for GFT, set method.rectify=demonstrations; "
        "train.stop_on_runaway=true ends such a run and keeps its best adapter.",
    }
