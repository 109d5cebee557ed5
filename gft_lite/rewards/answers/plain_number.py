"""Numbers as people write them, read exactly and without sympy.

Understood: 1000 · 1,000 · 1{,}000 · 1 000 · 1'000 · 1.000.000 · 1.000,50 · -3 · −3 · +.5 · 5. ·
3/4 · \\frac{3}{4} · 2\\frac{1}{2} · 2 1/2 · 1e-3 · 3.2 \\times 10^5 · 0.\\overline{3} · 0.(3) ·
5! · $5 · 50% · 90^\\circ · $7$. Everything else is no plain number (None).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from gft_lite.rewards.answers.writing import canonical, to_ascii

MAX_CHARS = 200
LARGEST_FACTORIAL = 99

CURRENCY = "$€£¥₹"
NUMBER = (
    r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
)
LATEX_FRACTION = r"\\[dt]?frac\s*\{\s*-?[0-9]+\s*\}\s*\{\s*-?[0-9]+\s*\}"
_PLAIN = re.compile(
    rf"\s*([-+]?)\s*([{CURRENCY}]?)\s*([-+]?)({NUMBER})(?:\s*/\s*({NUMBER}))?\s*(%?)\s*\.?\s*"
)
# The same frame around the forms that are rarer or need LaTeX, on a canonical text.
_FRAMED = re.compile(rf"([-+]?)\s*([{CURRENCY}]?)\s*([-+]?)\s*(.+?)\s*([%°{CURRENCY}]?)")
_INTEGER = r"[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+"
_FRACTION = re.compile(
    rf"(?:({_INTEGER})\s*)?\\frac\s*\{{\s*(-?)\s*({NUMBER})\s*\}}\s*\{{\s*(-?)\s*({NUMBER})\s*\}}"
)
_MIXED = re.compile(rf"({_INTEGER}) ([0-9]+)\s*/\s*([0-9]+)")
_SCIENTIFIC = re.compile(
    rf"({NUMBER})\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{{\s*([-+]?[0-9]{{1,3}})\s*\}}|([-+]?[0-9]{{1,3}}))"
)
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)(?:\\(?:overline|bar|dot)\s*\{([0-9]+)\}|\(([0-9]+)\))")
_FACTORIAL = re.compile(r"([0-9]{1,3})!")
_GROUPED = re.compile(
    r"[0-9]{1,3}(?:(?: [0-9]{3})+(?:[.,][0-9]+)?|(?:'[0-9]{3})+(?:\.[0-9]+)?"
    r"|(?:\.[0-9]{3}){2,}(?:,[0-9]+)?|(?:\.[0-9]{3})+,[0-9]+)"
)
_DECIMAL_COMMA = re.compile(r"([-+]?)([0-9]+),([0-9]+)")
# A sign belongs to the number only if nothing before it could be subtracted from.
_IN_TEXT = re.compile(
    rf"(?:(?<![A-Za-z0-9_)\]}}%.])[-+])?(?:{LATEX_FRACTION}|"
    rf"[{CURRENCY}]?(?<![A-Za-z0-9_]){NUMBER}(?:/{NUMBER}(?![/0-9]))?\s?%?)"
)
_LATEX_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,\\!)\s?(?=[0-9]{3})")


@dataclass(frozen=True)
class PlainNumber:
    """An exact value; `percent` if a % stood after it (the value is not divided by 100).

    `sign` is the currency or degree sign that stood at the number, or empty.
    """

    value: Fraction
    percent: bool = False
    sign: str = ""


@lru_cache(maxsize=4096)
def parse_number(text: str) -> PlainNumber | None:
    """The number that `text` is as a whole, or None if it is anything else."""
    if len(text) > MAX_CHARS:
        return None
    match = _PLAIN.fullmatch(text)
    if match is None:
        text = canonical(text)
        match = _PLAIN.fullmatch(text)
    if match is None:
        return _parse_rare(text)
    outer, currency, inner, top, bottom, percent = match.groups()
    if outer and inner:
        return None
    value = _fraction(top)
    if bottom is not None:
        divisor = _fraction(bottom)
        if divisor == 0:
            return None
        value /= divisor
    return PlainNumber(-value if "-" in (outer, inner) else value, bool(percent), currency)


def _parse_rare(text: str) -> PlainNumber | None:
    frame = _FRAMED.fullmatch(text)
    if frame is None or not any(char.isdigit() for char in text):
        return None
    outer, currency, inner, body, after = frame.groups()
    value = _rare_value(body)
    if value is None or (outer and inner):
        return None
    negative = "-" in (outer, inner)
    return PlainNumber(-value if negative else value, after == "%", currency or after.strip("%"))


def _rare_value(body: str) -> Fraction | None:
    if match := re.fullmatch(NUMBER, body):
        return _fraction(body)
    if match := _FRACTION.fullmatch(body):
        whole, top_sign, top, bottom_sign, bottom = match.groups()
        if _fraction(bottom) == 0 or (whole and (top_sign or bottom_sign)):
            return None
        part = _fraction(top) / _fraction(bottom) * (-1 if top_sign != bottom_sign else 1)
        return _fraction(whole) + part if whole else part
    if (match := _MIXED.fullmatch(body)) and 0 < int(match[2]) < int(match[3]):
        return _fraction(match[1]) + Fraction(int(match[2]), int(match[3]))
    if match := _SCIENTIFIC.fullmatch(body):
        return _fraction(match[1]) * Fraction(10) ** int(match[2] or match[3])
    if match := _REPEATING.fullmatch(body):
        head, fixed, period = match[1] or "0", match[2], match[3] or match[4]
        once = int(head + fixed + period) - int(head + fixed)
        return Fraction(once, (10 ** len(period) - 1) * 10 ** len(fixed))
    if (match := _FACTORIAL.fullmatch(body)) and int(match[1]) <= LARGEST_FACTORIAL:
        return Fraction(math.factorial(int(match[1])))
    if _GROUPED.fullmatch(body):
        comma_decimal = body.count(".") > 1 or re.search(r"[.' ][0-9]{3},[0-9]+$", body)
        if comma_decimal:
            body = body.replace(".", "").replace(",", ".")
        return Fraction(re.sub("[ ']", "", body))
    return None


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))


def decimal_comma(text: str) -> PlainNumber | None:
    """The number that `1,25` is if its comma is a decimal one."""
    match = _DECIMAL_COMMA.fullmatch(text) if len(text) <= MAX_CHARS else None
    return PlainNumber(Fraction(f"{match[1]}{match[2]}.{match[3]}")) if match else None


def last_number(text: str) -> str | None:
    """The last number in running text, as written; digits inside a word do not count."""
    text = to_ascii(text)
    if "\\!" in text or "{,}" in text:
        text = _LATEX_THOUSANDS.sub(",", text)
    numbers = _IN_TEXT.findall(text)
    return numbers[-1].strip() if numbers else None


def close(number: Fraction, reference: Fraction, rel_tol: float, abs_tol: float = 0.0) -> bool:
    """|number − reference| ≤ max(rel_tol·|reference|, abs_tol), in exact arithmetic."""
    if number == reference:
        return True
    distance = abs(number - reference)
    return distance <= abs(reference) * Fraction(rel_tol) or distance <= Fraction(abs_tol)


def equal(number: PlainNumber, reference: PlainNumber, rel_tol: float) -> bool:
    """Whole numbers exactly, others within `rel_tol`.

    If only one side has a percent sign, both readings count: 50% is 50 and is 0.5.
    """
    if number.value.denominator == 1 and reference.value.denominator == 1:
        if number.value == reference.value:
            return True
    elif close(number.value, reference.value, rel_tol):
        return True
    if number.percent == reference.percent:
        return False
    hundredth = Fraction(1, 100)
    return close(
        number.value * hundredth if number.percent else number.value,
        reference.value * hundredth if reference.percent else reference.value,
        rel_tol,
    )
