"""`math`: is the final answer mathematically equal to the reference?

`extract` finds the answer, `answer` reads it and the reference into typed values, `equality`
compares them part by part. Two plain numbers are compared exactly (whole numbers) or within
`rel_tol`. Only pairs of single expressions go to math-verify
(github.com/huggingface/Math-Verify), whose own time limits are switched off: they are signals that
work in a main thread only. The time limit is the scoring process's.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import Any

from gft_lite.rewards.base import ERROR, RIGHT, UNPARSED, Option, Options, Target, right_if
from gft_lite.rewards.equality import Algebra, answers_equal
from gft_lite.rewards.extract import extract_answer, reference_answer
from gft_lite.rewards.plain_number import equal, parse_number
from gft_lite.rewards.writing import canonical, is_prose, same_writing
from gft_lite.types import Score

OPTIONS = {
    "rel_tol": Option(1e-6, (float,), "allowed distance of two decimals, as a share of the answer"),
    "last_number": Option(
        True, (bool,), "without a marked answer, take the last number or formula"
    ),
}

_BRACES = re.compile(r"\s*([{}])\s*")  # math-verify cannot read a space before a closing brace
_TIMES = re.compile(r"(?<![A-Za-z0-9_^.])([0-9.]+)\s*\(")


class _AlgebraNeededError(Exception):
    """Raised where the comparison cannot go on without sympy."""


class _UnreadableError(Exception):
    """Raised where math-verify cannot read one of the two sides."""


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
    try:
        return _judge(response, target, _no_algebra, rel_tol, last_number)
    except _AlgebraNeededError:
        return None


def score(
    response: str, target: Target, *, rel_tol: float = 1e-6, last_number: bool = True
) -> Score:
    """1 where the extracted answer equals the reference; "unparsed" where either is unreadable."""

    def algebra(got: str, wanted: str) -> bool:
        return algebraically_equal(got, wanted, rel_tol)

    try:
        return _judge(response, target, algebra, rel_tol, last_number)
    except _UnreadableError:
        return UNPARSED


def _judge(
    response: str, target: Target, algebra: Algebra, rel_tol: float, last_number: bool
) -> Score:
    wanted = reference_answer(target.answer or "")
    if not wanted:
        return ERROR
    found = extract_answer(response, fallback=last_number)
    if found is not None:
        wanted_number, got_number = parse_number(wanted), parse_number(found.text)
        if wanted_number and got_number and not (wanted_number.sign and got_number.sign):
            return right_if(equal(got_number, wanted_number, rel_tol))
    unmarked = found is None or found.how in ("whole line", "last formula", "last number")
    if unmarked and len(response) <= 2 * len(wanted) + 40:
        whole, reference = canonical(response), canonical(wanted)
        if last_number and is_prose(whole):
            whole, reference = whole.casefold(), reference.casefold()
        if last_number and same_writing(whole, reference):
            return RIGHT
    if found is None:
        return UNPARSED
    return right_if(answers_equal(found.text, wanted, algebra, rel_tol))


def _no_algebra(got: str, wanted: str) -> bool:
    raise _AlgebraNeededError


def algebraically_equal(got: str, wanted: str, rel_tol: float) -> bool:
    """math-verify's comparison of two expressions; numbers within `rel_tol` if one is a decimal."""
    from math_verify import verify
    from sympy import Eq, simplify

    wanted_read, got_read = _read(wanted), _read(got)
    if wanted_read is None or got_read is None:
        raise _UnreadableError
    if _is_decimal(wanted_read) or _is_decimal(got_read):
        within = _within(got_read, wanted_read, rel_tol)
        if within is not None:
            return within
    if _differ_at_a_point(got_read, wanted_read):
        return False
    if isinstance(wanted_read, Eq) and isinstance(got_read, Eq):
        # Not by their solutions: two equations without one would be equal.
        with contextlib.suppress(TypeError, ValueError, AttributeError, NotImplementedError):
            ratio = simplify((got_read.lhs - got_read.rhs) / (wanted_read.lhs - wanted_read.rhs))
            return bool(ratio.is_number and ratio.is_finite and not ratio.is_zero)
    return bool(verify(wanted_read, got_read, timeout_seconds=None, allow_set_relation_comp=True))


@lru_cache(maxsize=256)
def _read(expression: str) -> Any:
    """The sympy object of one expression in LaTeX, or None."""
    from math_verify import LatexExtractionConfig, parse

    latex = _TIMES.sub(r"\1\\cdot(", _BRACES.sub(r"\1", expression)).replace("°", r"^{\circ}")
    every = parse(f"${latex}$", [LatexExtractionConfig()], parsing_timeout=None)
    return every[0] if every and not isinstance(every[0], str) else None


def _is_decimal(read: Any) -> bool:
    from sympy import Expr, Float

    return isinstance(read, Expr) and read.has(Float)


def _within(got: Any, wanted: Any, rel_tol: float) -> bool | None:
    """Whether two numbers are close; None where one of them is no number."""
    from sympy import Expr

    if not all(isinstance(side, Expr) and not side.free_symbols for side in (got, wanted)):
        return None
    try:
        left, right = complex(got.evalf(20)), complex(wanted.evalf(20))
    except (TypeError, ValueError, OverflowError):
        return None
    return abs(left - right) <= max(rel_tol * abs(right), 1e-15 * abs(left))


def _differ_at_a_point(got: Any, wanted: Any) -> bool:
    """Whether two expressions with variables have different values at one point.

    Then they are unequal, and sympy need not simplify their difference, which can take for ever.
    """
    from sympy import Expr, Rational, Symbol

    both = (got, wanted)
    if not all(isinstance(side, Expr) and not isinstance(side, Symbol) for side in both):
        return False
    names = sorted({symbol.name for side in both for symbol in side.free_symbols})
    if not names:
        return False
    point = {name: Rational(7 * place + 31, 29) for place, name in enumerate(names)}
    try:
        left, right = (
            complex(side.subs({each: point[each.name] for each in side.free_symbols}).evalf(20))
            for side in both
        )
    except (TypeError, ValueError, OverflowError, AttributeError):
        return False
    return abs(left - right) > 1e-6 * max(1.0, abs(left), abs(right))


def warm_up(options: Options) -> None:
    """Import math-verify and fill its caches."""
    import logging

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    algebraically_equal(r"\frac{1}{2}", "x^2+1", 0.0)
