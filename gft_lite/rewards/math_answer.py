"""`math`: is the final answer mathematically equal to the reference?

The answer is found as `extract` says. Two plain numbers are compared exactly (whole numbers) or
within `rel_tol` without sympy, and equal strings are equal; only the rest goes to math-verify
(github.com/huggingface/Math-Verify), whose own time limits are switched off: they are signals that
work in a main thread only. The time limit is the scoring process's.

A reference made of words ("Monday") is compared as text: read as a product of letters, "live"
would equal "evil".
"""

from __future__ import annotations

import re

from gft_lite.rewards.base import ERROR, RIGHT, UNPARSED, WRONG, Option, Options, Target, right_if
from gft_lite.rewards.exact import normalise
from gft_lite.rewards.extract import extract_answer, is_prose, reference_answer
from gft_lite.rewards.plain_number import equal, parse_number
from gft_lite.types import Score

OPTIONS = {
    "rel_tol": Option(1e-6, (float,), "allowed distance of two decimals, as a share of the answer"),
    "last_number": Option(True, (bool,), "without a marked answer, take the last number"),
}

_MEANINGLESS = re.compile(r"\s+|\\[,!;:]|\\left|\\right|\$|\.$")
_DELIMITED = re.compile(r"\$|\\\(|\\\[")
_FORMULA = re.compile(r"[0-9=^_\\+*/<>]")


def complain(target: Target, options: Options) -> str | None:
    """An empty reference cannot be compared with."""
    return None if reference_answer(target.answer or "") else "its answer is empty"


def validate(options: Options) -> str | None:
    """The tolerance is a share."""
    return None if 0 <= options["rel_tol"] < 1 else "rel_tol must be at least 0 and below 1"


def quick(
    response: str, target: Target, *, rel_tol: float = 1e-6, last_number: bool = True
) -> Score | None:
    """The score where no computer algebra is needed, else None."""
    wanted = reference_answer(target.answer or "")
    if not wanted:
        return ERROR
    found = extract_answer(response, allow_last_number=last_number)
    if found is None:
        return UNPARSED
    wanted_number, got_number = parse_number(wanted), parse_number(found.text)
    if wanted_number is not None and got_number is not None:
        return right_if(equal(got_number, wanted_number, rel_tol))
    if _same_writing(found.text, wanted):
        return RIGHT
    if is_prose(wanted) and not _FORMULA.search(wanted):
        return right_if(_as_text(found.text) == _as_text(wanted))
    return None


def score(
    response: str, target: Target, *, rel_tol: float = 1e-6, last_number: bool = True
) -> Score:
    """1 where the extracted answer equals the reference; "unparsed" where either is unreadable."""
    decided = quick(response, target, rel_tol=rel_tol, last_number=last_number)
    if decided is not None:
        return decided
    found = extract_answer(response, allow_last_number=last_number)
    return algebraic(found.text if found else "", reference_answer(target.answer or ""))


def algebraic(got: str, wanted: str) -> Score:
    """math-verify's comparison of two answers as written."""
    from math_verify import verify

    wanted_read, got_read = _read(wanted), _read(got)
    if all(isinstance(item, str) for item in got_read + wanted_read):
        return UNPARSED
    if not got_read or not wanted_read or isinstance(got_read[0], str):
        return UNPARSED
    return RIGHT if verify(wanted_read, got_read, timeout_seconds=None) else WRONG


def _read(answer: str) -> list[object]:
    from math_verify import parse

    bare = is_prose(answer) or _DELIMITED.search(answer)
    return list(parse(answer if bare else f"${answer}$", parsing_timeout=None))


def _as_text(answer: str) -> str:
    return normalise(answer, ignore_case=True, ignore_spaces=True, ignore_punctuation=True)


def _same_writing(left: str, right: str) -> bool:
    left, right = (_MEANINGLESS.sub("", text) for text in (left, right))
    left, right = (re.sub(r"\\[dt]frac", r"\\frac", text) for text in (left, right))
    return bool(left) and left == right


def warm_up() -> None:
    """Import math-verify and fill its caches, so that the first item is not charged for it."""
    import logging

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    algebraic("\\frac{1}{2}", "x^2+1")
