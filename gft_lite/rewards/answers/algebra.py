"""Two expressions or equations compared with computer algebra (sympy, imported on use).

Expressions are read and compared by math-verify (github.com/huggingface/Math-Verify). Its own time
limits are switched off: they are signals that work in a main thread only. The time limit is that of
the scoring process.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import Any

_BRACES = re.compile(r"\s*([{}])\s*")  # math-verify cannot read a space before a closing brace
_TIMES = re.compile(r"(?<![A-Za-z0-9_^.])([0-9.]+)\s*\(")


class UnreadableError(Exception):
    """Raised if math-verify cannot read one of the two sides."""


def algebraically_equal(response: str, reference: str, rel_tol: float) -> bool:
    """math-verify's comparison of two expressions; numbers within `rel_tol` if one is a decimal."""
    from math_verify import verify
    from sympy import Eq, simplify

    reference_read, response_read = _read(reference), _read(response)
    if reference_read is None or response_read is None:
        raise UnreadableError
    if _is_decimal(reference_read) or _is_decimal(response_read):
        within = _within(response_read, reference_read, rel_tol)
        if within is not None:
            return within
    if _differ_at_a_point(response_read, reference_read):
        return False
    if isinstance(reference_read, Eq) and isinstance(response_read, Eq):
        # Not by their solutions: two equations without one would be equal.
        with contextlib.suppress(TypeError, ValueError, AttributeError, NotImplementedError):
            ratio = simplify(
                (response_read.lhs - response_read.rhs) / (reference_read.lhs - reference_read.rhs)
            )
            return bool(ratio.is_number and ratio.is_finite and not ratio.is_zero)
    return bool(
        verify(reference_read, response_read, timeout_seconds=None, allow_set_relation_comp=True)
    )


@lru_cache(maxsize=256)
def _read(expression: str) -> Any:
    """The sympy object of one expression in LaTeX, or None."""
    from math_verify import LatexExtractionConfig, parse

    latex = _TIMES.sub(r"\1\\cdot(", _BRACES.sub(r"\1", expression)).replace("°", r"^{\circ}")
    expressions = parse(f"${latex}$", [LatexExtractionConfig()], parsing_timeout=None)
    return expressions[0] if expressions and not isinstance(expressions[0], str) else None


def _is_decimal(read: Any) -> bool:
    from sympy import Expr, Float

    return isinstance(read, Expr) and read.has(Float)


def _within(response: Any, reference: Any, rel_tol: float) -> bool | None:
    """Whether two numbers are close; None if one of them is not a number."""
    from sympy import Expr

    if not all(isinstance(side, Expr) and not side.free_symbols for side in (response, reference)):
        return None
    try:
        left, right = complex(response.evalf(20)), complex(reference.evalf(20))
    except (TypeError, ValueError, OverflowError):
        return None
    return abs(left - right) <= max(rel_tol * abs(right), 1e-15 * abs(left))


def _differ_at_a_point(response: Any, reference: Any) -> bool:
    """Whether two expressions with variables have different values at one point.

    Then they are unequal, and sympy need not simplify their difference, which can take for ever.
    """
    from sympy import Expr, Rational, Symbol

    both = (response, reference)
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
