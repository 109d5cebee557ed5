"""Runaway: self responses that turn into noise, detected from two metrics of the step events.

While most self responses are wrong, training takes probability from likely tokens and spreads it
over all others. At a constant or too high learning rate this can reinforce itself: entropy grows,
responses run to the length limit, and what was learned is lost within twenty steps (docs/log.md,
"GFT can run away into noise" and "A schedule that ends at zero"). Entropy doubles about fifteen
steps before accuracy falls.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable
from typing import Literal, TypeGuard

from gft_lite.runs.events import RunawayEvent, StepEvent

Sign = Literal["entropy", "length"]

EARLY_STEPS = 10  # their median is the early level of the run
RECENT_STEPS = 5  # their mean is the current level
RISE = 2.0
SMALLEST_LEVEL = 0.2  # nats per token; below it, twice the level is still a confident model
LENGTH_MARGIN = 1.5


class RunawayWatch:
    """Reads step events in order and reports each sign of a runaway once.

    The early level of a metric is the median of its first `EARLY_STEPS` values; nothing is reported
    before. The current level is the mean of its last `RECENT_STEPS` values, all of them after the
    early ones, so that one noisy step decides nothing.

    entropy: `entropy_nats_per_token` of self responses. Reported when the current level is more
        than `RISE` times the early level, or more than `RISE` times `SMALLEST_LEVEL` if the early
        level is smaller: the healthy run of the demo goes from 0.13 to 0.26 and back.
    length: `self_response_tokens`, the mean of a step. Reported when the current level exceeds
        `LENGTH_MARGIN` times the longest demonstration of all steps so far, unless the early level
        already did: a model whose responses are longer than its demonstrations from the start does
        not run away. Without the margin, three truncated responses in one step are enough.

    Steps without the metric are skipped; a method that samples no self responses has none. The
    state is a function of the events, so a resumed run that reads its events again continues
    exactly.
    """

    def __init__(self) -> None:
        self._early: dict[Sign, list[float]] = {"entropy": [], "length": []}
        self._recent: dict[Sign, deque[float]] = {
            "entropy": deque(maxlen=RECENT_STEPS),
            "length": deque(maxlen=RECENT_STEPS),
        }
        self._longest_demonstration_tokens = 0.0
        self._reported: set[Sign] = set()

    def read(self, event: StepEvent) -> list[RunawayEvent]:
        """Add one step; returns an event for each new sign, usually none."""
        if _is_finite(longest := event.longest_demonstration_tokens):
            longest = max(self._longest_demonstration_tokens, float(longest))
            self._longest_demonstration_tokens = longest
        if event.self_response_tokens is None:
            return []
        values: dict[Sign, float | None] = {
            "entropy": event.entropy_nats_per_token,
            "length": event.self_response_tokens,
        }
        return [
            runaway
            for sign, value in values.items()
            if _is_finite(value) and (runaway := self._check(sign, float(value), event.step))
        ]

    def _check(self, sign: Sign, value: float, step: int) -> RunawayEvent | None:
        levels = self._levels(sign, value)
        if levels is None or sign in self._reported:
            return None
        early, current = levels
        if sign == "entropy":
            limit = RISE * max(early, SMALLEST_LEVEL)
        elif self._longest_demonstration_tokens:
            limit = LENGTH_MARGIN * self._longest_demonstration_tokens
        else:  # no demonstration to compare with
            return None
        if not early <= limit < current:
            return None
        self._reported.add(sign)
        return _event(sign, step, early, current, limit)

    def _levels(self, sign: Sign, value: float) -> tuple[float, float] | None:
        """(early level, current level) with one more value; None until both are known."""
        early, recent = self._early[sign], self._recent[sign]
        if len(early) < EARLY_STEPS:
            early.append(value)
            return None
        recent.append(value)
        if len(recent) < RECENT_STEPS:
            return None
        return statistics.median(early), statistics.fmean(recent)


def runaway_events(steps: Iterable[StepEvent]) -> list[RunawayEvent]:
    """The `runaway` events of a whole run, from its step events."""
    watch = RunawayWatch()
    return [event for step in steps for event in watch.read(step)]


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _event(sign: Sign, step: int, early: float, current: float, limit: float) -> RunawayEvent:
    changes = {
        "entropy": f"the entropy of self responses rose from {early:.2f} to {current:.2f} nats per "
        "token",
        "length": f"self responses grew from {early:.0f} to {current:.0f} tokens on average, far "
        f"beyond the longest demonstration ({limit / LENGTH_MARGIN:.0f})",
    }
    return RunawayEvent(
        step=step,
        sign=sign,
        early=early,
        current=current,
        limit=limit,
        message=f"Step {step}: {changes[sign]}. The run may be turning into noise. Lower "
        "train.learning_rate or, for GFT, set method.rectify=demonstrations; "
        "train.stop_on_runaway=true ends such a run and keeps its best adapter.",
    )
