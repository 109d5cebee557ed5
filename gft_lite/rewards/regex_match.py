"""`regex`: does a pattern occur in the response?

Patterns are those of Python's `re`. A pattern may backtrack without end on some text, so this
verifier runs in the scoring process, which is killed at the time limit.
"""

from __future__ import annotations

import re

from gft_lite.rewards.base import ERROR, Need, Option, Options, Target, right_if
from gft_lite.types import Score

OPTIONS = {
    "pattern": Option(
        None, (str, type(None)), "the pattern; without one, each row's answer is its pattern"
    ),
    "full": Option(False, (bool,), "the whole response must match, not only a part of it"),
    "ignore_case": Option(False, (bool,), "upper and lower case count as equal"),
    "invert": Option(False, (bool,), "reward responses that do not match"),
}


def needs_rule(options: Options) -> Need:
    """The rows' answers are only used if no pattern is given."""
    return "answer" if options["pattern"] is None else None


def _fault(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as fault:
        return f"the pattern {pattern[:80]!r} is no regular expression: {fault}"
    return None


def validate(options: Options) -> str | None:
    """The pattern compiles."""
    return None if options["pattern"] is None else _fault(options["pattern"])


def complain(target: Target, options: Options) -> str | None:
    """An answer that is used as a pattern compiles."""
    if options["pattern"] is not None:
        return None
    return _fault(target.answer or "") if target.answer else "its answer is empty"


def score(
    response: str,
    target: Target,
    *,
    pattern: str | None = None,
    full: bool = False,
    ignore_case: bool = False,
    invert: bool = False,
) -> Score:
    """1 if the pattern matches (`invert`: if it does not). A dot matches line ends too."""
    pattern = target.answer if pattern is None else pattern
    if not pattern or _fault(pattern):
        return ERROR
    compiled = re.compile(pattern, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    match = compiled.fullmatch(response) if full else compiled.search(response)
    return right_if((match is None) == invert)
