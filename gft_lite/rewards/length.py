"""`length`: 1 inside the bounds, falling linearly outside them.

Below a minimum m a length n earns n/m; above a maximum M it earns 2 − n/M, so 0 from 2·M on.
With several bounds the smallest value counts.
"""

from __future__ import annotations

from gft_lite.rewards.base import Option, Options, Target
from gft_lite.types import Score

_BOUND = (int, type(None))
OPTIONS = {
    "min_chars": Option(1, _BOUND, "fewest characters, without surrounding white space"),
    "max_chars": Option(2000, _BOUND, "most characters; null for no limit"),
    "min_words": Option(None, _BOUND, "fewest words (split at white space)"),
    "max_words": Option(None, _BOUND, "most words"),
}


def validate(options: Options) -> str | None:
    """Bounds are positive (a minimum may be 0), and a minimum is not above its maximum."""
    for unit in ("chars", "words"):
        low, high = options[f"min_{unit}"], options[f"max_{unit}"]
        if low is not None and low < 0:
            return f"min_{unit} must be 0 or more"
        if high is not None and high < 1:
            return f"max_{unit} must be 1 or more"
        if low is not None and high is not None and low > high:
            return f"min_{unit} ({low}) is above max_{unit} ({high})"
    return None


def _inside(count: int, low: int | None, high: int | None) -> float:
    if low and count < low:
        return count / low
    if high is not None and count > high:
        return max(0.0, 2.0 - count / high)
    return 1.0


def score(
    response: str,
    target: Target,
    *,
    min_chars: int | None = 1,
    max_chars: int | None = 2000,
    min_words: int | None = None,
    max_words: int | None = None,
) -> Score:
    """How well the response keeps to the bounds; never "unparsed"."""
    text = response.strip()
    chars = _inside(len(text), min_chars, max_chars)
    if min_words is None and max_words is None:
        return Score(chars)
    return Score(min(chars, _inside(len(text.split()), min_words, max_words)))
