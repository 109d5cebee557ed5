"""Where the final answer of a response stands.

Order: the last complete \\boxed{…}; the line after the last ####; what follows the last "answer is"
(also "answer:"); else the last number in the text. Every search is linear in the text's length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gft_lite.rewards.plain_number import NUMBER, clean, last_number, to_ascii

How = Literal["boxed", "hashes", "answer is", "last number"]

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_ANSWER_IS = re.compile(r"answer[*_]*\s*(?:is\b|:|=)[*_:\s]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)|\n")
_BLOCK = r"(?:\$\$[^$]+\$\$|\$(?:\\\$|[^$\n])+\$(?![0-9])|\\\[.+?\\\]|\\\([^\n]+?\\\))"
_BLOCKS = re.compile(rf"{_BLOCK}(?:\s*(?:,|,?\s*and|,?\s*or)\s*{_BLOCK})*", re.DOTALL)
_AFTER_UNITLESS = (
    "and|or|to|pi|times|over|plus|minus|divided|sqrt|sin|cos|tan|log|ln|exp|mod|choose|"
    "thousand|million|billion|hundred|dozen|is"
)
_QUANTITY = re.compile(
    rf"[-+]?\s?\\?[$€£¥]?\s?[-+]?{NUMBER}(?:/{NUMBER})?\s?\\?%?"
    rf"(?=[.,;:!?)]?\s*$|[.,;:!?]?\s(?!(?:{_AFTER_UNITLESS})\b)[A-Za-z]{{2,}})"
)
_COMMAND_WITH_NAME = re.compile(r"\\[A-Za-z]+\s*(?:\{[A-Za-z*\s]*\})?")
_WORD = re.compile(r"[^\W\d_]{3,}")
_FUNCTIONS = frozenset({
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "max", "min", "gcd", "lcm", "mod", "det", "inf", "sup", "frac",
})  # fmt: skip


@dataclass(frozen=True)
class Extracted:
    """An answer as written, and which rule found it."""

    text: str
    how: How


def extract_answer(text: str, *, allow_last_number: bool = True) -> Extracted | None:
    """The final answer of `text`, or None where no rule finds one."""
    text = to_ascii(text)
    boxed = last_boxed(text) if "box" in text else None
    if boxed is not None:
        return Extracted(boxed, "boxed")
    hashes = after_hashes(text) if "####" in text else None
    if hashes is not None:
        return Extracted(hashes, "hashes")
    stated = after_answer_is(text)
    if stated is not None:
        return Extracted(stated, "answer is")
    number = last_number(text) if allow_last_number else None
    return None if number is None else Extracted(number, "last number")


@lru_cache(maxsize=1024)
def reference_answer(answer: str) -> str:
    """A reference: its marked answer where it has a marker, else the whole of it."""
    found = extract_answer(answer, allow_last_number=False)
    return found.text if found else clean(answer)


def last_boxed(text: str) -> str | None:
    """The content of the \\boxed{…} that opens last, among those that are closed and not empty."""
    open_braces: list[tuple[bool, int]] = []  # (is a box, where its content starts)
    best = (-1, "")
    for token in _BRACES.finditer(text):
        if token[0] == "}":
            if open_braces:
                is_box, start = open_braces.pop()
                if is_box and start > best[0] and (content := text[start : token.start()].strip()):
                    best = (start, content)
        elif token[0].endswith("{") and token[0] != "\\{":
            open_braces.append((token[0] != "{", token.end()))
    return _quantity_or_text(best[1]) if best[0] >= 0 else None


def after_hashes(text: str) -> str | None:
    """The line after the last ####, unless it is a heading (words, and more text below it)."""
    tail = text.rpartition("####")[2]
    line, _, below = tail.strip().partition("\n")
    starts_with_word = _WORD.match(line.lstrip("*_ ")) is not None
    if not line.strip() or (starts_with_word and below.strip()):
        return None
    return _quantity_or_text(line)


def after_answer_is(text: str) -> str | None:
    """What follows the last "answer is": a formula, a quantity, or the rest of the sentence."""
    every = list(_ANSWER_IS.finditer(text))
    if not every:
        return None
    found = every[-1]
    tail = text[found.end() :]
    end = _SENTENCE_END.search(tail)
    sentence = tail[: end.start()] if end else tail
    if _QUANTITY.match(sentence):  # first: "$18. He paid $20" is no formula between dollar signs
        return _quantity_or_text(sentence)
    formula = _BLOCKS.match(tail)
    return clean(formula[0]) if formula else _quantity_or_text(sentence)


def _quantity_or_text(text: str) -> str | None:
    """`18 dollars because …` is 18; anything else stays as it is, without decoration."""
    text = clean(text)
    quantity = _QUANTITY.match(text)
    return (quantity[0].strip() if quantity else text.rstrip(".").strip()) or None


def is_prose(text: str) -> bool:
    """Whether words stand in `text`, other than LaTeX commands and names of functions."""
    bare = _COMMAND_WITH_NAME.sub(" ", text)
    return any(word.lower() not in _FUNCTIONS for word in _WORD.findall(bare))
