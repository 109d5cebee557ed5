"""Reads an answer into a typed value; references and responses go through the same grammar.

    answer  = item, or items with , ; and or between them       -> Group without brackets
    item    = (A) item                                          -> Choice
            | name = item, name: item, name ∈ item              -> Named
            | low < name ≤ high                                 -> Named(Group) with brackets
            | ( items ), [ items ], { items }                   -> Group
            | 3:2, 12:30 pm                                     -> Ratio
            | number or expression, with a unit or a noun       -> Quantity
            | words                                             -> Words

5 feet 7 inches is a Group of two quantities, and a ± b one of a + b and a − b.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from gft_lite.rewards.answers.plain_number import NUMBER
from gft_lite.rewards.answers.quantity import compound_parts, number_quantity, read_quantity
from gft_lite.rewards.answers.values import Choice, Group, Named, Quantity, Ratio, Value, Words
from gft_lite.rewards.answers.writing import canonical, is_prose

MAX_CHARS = 2000
MAX_DEPTH = 6

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
_LABELLED = re.compile(r"([^\W\d_][^\W\d_\s]*(?: [^\W\d_]+){0,3}):\s+(.+)", re.DOTALL)
_COMPUTED = re.compile(r"[-+*/0-9 ().^\\a-z]*[0-9)]\s*=")
_EITHER_SIGN = re.compile(r"\\(pm|mp)(?![A-Za-z])")
_OPERATORS = re.compile(r"[-+*/^!]|\\(?:cdot|times|pm|div|sqrt|sum|int|log|ln|sin|cos|tan)")
_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|\w)")
_APPLIED = re.compile(r"(?<=[A-Za-z])\([^()]*\)")
_UNION = (r"\cup", "∪")


@lru_cache(maxsize=4096)
def read_answer(text: str) -> Value:
    """The value of an answer as written. Never raises: what is nothing else is Words."""
    text = canonical(text)
    return Words(text) if len(text) > MAX_CHARS else _read(text, MAX_DEPTH)


def _read(text: str, depth: int) -> Value:
    """Read a list or an item."""
    if number := number_quantity(text):
        return number
    if depth == 0:
        return _whole(text)
    clauses = _split(text, (";", "or"))
    items: list[Value] = []
    for clause in clauses:
        parts = [
            signed
            for part in _split(clause, (",", ";", "and", "or"))
            for piece in compound_parts(part)
            for signed in _plus_minus(piece)
        ]
        values = _with_names([_item(part, depth - 1) for part in parts])
        names = {value.name for value in values if isinstance(value, Named)}
        # `x = 1, y = 2 or x = 3, y = 4` is a list of two solutions.
        if len(clauses) > 1 and len(values) > 1 and (len(names) > 1 or ";" in text):
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


def _whole(text: str) -> Value:
    """A text that cannot be taken apart: words or one expression."""
    return Words(text) if is_prose(text) else Quantity(text, text)


# --- tokens ---


def _tokens(text: str, *, grouped: bool = True) -> Iterator[tuple[str, re.Match[str]]]:
    """Brackets, separators and relations; with `grouped`, `1,000` has no separator."""
    place = 0
    while (token := _TOKEN.search(text, place)) is not None:
        if token["grouped"] and not grouped:
            comma = text.index(",", token.start())
            token = _TOKEN.match(text, comma)
            assert token is not None
        place = token.end()
        if token.lastgroup:
            yield token.lastgroup, token


def _outside(text: str, kind: str, *, grouped: bool = True) -> Iterator[re.Match[str]]:
    """The tokens of one kind that stand outside all brackets."""
    level = 0
    for token_kind, token in _tokens(text, grouped=grouped):
        level = max(0, level + (token_kind == "open") - (token_kind == "close"))
        if token_kind == kind and level == 0:
            yield token


def _between(text: str, tokens: Iterable[re.Match[str]]) -> list[str]:
    """The text before, between and after tokens."""
    parts, last = [], 0
    for token in tokens:
        parts.append(text[last : token.start()].strip())
        last = token.end()
    return [*parts, text[last:].strip()]


def _split(text: str, separators: tuple[str, ...], *, grouped: bool = True) -> list[str]:
    """The parts between separators that stand outside brackets, without empty ones."""
    tokens = _outside(text, "separator", grouped=grouped)
    return [part for part in _between(text, (t for t in tokens if t[0] in separators)) if part]


# --- lists ---


def _plus_minus(text: str) -> list[str]:
    """`a ± b` as a + b and a − b."""
    if r"\pm" not in text and r"\mp" not in text:
        return [text]
    above = _EITHER_SIGN.sub(lambda sign: "+" if sign[1] == "pm" else "-", text)
    below = _EITHER_SIGN.sub(lambda sign: "-" if sign[1] == "pm" else "+", text)
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


# --- items ---


def _item(text: str, depth: int) -> Value:
    """One item of a list."""
    filler = _FILLER.match(text)
    text = (text[filler.end() :].strip() if filler else "") or text
    return (
        number_quantity(text)
        or _choice(text, depth)
        or _related(text, depth)
        or _bracketed(text, depth)
        or _ratio(text)
        or _labelled(text, depth)
        or read_quantity(text)
        or _whole(text)
    )


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
    relations = [token for token in _outside(text, "relation") if token[0] not in _UNION]
    if not relations or depth == 0:
        return None
    sides, signs = _between(text, relations), [token[0] for token in relations]
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
    return _whole(text)


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
    opening = "[" if place and closed[0] else "("
    closing = "]" if place + 1 < len(sides) and closed[-1] else ")"
    return Named(text, sides[place], Group(text, (_item(low, 0), _item(high, 0)), opening, closing))


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
    if depth == 0:
        return None
    if any(sign in text for sign in _UNION):
        parts = [part for part in _between(text, _outside(text, "relation")) if part]
        if len(parts) > 1:
            return Group(text, tuple(_item(part, depth - 1) for part in parts))
    opening = "\\{" if text.startswith("\\{") else text[:1]
    closing = "\\}" if text.endswith("\\}") else text[-1:]
    if opening not in ("\\{", "(", "[") or closing not in ("\\}", ")", "]"):
        return None
    level = 0
    for kind, token in _tokens(text):
        level += (kind == "open") - (kind == "close")
        if level == 0 and token.end() < len(text):
            return None  # (1, 2) + (3, 4): the first bracket closes before the end
    inside = text[len(opening) : -len(closing)].strip()
    parts = _split(inside, (",", ";"), grouped=", " in inside)
    if opening != "\\{" and len(parts) < 2:
        return _item(inside, depth - 1) if is_prose(inside) else None
    items = [_item(signed, depth - 1) for part in parts for signed in _plus_minus(part)]
    return Group(text, tuple(items), opening, closing)


def _ratio(text: str) -> Value | None:
    if hour := _HOUR.fullmatch(text):
        text = f"{hour[1]}:00 {hour[2]}"
        return Ratio(text, (Fraction(int(hour[1])), Fraction(0)), hour[2].lower())
    match = _RATIO.fullmatch(text)
    if match is None:
        return None
    parts = tuple(Fraction(part.strip().replace(",", "")) for part in match[1].split(":"))
    return Ratio(text, parts, (match[2] or "").lower())


def _labelled(text: str, depth: int) -> Value | None:
    match = _LABELLED.fullmatch(text)
    return Named(text, match[1], _item(match[2], depth - 1)) if match and depth else None
