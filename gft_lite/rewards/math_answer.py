"""`math`: is the final answer mathematically equal to the reference?

`answers.extract` finds the answer, `answers.grammar` reads it and the reference into typed values,
`answers.equality` compares them part by part. Two plain numbers are compared exactly (whole
numbers) or within `rel_tol`. Only pairs of single expressions need computer algebra.
"""

from __future__ import annotations

import logging

from gft_lite.rewards.answers.algebra import UnreadableError, algebraically_equal
from gft_lite.rewards.answers.equality import Algebra, answers_equal
from gft_lite.rewards.answers.extract import extract_answer, reference_answer
from gft_lite.rewards.answers.plain_number import equal, parse_number
from gft_lite.rewards.answers.writing import canonical, is_prose, same_writing
from gft_lite.rewards.base import ERROR, RIGHT, UNPARSED, Option, Options, Target, right_if
from gft_lite.types import Score

OPTIONS = {
    "rel_tol": Option(1e-6, (float,), "allowed distance of two decimals, as a share of the answer"),
    "last_number": Option(
        True, (bool,), "without a marked answer, take the last number or formula"
    ),
}


class _AlgebraNeededError(Exception):
    """Raised if the comparison cannot go on without sympy."""


def complain(target: Target, options: Options) -> str | None:
    """An empty reference cannot be compared with."""
    return None if reference_answer(target.answer or "") else "its answer is empty"


def validate(options: Options) -> str | None:
    """The tolerance is a share."""
    return None if 0 <= options["rel_tol"] < 1 else "rel_tol must be at least 0 and below 1"


def quick(
    response: str, target: Target, *, rel_tol: float = 1e-6, last_number: bool = True
) -> Score | None:
    """The score if no computer algebra is needed, else None."""

    def algebra(response_latex: str, reference_latex: str) -> bool:
        raise _AlgebraNeededError

    try:
        return _compared(response, target, algebra, rel_tol, last_number)
    except _AlgebraNeededError:
        return None


def score(
    response: str, target: Target, *, rel_tol: float = 1e-6, last_number: bool = True
) -> Score:
    """1 if the extracted answer equals the reference; "unparsed" if either cannot be read."""

    def algebra(response_latex: str, reference_latex: str) -> bool:
        return algebraically_equal(response_latex, reference_latex, rel_tol)

    try:
        return _compared(response, target, algebra, rel_tol, last_number)
    except UnreadableError:
        return UNPARSED


def _compared(
    response: str, target: Target, algebra: Algebra, rel_tol: float, last_number: bool
) -> Score:
    """The score with the given algebra, the cheap comparisons first."""
    reference = reference_answer(target.answer or "")
    if not reference:
        return ERROR
    extracted = extract_answer(response, fallback=last_number)
    if extracted is not None:
        expected, actual = parse_number(reference), parse_number(extracted.text)
        # Two signs, as in $5 and £5, are units and are compared as such.
        if expected and actual and not (expected.sign and actual.sign):
            return right_if(equal(actual, expected, rel_tol))
    unmarked = extracted is None or extracted.how in ("whole line", "last formula", "last number")
    # A short response without a marker may be the reference word for word.
    if last_number and unmarked and len(response) <= 2 * len(reference) + 40:
        whole, plain_reference = canonical(response), canonical(reference)
        if is_prose(whole):
            whole, plain_reference = whole.casefold(), plain_reference.casefold()
        if same_writing(whole, plain_reference):
            return RIGHT
    if extracted is None:
        return UNPARSED
    return right_if(answers_equal(extracted.text, reference, algebra, rel_tol))


def warm_up(options: Options) -> None:
    """Import math-verify and fill its caches."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    algebraically_equal(r"\frac{1}{2}", "x^2+1", 0.0)
