"""One canonical writing of an answer, so that decoration never decides a comparison.

`canonical` keeps the mathematics in LaTeX and removes what changes nothing: delimiters, bold, LaTeX
spaces, sizes of brackets, text commands. The search for formulas is linear in the text's length.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_ASCII = str.maketrans(
    "−﹣－–‐‑\u00a0\u2007\u2009\u202f０１２３４５６７８９，．％＄",
    "------    0123456789,.%$",
)
_LATEX = {
    ord(char): latex
    for char, latex in {
        "≤": r"\le ", "≥": r"\ge ", "≠": r"\neq ", "≈": r"\approx ", "×": r"\times ",
        "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "±": r"\pm ", "∓": r"\mp ", "π": r"\pi ",
        "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",
        "θ": r"\theta ", "²": "^2", "³": "^3", "½": r" \frac{1}{2}", "⅓": r" \frac{1}{3}",
        "⅔": r" \frac{2}{3}", "¼": r" \frac{1}{4}", "¾": r" \frac{3}{4}", "’": "'",
    }.items()
}  # fmt: skip

_BOLD = re.compile(r"(?<!\S)\*\*(\S[^*]*)\*\*(?=[\s.,;:!?]|$)")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z]{2}|[%$!,;:])")
_MATRIX = re.compile(r"\\begin|\\\\\s")
_THOUSANDS = re.compile(r"(?<=[0-9])\s*(?:\{\s*,\s*\}|,\s*\\!)\s*(?=[0-9]{3})")
_DECIMAL_COMMA = re.compile(r"(?<=[0-9])\s*\{\s*,\s*\}\s*(?=[0-9])")
_SPACES = re.compile(r"(?<!\\)\\[,;: ]|~|\\q?quad(?![A-Za-z])|\\hspace\*?\{[^{}]*\}")
_NOTHING = re.compile(
    r"\\!|\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\.?|\\(?:display|text)style(?![A-Za-z])"
)
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|normal|sf)?|mathrm|mathbf|mathit|mathsf|mbox|operatorname)\s*"
    r"\{([^{}]*)\}"
)
_SYNONYMS = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\frac\s*([0-9])\s*(?=[0-9{])"), r"\\frac{\1}"),
    (re.compile(r"\\frac(\{[^{}]*\})\s*([0-9])"), r"\\frac\1{\2}"),
    (re.compile(r"\^\s*\{?\s*(?:\\circ|\\degree)\s*\}?|\\degree(?![A-Za-z])"), "°"),
    (re.compile(r"\\l(?:eq(?:slant)?)(?![A-Za-z])|<=|=<"), r"\\le "),
    (re.compile(r"\\g(?:eq(?:slant)?)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\neq?(?![A-Za-z])|!="), r"\\neq "),
    (re.compile(r"(?<![A-Za-z\\])infinity(?![A-Za-z])", re.IGNORECASE), r"\\infty "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\l?brack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\\(?:colon|mathpunct:)(?![A-Za-z])"), ":"),
    (re.compile(r"(?<=[0-9)}])\*\*(?=[0-9({-])|(?<=[A-Za-z])\*\*(?=[0-9({-])"), "^"),
    (re.compile(r"(?<=[0-9])\s*(?:percentage|percent|per cent|pct)(?![A-Za-z])"), "%"),
    (re.compile(r"\b([ap])\.\s?m\b\.?", re.IGNORECASE), r"\1m"),
)
_SPACE = re.compile(r"\s+")
_JOINED = re.compile(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])")
_DELIMITER = re.compile(r"\\\\|\\\$|\$\$|\$|\\[\[\]()]|\n\s*\n")
_CLOSING = {"$": "$", "$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_COMMAND_WITH_NAME = re.compile(r"\\[A-Za-z]+\s*(?:\{[A-Za-z*\s]*\})?")
_WORD = re.compile(
    r"[^\W\d_]{3,}|(?<!\S)(?:no|so|it|is|in|on|at|by|as|if|of|to)(?![^\s.,])", re.IGNORECASE
)
_FUNCTIONS = frozenset({
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "max", "min", "gcd", "lcm", "mod", "det", "inf", "sup", "frac",
})  # fmt: skip


def to_ascii(text: str) -> str:
    """Unicode minus signs, spaces and full-width digits as their ASCII twins."""
    return text if text.isascii() else text.translate(_ASCII)


class Formula(NamedTuple):
    """A formula between delimiters: its place with them, and its content without them."""

    start: int
    end: int
    content: str


def formulas(text: str) -> list[Formula]:
    """The formulas of a text, in order.

    A dollar sign before a digit may be a currency: `$18. He paid $20` and `$5 and the rest costs
    $x$` have no formula that starts with a number.
    """
    spans: list[Formula] = []
    opening: re.Match[str] | None = None
    for token in _DELIMITER.finditer(text):
        mark = token[0]
        if mark in ("\\\\", "\\$"):
            continue
        if mark.isspace():
            opening = None
        elif opening is not None and mark == _CLOSING[opening[0]]:
            if mark == "$" and _is_currency(text, opening.end(), token):
                opening = token
            elif (content := text[opening.end() : token.start()]).strip():
                spans.append(Formula(opening.start(), token.end(), content))
                opening = None
        elif mark in _CLOSING and (opening is None or opening[0] == "$"):
            opening = token
    return spans


def _is_currency(text: str, start: int, closing: re.Match[str]) -> bool:
    inside = text[start : closing.start()]
    if text[closing.end() : closing.end() + 1].isdigit() or "\n" in inside.strip():
        return True
    return inside[:1].isdigit() and inside[-1:].isspace() and is_prose(inside)


def without_delimiters(text: str) -> str:
    """The text with the delimiters of its formulas removed; currency signs stay."""
    if "$" not in text and "\\(" not in text and "\\[" not in text:
        return text
    pieces, last = [], 0
    for formula in formulas(text):
        pieces += [text[last : formula.start], " ", formula.content, " "]
        last = formula.end
    return "".join([*pieces, text[last:]])


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The one writing in which two equal writings of an answer are the same text."""
    text = to_ascii(text)
    if not text.isascii():
        text = text.translate(_LATEX)
    if "\\\\" in text and not _MATRIX.search(text):
        text = _DOUBLED.sub(r"\\", text)
    text = without_delimiters(_BOLD.sub(r"\1", text)).strip().strip("`").strip()
    text = re.sub(r"(?<!\\)\$(?![\s]*[0-9.\-])", " ", text)  # what is left is no currency sign
    if "\\" in text or "," in text:
        text = _DECIMAL_COMMA.sub(".", _THOUSANDS.sub("", text))
        text = _NOTHING.sub("", _SPACES.sub(" ", text))
        text = _TEXT.sub(r" \1 ", _TEXT.sub(r" \1 ", text)).replace("\\%", "%").replace("\\$", "$")
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    text = _SPACE.sub(" ", text).strip(" *").rstrip(".,;: ").strip()
    while len(text) > 2 and text[0] == "{" and text.find("}") == len(text) - 1:
        text = text[1:-1].strip()
    return text


def same_writing(left: str, right: str) -> bool:
    """Whether two canonical texts differ in nothing but spaces that separate no words."""
    return left == right or _JOINED.sub("", left) == _JOINED.sub("", right) != ""


def is_prose(text: str) -> bool:
    """Whether words stand in `text`, other than LaTeX commands and names of functions."""
    bare = _COMMAND_WITH_NAME.sub(" ", text)
    return any(word.lower() not in _FUNCTIONS for word in _WORD.findall(bare))
