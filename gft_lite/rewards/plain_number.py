"""Numbers as people write them, read exactly and without sympy.

Understood: 1000 · 1,000 · -3 · −3 · +.5 · 3/4 · 1e-3 · $5 · 50% · 5. · \\frac{3}{4} · 1{,}000 ·
1 000 · 5\\text{ cm} · 90^\\circ · $7$. Everything else is no plain number (None).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

MAX_CHARS = 200

NUMBER = (
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
)
LATEX_FRACTION = r"\\[dt]?frac\s*\{\s*-?[0-9]+\s*\}\s*\{\s*-?[0-9]+\s*\}"
_PLAIN = re.compile(
    rf"\s*([-+]?)\s*[$€£¥]?\s*([-+]?)({NUMBER})(?:\s*/\s*({NUMBER}))?\s*(%?)\s*\.?\s*"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?[0-9]+)\s*\}\s*\{\s*(-?[0-9]+)\s*\}")
# A sign belongs to the number only where nothing stands before it that it could subtract from.
_IN_TEXT = re.compile(
    rf"(?:(?<![A-Za-z0-9_)\]}}%.])[-+])?(?:{LATEX_FRACTION}|"
    rf"[$€£¥]?(?<![A-Za-z0-9_]){NUMBER}(?:/{NUMBER}(?![/0-9]))?\s?%?)"
)
_SPACED_THOUSANDS = re.compile(r"[-+]?\$?[0-9]{1,3}(?: [0-9]{3})+(?:\.[0-9]+)?")
_UNIT = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{[^{}]*\}(?:\^\{?[0-9]\}?)?\s*\.?$")
_WRAPPED = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf)\s*\{([^{}]*)\}")
_DEGREES = re.compile(r"(?:\^\s*\{?\s*\\circ\s*\}?|°)\s*$")
_SPACING = re.compile(r"(?<!\\)\\[,!;: ]|\\(?:left|right|displaystyle)(?![a-z])")
_BOLD = re.compile(r"(?<!\S)\*\*(\S[^*]*)\*\*(?=[\s.,;:!?]|$)")
_ASCII = str.maketrans(
    "−﹣－–‐‑\u00a0\u2007\u2009\u202f０１２３４５６７８９，．％＄",
    "------    0123456789,.%$",
)


@dataclass(frozen=True)
class PlainNumber:
    """An exact value; `percent` where a % stood after it (the value is not divided by 100)."""

    value: Fraction
    percent: bool = False


def to_ascii(text: str) -> str:
    """Unicode minus signs, spaces and full-width digits as their ASCII twins."""
    return text if text.isascii() else text.translate(_ASCII)


def clean(text: str) -> str:
    """One answer without the decoration that changes nothing: $…$, \\(…\\), bold, LaTeX spaces."""
    text = _BOLD.sub(r"\1", _SPACING.sub(" ", to_ascii(text))).strip().strip("*`").strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        inner = text.rstrip(".").rstrip()
        longer = len(inner) > len(opening) + len(closing)
        if longer and inner.startswith(opening) and inner.endswith(closing):
            inside = inner[len(opening) : -len(closing)]
            if opening not in inside and not inside.endswith("\\"):
                text = inside.strip()
    whole = _WRAPPED.fullmatch(text)
    return whole[1].strip() if whole else text


@lru_cache(maxsize=4096)
def parse_number(text: str) -> PlainNumber | None:
    """The number that `text` is as a whole, or None if it is anything else."""
    if len(text) > MAX_CHARS:
        return None
    match = _PLAIN.fullmatch(text)
    if match is None:
        match = _PLAIN.fullmatch(_plainer(text))
    if match is None:
        return None
    sign, inner_sign, top, bottom, percent = match.groups()
    if sign and inner_sign:
        return None
    value = Fraction(top.replace(",", ""))
    if bottom is not None:
        divisor = Fraction(bottom.replace(",", ""))
        if divisor == 0:
            return None
        value /= divisor
    return PlainNumber(-value if "-" in (sign, inner_sign) else value, bool(percent))


def _plainer(text: str) -> str:
    text = clean(text).replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")
    if _SPACED_THOUSANDS.fullmatch(text):
        return text.replace(" ", "")
    text = _DEGREES.sub("", _UNIT.sub("", text)).strip()
    return _FRACTION.sub(_slash, text)


def _slash(match: re.Match[str]) -> str:
    top, bottom = int(match[1]), int(match[2])
    return f"{'-' if (top < 0) != (bottom < 0) else ''}{abs(top)}/{abs(bottom)}"


def last_number(text: str) -> str | None:
    """The last number in running text, as written; digits inside a word do not count."""
    every = _IN_TEXT.findall(to_ascii(text))
    return every[-1].strip() if every else None


def close(got: Fraction, wanted: Fraction, rel_tol: float, abs_tol: float = 0.0) -> bool:
    """|got − wanted| ≤ max(rel_tol·|wanted|, abs_tol), in exact arithmetic."""
    if got == wanted:
        return True
    distance = abs(got - wanted)
    return distance <= abs(wanted) * Fraction(rel_tol) or distance <= Fraction(abs_tol)


def equal(got: PlainNumber, wanted: PlainNumber, rel_tol: float) -> bool:
    """Whole numbers exactly, others within `rel_tol`.

    Where only one side has a percent sign both readings count: 50% is 50 and is 0.5.
    """
    if got.value.denominator == 1 and wanted.value.denominator == 1:
        if got.value == wanted.value:
            return True
    elif close(got.value, wanted.value, rel_tol):
        return True
    if got.percent == wanted.percent:
        return False
    hundredth = Fraction(1, 100)
    return close(
        got.value * hundredth if got.percent else got.value,
        wanted.value * hundredth if wanted.percent else wanted.value,
        rel_tol,
    )
