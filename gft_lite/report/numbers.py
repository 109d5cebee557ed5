"""Values out of events, and how they are written down. Pure functions.

Anything may be missing, NaN or of the wrong type in what is read: such a value is left out, never
guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Point = tuple[float, float]
DRAWN_POINTS = 1000  # more than a chart has pixels
LARGEST = 1e12  # beyond that, a chart shows nothing but that value
MISSING = "–"


def look(values: Any, path: str) -> Any:
    """`look(event, "target.greedy_accuracy")`; None where any part of the path is missing."""
    for key in path.split("."):
        if not isinstance(values, Mapping) or key not in values:
            return None
        values = values[key]
    return values


def number(values: Any, path: str) -> float | None:
    """The finite number at a path, or None."""
    value = look(values, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST else None  # NaN compares false


def series(events: Iterable[Mapping[str, Any]], path: str) -> tuple[Point, ...]:
    """(step, value) of every event that has a finite one."""
    pairs = ((number(event, "step"), number(event, path)) for event in events)
    return tuple((step, value) for step, value in pairs if step is not None and value is not None)


def total(events: Iterable[Mapping[str, Any]], path: str) -> float:
    """Sum of a field; what is missing counts as nothing."""
    return sum(number(event, path) or 0.0 for event in events)


def downsample(points: Sequence[Point], limit: int = DRAWN_POINTS) -> list[Point]:
    """At most `limit` points that keep every peak: the lowest and the highest of each stretch."""
    if len(points) <= limit:
        return list(points)
    stretches = limit // 2
    extremes: list[Point] = []
    for i in range(stretches):
        part = points[i * len(points) // stretches : (i + 1) * len(points) // stretches]
        low, high = min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])
        extremes += sorted({low, high})
    return extremes


def running_mean(points: Sequence[Point], window: int) -> list[Point]:
    """Mean of the `window` values around each point, fewer at the ends."""
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    half = window // 2
    out = []
    for i, (x, _) in enumerate(points):
        first, last = max(0, i - half), min(len(points), i + half + 1)
        out.append((x, (sums[last] - sums[first]) / (last - first)))
    return out


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values between low and high, about `wanted` of them, steps of 1, 2 or 5 times 10^n."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / count
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(m * base for m in (1, 2, 5, 10) if m * base >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


# --- in words ---


def at_k(name: str, k: float, temperature: object) -> str:
    """ "mean", 8, 0.5 → 'mean@8, T=0.5'; documents of earlier versions have no temperature."""
    known = isinstance(temperature, int | float)
    return f"{name}@{k:.0f}" + (f", T={temperature:g}" if known else "")


def percent(share: float | None) -> str:
    """0.525 → '52.5 %', with a no-break space."""
    return MISSING if share is None else f"{100 * share:.1f}\u00a0%"


def short_percent(share: float) -> str:
    """For an axis: 0.5 → '50 %', 0.005 → '0.5 %'."""
    return f"{100 * share:.3g}\u00a0%"


def figure(value: float | None) -> str:
    """Three significant digits and a real minus sign: -0.01234 → '−0.0123'."""
    if value is None:
        return MISSING
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return power(value)
    plain = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:z.3g}"
    return plain.replace("-", "−")


def power(value: float | None) -> str:
    """As learning rates are written: 0.001 → '1e−3'."""
    if not value:
        return MISSING if value is None else "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    plain = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return plain.replace("-", "−")


def duration(seconds: float | None) -> str:
    """93 → '1 min 33 s'."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f}\u00a0s" if seconds < 10 else f"{seconds:.0f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min {rest}\u00a0s"
    return f"{minutes // 60}\u00a0h {minutes % 60}\u00a0min"
