"""`number`: the last number of the response against the last number of the answer."""

from __future__ import annotations

from gft_lite.rewards.answers.plain_number import PlainNumber, close, last_number, parse_number
from gft_lite.rewards.base import ERROR, UNPARSED, Option, Options, Target, right_if
from gft_lite.types import Score

OPTIONS = {
    "rel_tol": Option(1e-6, (float,), "allowed distance as a share of the answer"),
    "abs_tol": Option(0.0, (float,), "allowed distance in the answer's own unit"),
}


def _last(text: str) -> PlainNumber | None:
    number = last_number(text)
    return None if number is None else parse_number(number)


def complain(target: Target, options: Options) -> str | None:
    """A reference without a number cannot be compared with."""
    if _last(target.answer or "") is None:
        return f"its answer {(target.answer or '')[:60]!r} has no number"
    return None


def score(response: str, target: Target, *, rel_tol: float = 1e-6, abs_tol: float = 0.0) -> Score:
    """1 if |number − reference| ≤ max(rel_tol·|reference|, abs_tol); percents stay as written."""
    reference = _last(target.answer or "")
    if reference is None:
        return ERROR
    number = _last(response)
    if number is None:
        return UNPARSED
    return right_if(close(number.value, reference.value, rel_tol, abs_tol))


def validate(options: Options) -> str | None:
    """Tolerances are finite and not negative."""
    for name in ("rel_tol", "abs_tol"):
        if not 0 <= options[name] < float("inf"):
            return f"{name} must be 0 or more"
    return None
