"""Reads an answer into a typed value; references and responses go through the same grammar.

    answer  = item, or items with , ; and or between them       -> Group without brackets
    item    = (A) item                                          -> Choice
            | name = item, name: item, name ∈ item              -> Named
            | low < name ≤ high                                 -> Named(Group) with brackets
            | ( items ), [ items ], { items }                   -> Group
            | 3:2, 12:30 pm                                     -> Ratio
            | number or expression, with a unit or a noun       -> Quantity
            | words                                             -> Words

5 feet 7 inches is a Group of two quantities, and a ± b one of a + b and a − b. Only a Quantity
without a number needs computer algebra to be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from gft_lite.rewards.plain_number import NUMBER, PlainNumber, parse_number
from gft_lite.rewards.units import Unit, base_unit, parse_unit
from gft_lite.rewards.writing import canonical, is_prose

MAX_CHARS = 2000
MAX_DEPTH = 6


@dataclass(frozen=True)
class Quantity:
    """A number or an expression; `unit` its readings as a unit, `noun` what else is counted."""

    text: str
    expression: str
    number: PlainNumber | None = None
    unit: tuple[Unit, ...] = ()
    noun: str = ""


@dataclass(frozen=True)
class Ratio:
    """Parts with colons between, which may be a time of day: `half` is am, pm or empty."""

    text: str
    parts: tuple[Fraction, ...]
    half: str = ""

    @property
    def is_clock(self) -> bool:
        """Whether it can be a time: 7:05, 23:59:59."""
        return re.match(r"[0-2]?[0-9](?::[0-5][0-9]){1,2}(?![0-9:])", self.text) is not None


@dataclass(frozen=True)
class Words:
    """A text."""

    text: str


@dataclass(frozen=True)
class Choice:
    """A letter of a multiple choice, with the option's content if it was written out."""

    text: str
    letter: str
    content: Value | None = None


@dataclass(frozen=True)
class Named:
    """A value with the name that it was given."""

    text: str
    name: str
    value: Value


@dataclass(frozen=True)
class Group:
    """Several values: without brackets a list, with \\{ a set, with ( or [ a tuple or interval."""

    text: str
    items: tuple[Value, ...]
    opening: str = ""
    closing: str = ""


Value = Quantity | Ratio | Words | Choice | Named | Group

_TOKEN = re.compile(
    r"(?P<grouped>(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]))"
    r"|(?P<open>\\\{|\\begin(?![A-Za-z])|\\l(?:floor|ceil|angle)|[({\[])"
    r"|(?P<close>\\\}|\\end(?![A-Za-z])|\\r(?:floor|ceil|angle)|[)}\]])"
    r"|(?P<separator>[,;]|(?<![A-Za-z\\])(?:and|or)(?=[^a-z]|$))"
    r"|(?P<relation>\\(?:le|ge|neq|approx|in|equiv|cup)(?![A-Za-z])|[=<>∪])"
    r"|\\."
)
_CHOICE = re.compile(r"(?:\(\s*([A-Za-z])\s*\)|([A-J])[.)](?=\s|$))\s*(.*)", re.DOTALL)
_FILLER = re.compile(
    r"(?:(?:about|approximately|roughly|around|nearly|exactly|only|just|either|both|maybe|perhaps|"
    r"simply|therefore|thus|is|equal to|a total of|\\approx|\\sim|\\therefore)\s+|\\approx\s*)+",
    re.IGNORECASE,
)
_RATIO = re.compile(rf"({NUMBER}(?:\s?:\s?{NUMBER})+)(?:\s*([ap]m))?(?![0-9])", re.IGNORECASE)
_HOUR = re.compile(r"([0-9]{1,2})\s*([ap]m)", re.IGNORECASE)
_BASED = re.compile(r"([0-9A-F]+)_\{?\s*([0-9]{1,2})\s*\}?")
_LABELLED = re.compile(r"([^\W\d_][^\W\d_\s]*(?: [^\W\d_]+){0,3}):\s+(.+)", re.DOTALL)
_PART = rf"{NUMBER}(?:\s?/\s?{NUMBER})?\s*(?:[^\W\d_]+)"
_COMPOUND = re.compile(rf"-?{_PART}(?:\s+{_PART})+|-?{_PART}(?:{_PART})+")
_WORD = re.compile(r"[^\W\d_][^\W\d_'-]*(?:\^\{?-?[1-3]\}?)?(?:/[^\W\d_]+(?:\^\{?[1-3]\}?)?)?\.?")
_GLUED = re.compile(r"(.*[0-9}])\s*((?:[°µ%]|[^\W\d_])[^\W\d_]*(?:\^\{?[1-3]\}?|/[^\W\d_]+)*)")
_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
# After a number these are no units.
MATHEMATICAL = frozenset(
    "to pi times over plus minus divided sqrt sin cos tan log ln exp mod choose is".split()
)
_COMPUTED = re.compile(r"[-+*/0-9 ().^\\a-z]*[0-9)]\s*=")
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z]")
_OPERATORS = re.compile(r"[-+*/^!]|\\(?:cdot|times|pm|div|sqrt|sum|int|log|ln|sin|cos|tan)")
_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|\w)")
_APPLIED = re.compile(r"(?<=[A-Za-z])\([^()]*\)")


@lru_cache(maxsize=4096)
def read_answer(text: str) -> Value:
    """The value of an answer as written. Never raises: what is nothing else is Words."""
    text = canonical(text)
    if len(text) > MAX_CHARS:
        return Words(text)
    return _read(text, MAX_DEPTH)


def _read(text: str, depth: int, *, grouped: bool = True) -> Value:
    """Read a list or an item; `grouped` where `1,000` is one number."""
    number = parse_number(text) if grouped else None
    if number is not None:
        return _quantity_of(text, number)
    if depth == 0:
        return Words(text) if is_prose(text) else Quantity(text, text)
    clauses = _split(text, (";", "or"), grouped)
    items: list[Value] = []
    nested = len(clauses) > 1
    for clause in clauses:
        parts = [
            signed
            for part in _split(clause, (",", ";", "and", "or"), grouped)
            for piece in _compound(part)
            for signed in _plus_minus(piece)
        ]
        values = _with_names([_item(part, depth - 1) for part in parts])
        keys = {value.name for value in values if isinstance(value, Named)}
        if nested and len(values) > 1 and (len(keys) > 1 or ";" in text):
            items.append(Group(clause, tuple(values)))
        else:
            items += values
    items = _with_names(items)
    if not items:
        return Words(text)
    if len(items) == 1:
        return items[0]
    if all(isinstance(item, Quantity) and _COMPUTED.match(item.text) for item in items):
        return items[-1]  # 3+5=8, 8*2=16 is a calculation
    return Group(text, tuple(items))


def _split(text: str, separators: tuple[str, ...], grouped: bool = True) -> list[str]:
    """The parts between separators that stand outside brackets, without empty ones."""
    parts, last, depth = [], 0, 0
    for kind, token in _tokens(text, grouped):
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
        elif kind == "separator" and depth == 0 and token[0] in separators:
            parts.append(text[last : token.start()].strip())
            last = token.end()
    return [part for part in [*parts, text[last:].strip()] if part]


def _tokens(text: str, grouped: bool) -> Iterator[tuple[str, re.Match[str]]]:
    place = 0
    while (token := _TOKEN.search(text, place)) is not None:
        if token["grouped"] and not grouped:  # the commas between its digits count
            comma = text.index(",", token.start())
            token = _TOKEN.match(text, comma)
            assert token is not None
        place = token.end()
        if token.lastgroup:
            yield token.lastgroup, token


def _compound(text: str) -> list[str]:
    """`5 feet 7 inches` in its parts; all their units must be known and measure one thing."""
    if not text[:1].isdigit() or _COMPOUND.fullmatch(text) is None:
        return [text]
    parts = [match[0].strip() for match in re.finditer(_PART, text)]
    units = [parse_unit(re.sub(rf"^{NUMBER}(?:\s?/\s?{NUMBER})?\s*", "", part)) for part in parts]
    return parts if all(units) else [text]


def _plus_minus(text: str) -> list[str]:
    if r"\pm" not in text and r"\mp" not in text:
        return [text]
    above = re.sub(r"\\mp(?![A-Za-z])", "-", re.sub(r"\\pm(?![A-Za-z])", "+", text))
    below = re.sub(r"\\mp(?![A-Za-z])", "+", re.sub(r"\\pm(?![A-Za-z])", "-", text))
    return [re.sub(r"(^|[=(,{]\s*)\+\s*", r"\1", above), below]


def _with_names(items: list[Value]) -> list[Value]:
    """`x = 1, 2`: what follows a name without one of its own has the same name."""
    name = ""
    named: list[Value] = []
    for item in items:
        if isinstance(item, Named):
            name = item.name
        elif name and not isinstance(item, Words):
            item = Named(item.text, name, item)
        named.append(item)
    return named


def _item(text: str, depth: int) -> Value:
    """One item of a list."""
    filler = _FILLER.match(text)
    text = (text[filler.end() :].strip() if filler else "") or text
    number = parse_number(text)
    if number is not None:
        return _quantity_of(text, number)
    return (
        _choice(text, depth)
        or _related(text, depth)
        or _bracketed(text, depth)
        or _ratio(text)
        or _labelled(text, depth)
        or _quantity(text)
        or (Words(text) if is_prose(text) else Quantity(text, text))
    )


def _quantity_of(text: str, number: PlainNumber) -> Quantity:
    return Quantity(text, text, number, parse_unit(number.sign) if number.sign else ())


def _choice(text: str, depth: int) -> Choice | None:
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    content = match[3].strip()
    glued = match[1] and content and text[match.start(3) - 1] == ")"
    if content[:1] in tuple("+-*/^=<>_!(") or glued:
        return None
    letter = (match[1] or match[2]).upper()
    return Choice(text, letter, _read(content, depth) if content and depth else None)


def _related(text: str, depth: int) -> Value | None:
    """An assignment, a chain of equations or a range; None for an expression."""
    marks: list[tuple[str, int, int]] = []
    level = 0
    for kind, token in _tokens(text, True):
        level = max(0, level + (kind == "open") - (kind == "close"))
        if kind == "relation" and level == 0 and token[0] not in (r"\cup", "∪"):
            marks.append((token[0], token.start(), token.end()))
    if not marks or depth == 0:
        return None
    starts = [0, *(end for _, _, end in marks)]
    ends = [*(start for _, start, _ in marks), len(text)]
    sides = [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    signs = [sign for sign, _, _ in marks]
    if signs[0] == r"\in" and len(sides) == 2 and _is_name(sides[0]):
        return Named(text, sides[0], _read(sides[1], depth - 1))
    if set(signs) <= {"=", r"\approx"}:
        return _equation(text, sides, signs, depth)
    return _range(text, sides, signs)


def _equation(text: str, sides: list[str], signs: list[str], depth: int) -> Value | None:
    named = _is_name(sides[0])
    while len(signs) > 1 and signs[-1] == r"\approx":  # an exact value comes before it
        signs, sides = signs[:-1], sides[:-1]
    if not named and signs == [r"\approx"]:
        return _read(sides[0], depth - 1)
    last = _read(sides[-1], depth - 1)
    if named and sides[-1]:
        return Named(text, sides[0], last)
    is_computed = re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", sides[0])) is None
    counted = isinstance(last, Quantity) and last.number is not None
    if sides[-1] and (is_computed or len(sides) > 2) and counted:
        return replace(last, text=text)
    return Words(text) if is_prose(text) else Quantity(text, text)


def _range(text: str, sides: list[str], signs: list[str]) -> Value | None:
    """`2 < x \\le 5` as the interval (2, 5] with a name."""
    ups = [sign in ("<", r"\le") for sign in signs]
    if not all(sign in ("<", ">", r"\le", r"\ge") for sign in signs) or len(set(ups)) != 1:
        return None
    if not ups[0]:
        sides, signs = sides[::-1], signs[::-1]
    names = [place for place, side in enumerate(sides) if "|" not in side and _is_name(side)]
    if len(names) != 1 or len(sides) > 3 or (len(sides) == 3 and names != [1]):
        return None
    (place,) = names
    closed = [sign in (r"\le", r"\ge") for sign in signs]
    low = sides[place - 1] if place else r"-\infty"
    high = sides[place + 1] if place + 1 < len(sides) else r"\infty"
    ends = (_item(low, 0), _item(high, 0))
    opening = "[" if place and closed[0] else "("
    closing = "]" if place + 1 < len(sides) and closed[-1] else ")"
    return Named(text, sides[place], Group(text, ends, opening, closing))


def _is_name(text: str) -> bool:
    """`x`, `x_1`, `f(x)`, `(x, y)`, `AB`: letters without a digit or an operator outside them."""
    if is_prose(text):
        return len(text.split()) <= 6 and not any(char.isdigit() for char in text)
    bare = _APPLIED.sub("", _SUBSCRIPT.sub("", text))
    if re.search(r"(?<![A-Za-z\\])[A-Za-z]+ [A-Za-z]", bare):
        return False
    letters = re.search(r"[A-Za-z]", bare.replace(r"\infty", ""))
    return (
        bool(letters)
        and not re.search(r"[0-9]|\\pi(?![A-Za-z])", bare)
        and (_OPERATORS.search(bare) is None and bare not in ("e", "i"))
    )


def _bracketed(text: str, depth: int) -> Value | None:
    """A union of sets, or values in brackets that close at the end."""
    if r"\cup" in text or "∪" in text:
        parts, level, last = [], 0, 0
        for kind, token in _tokens(text, True):
            level = max(0, level + (kind == "open") - (kind == "close"))
            if kind == "relation" and level == 0:
                parts.append(text[last : token.start()].strip())
                last = token.end()
        parts = [part for part in [*parts, text[last:].strip()] if part]
        if len(parts) > 1 and depth:
            return Group(text, tuple(_item(part, depth - 1) for part in parts))
    opening = "\\{" if text.startswith("\\{") else text[:1]
    closing = "\\}" if text.endswith("\\}") else text[-1:]
    if opening not in ("\\{", "(", "[") or closing not in ("\\}", ")", "]") or depth == 0:
        return None
    level = 0
    for kind, token in _tokens(text, True):
        level += (kind == "open") - (kind == "close")
        if level == 0 and token.end() < len(text):
            return None
    inside = text[len(opening) : -len(closing)].strip()
    parts = _split(inside, (",", ";"), grouped=", " in inside)
    if opening != "\\{" and len(parts) < 2:
        return _item(inside, depth - 1) if is_prose(inside) else None
    items = [_item(signed, depth - 1) for part in parts for signed in _plus_minus(part)]
    return Group(text, tuple(items), opening, closing)


def _ratio(text: str) -> Value | None:
    hour = _HOUR.fullmatch(text)
    if hour:
        text, half = f"{hour[1]}:00 {hour[2]}", hour[2].lower()
        return Ratio(text, (Fraction(int(hour[1])), Fraction(0)), half)
    match = _RATIO.fullmatch(text)
    if match is None:
        return None
    parts = tuple(Fraction(part.strip().replace(",", "")) for part in match[1].split(":"))
    return Ratio(text, parts, (match[2] or "").lower())


def _labelled(text: str, depth: int) -> Value | None:
    match = _LABELLED.fullmatch(text)
    return Named(text, match[1], _item(match[2], depth - 1)) if match and depth else None


def _quantity(text: str) -> Quantity | None:
    """A number or expression with words after it that are a unit, a scale or a noun."""
    based = _BASED.fullmatch(text)
    if based:
        number = parse_number(based[1])
        return Quantity(text, based[1], number, base_unit(based[2])) if number else None
    tokens = text.split(" ")
    first = len(tokens)
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
    for count in range(min(len(words), 5), 0, -1):
        unit = parse_unit(" ".join(words[:count]))
        if unit and (number is not None or len(words[0]) > 1 or not _VARIABLE.search(body)):
            return Quantity(text, body, number, unit, " ".join(words))
    glued = _glued(body)
    if glued is not None and glued.unit:
        return replace(glued, text=text, noun=" ".join(words))
    if not is_prose(" ".join(words)):
        return None
    sign = parse_unit(number.sign) if number is not None and number.sign else ()
    return Quantity(text, body, number, sign, " ".join(words))


def _glued(text: str) -> Quantity | None:
    """`5cm`, `30°C`: a unit of two characters at least, or a sign, without a space."""
    match = _GLUED.fullmatch(text)
    if match is None or (len(match[2]) < 2 and match[2] != "°"):
        return None
    number, unit = parse_number(match[1]), parse_unit(match[2])
    if not unit or (number is None and match[2] != "°"):
        return None
    return Quantity(text, match[1], number, unit, match[2])


def has_words(value: Value) -> bool:
    """Whether a text is in it that the grammar could not take apart."""
    if isinstance(value, Group):
        return any(has_words(item) for item in value.items)
    if isinstance(value, Named):
        return has_words(value.value)
    return isinstance(value, Words)
