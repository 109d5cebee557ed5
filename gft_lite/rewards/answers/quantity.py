"""Quantities: a number or an expression with what is measured or counted behind it.

Read here: `5`, `5 cm`, `5cm`, `3 million dollars`, `1/2 square feet left`, `204_5` (a number in
base 5), and the parts of `5 feet 7 inches`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from gft_lite.rewards.answers.plain_number import NUMBER, PlainNumber, parse_number
from gft_lite.rewards.answers.units import Unit, base_unit, parse_unit
from gft_lite.rewards.answers.values import Quantity
from gft_lite.rewards.answers.writing import is_prose

# After a number these are no units.
MATHEMATICAL = frozenset(
    "to pi times over plus minus divided sqrt sin cos tan log ln exp mod choose is".split()
)
LONGEST_UNIT_WORDS = 5
_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
_BASED = re.compile(r"([0-9A-F]+)_\{?\s*([0-9]{1,2})\s*\}?")
_PART = re.compile(rf"{NUMBER}(?:\s?/\s?{NUMBER})?\s*([^\W\d_]+)")
_COMPOUND = re.compile(rf"{_PART.pattern}(?:(?:\s+{_PART.pattern})+|(?:{_PART.pattern})+)")
_WORD = re.compile(r"[^\W\d_][^\W\d_'-]*(?:\^\{?-?[1-3]\}?)?(?:/[^\W\d_]+(?:\^\{?[1-3]\}?)?)?\.?")
_GLUED = re.compile(r"(.*[0-9}])\s*((?:[°µ%]|[^\W\d_])[^\W\d_]*(?:\^\{?[1-3]\}?|/[^\W\d_]+)*)")
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z]")


def number_quantity(text: str) -> Quantity | None:
    """The quantity of a text that is one number, perhaps with a currency or degree sign."""
    number = parse_number(text)
    return None if number is None else Quantity(text, text, number, _sign_unit(number))


def read_quantity(text: str) -> Quantity | None:
    """A number or expression with words after it that are a unit, a scale or a noun."""
    based = _BASED.fullmatch(text)
    if based:
        number = parse_number(based[1])
        return Quantity(text, based[1], number, base_unit(based[2])) if number else None
    tokens = text.split(" ")
    first = len(tokens)  # of the words at the end
    while first > 0 and _WORD.fullmatch(tokens[first - 1]):
        first -= 1
    body, words = " ".join(tokens[:first]), tokens[first:]
    if not words:
        return _glued(text)
    if not body or is_prose(body) or words[0].lower() in MATHEMATICAL:
        return None
    number = parse_number(body)
    while number is not None and words and words[0].lower() in _SCALES:
        number = replace(number, value=number.value * _SCALES[words.pop(0).lower()])
    if not words:
        return Quantity(text, body, number)
    noun = " ".join(words)
    for count in range(min(len(words), LONGEST_UNIT_WORDS), 0, -1):
        unit = parse_unit(" ".join(words[:count]))
        # `x m` is a product unless m is written out.
        if unit and (number is not None or len(words[0]) > 1 or not _VARIABLE.search(body)):
            return Quantity(text, body, number, unit, noun)
    glued = _glued(body)
    if glued is not None:
        return replace(glued, text=text, noun=noun)
    return Quantity(text, body, number, _sign_unit(number), noun) if is_prose(noun) else None


def compound_parts(text: str) -> list[str]:
    """`5 feet 7 inches` in its parts if all of them have a known unit, else the text as it is."""
    if not text[:1].isdigit() or _COMPOUND.fullmatch(text) is None:
        return [text]
    parts = list(_PART.finditer(text))
    return [part[0] for part in parts] if all(parse_unit(part[1]) for part in parts) else [text]


def _sign_unit(number: PlainNumber | None) -> tuple[Unit, ...]:
    return parse_unit(number.sign) if number is not None and number.sign else ()


def _glued(text: str) -> Quantity | None:
    """`5cm`, `30°C`: a unit of two characters at least, or a sign, without a space."""
    match = _GLUED.fullmatch(text)
    if match is None or (len(match[2]) < 2 and match[2] != "°"):
        return None
    number, unit = parse_number(match[1]), parse_unit(match[2])
    if not unit or (number is None and match[2] != "°"):
        return None
    return Quantity(text, match[1], number, unit, match[2])
