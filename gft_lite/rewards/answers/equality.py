"""Compares a response's answer with a reference, part by part.

The order of a list does not matter; that of a tuple or an interval does, and so does that of a list
without names against one with several names. A unit, a noun or a name that only one side has makes
no difference. Single expressions go to `algebra`, which the caller passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gft_lite.rewards.answers import plain_number, units
from gft_lite.rewards.answers.grammar import read_answer
from gft_lite.rewards.answers.plain_number import PlainNumber
from gft_lite.rewards.answers.sentence import number_of, readings
from gft_lite.rewards.answers.values import (
    Choice,
    Group,
    Named,
    Quantity,
    Ratio,
    Value,
    Words,
    has_words,
)
from gft_lite.rewards.answers.writing import is_prose, same_writing
from gft_lite.rewards.exact import normalise

# (response, reference) -> equal; both are LaTeX of one expression or relation
Algebra = Callable[[str, str], bool]

_RELATION = re.compile(r"[=<>]|\\(?:le|ge|neq|in)(?![A-Za-z])")
_POWER = re.compile(r"[\^_]\s*\{?[0-9]+\}?")
_NAME_SPACE = re.compile(r"[\s{}\\]|\([A-Za-z, ]*\)$")


def answers_equal(response: str, reference: str, algebra: Algebra, rel_tol: float) -> bool:
    """Whether the answer of a response, as written, equals the reference."""
    expected = read_answer(reference)
    same = _Comparison(algebra, rel_tol).same
    if any(same(reading, expected) for reading in readings(response)):
        return True
    value, number = read_answer(response), number_of(expected)
    return number is not None and not has_words(value) and same(value, number)


@dataclass(frozen=True)
class _Comparison:
    algebra: Algebra
    rel_tol: float

    def same(self, response: Value, reference: Value, in_list: bool = False) -> bool:
        """Whether two values are equal; `in_list` if nouns tell the parts apart."""
        both = (response, reference)
        if same_writing(response.text, reference.text):
            return True
        if any(isinstance(side, Choice) for side in both):
            return self._choices(response, reference, in_list)
        if any(isinstance(side, Named) for side in both):
            return self._named(response, reference, in_list)
        if any(isinstance(side, Group) for side in both):
            return self._groups(response, reference)
        if any(isinstance(side, Words) for side in both):
            return _as_text(response.text) == _as_text(reference.text) != ""
        if any(isinstance(side, Ratio) for side in both):
            return self._ratios(response, reference)
        assert isinstance(response, Quantity)
        assert isinstance(reference, Quantity)
        return self._quantities(response, reference, in_list)

    def _choices(self, response: Value, reference: Value, in_list: bool) -> bool:
        """Equal letters, and equal contents if both sides have one; else the contents alone."""
        letters = {_letter(response), _letter(reference)}
        contents = (_content(response), _content(reference))
        if None not in letters:
            return len(letters) == 1 and (
                contents[0] is None or contents[1] is None or self.same(*contents, in_list)  # type: ignore[arg-type]
            )
        if contents[0] is None or contents[1] is None:
            return False
        return self.same(contents[0], contents[1], in_list)

    def _named(self, response: Value, reference: Value, in_list: bool) -> bool:
        """Equal values under one name; a value without a name may have any."""
        if isinstance(response, Named) and isinstance(reference, Named):
            if _name(response) != _name(reference):
                if not is_prose(response.name) and not is_prose(reference.name):
                    return (
                        _is_open(response.value)
                        and _is_open(reference.value)
                        and (self._relations(response, reference))
                    )
                if in_list:
                    return False
        elif _is_relation(response) or _is_relation(reference):
            return self._relations(response, reference)
        elif any(isinstance(side, Group) and not side.opening for side in (response, reference)):
            response, reference = _unpacked(response), _unpacked(reference)
        return self.same(_value(response), _value(reference), in_list)

    def _relations(self, response: Value, reference: Value) -> bool:
        """Relations without a common name: y = 2x and 2x - y = 0, x < 1 and -x > -1."""
        response_text, reference_text = (
            side.value.text
            if isinstance(side, Named) and isinstance(side.value, Group) and r"\in" in side.text
            else side.text
            for side in (response, reference)
        )
        return self.algebra(response_text, reference_text)

    def _groups(self, response: Value, reference: Value) -> bool:
        if (
            isinstance(response, Group)
            and isinstance(reference, Group)
            and _brackets_agree(response, reference)
        ):
            if self._in_order(response.items, reference.items):
                return True
            if not _ordered(response, reference) and self._in_any_order(
                response.items, reference.items
            ):
                return True
        if _only(response) is not response or _only(reference) is not reference:
            return self.same(_only(response), _only(reference))
        if isinstance(response, Quantity) or isinstance(reference, Quantity):
            one, other = _decimal_comma(response), _decimal_comma(reference)
            if one is not None and other is not None:
                return plain_number.equal(one, other, self.rel_tol)
        response_total, reference_total = _total(response), _total(reference)
        if response_total is not None and reference_total is not None:
            return response_total[0] == reference_total[0] and plain_number.close(
                response_total[1], reference_total[1], self.rel_tol
            )
        if (
            r"\cup" in response.text + reference.text
            and not has_words(response)
            and not has_words(reference)
        ):
            return self.algebra(response.text, reference.text)
        return False

    def _in_order(self, response: Sequence[Value], reference: Sequence[Value]) -> bool:
        return len(response) == len(reference) and all(
            self.same(left, right, True) for left, right in zip(response, reference, strict=True)
        )

    def _in_any_order(self, response: Sequence[Value], reference: Sequence[Value]) -> bool:
        response, left = _distinct(response), list(_distinct(reference))
        if len(response) != len(left):
            return False
        for item in response:
            match = next((n for n, other in enumerate(left) if self.same(item, other, True)), None)
            if match is None:
                return False
            del left[match]
        return True

    def _ratios(self, response: Value, reference: Value) -> bool:
        if isinstance(response, Ratio) and isinstance(reference, Ratio):
            if response.half and reference.half and response.half != reference.half:
                return False
            if response.is_clock and reference.is_clock:
                return _padded(response.parts) == _padded(reference.parts)
            return _proportional(response.parts, reference.parts)
        ratio, other = (
            (response, reference) if isinstance(response, Ratio) else (reference, response)
        )
        assert isinstance(ratio, Ratio)
        if not isinstance(other, Quantity) or other.number is None:
            return False
        if ratio.is_clock and ratio.parts[1] == 0:  # 3 pm, 3:00 and 3
            return other.number.value == ratio.parts[0]
        return _proportional(ratio.parts, (other.number.value, Fraction(1)))

    def _quantities(self, response: Quantity, reference: Quantity, in_list: bool) -> bool:
        scale: Fraction | None = Fraction(1)
        if response.unit and reference.unit:
            scale = units.ratio(response.unit, reference.unit)
        elif (
            in_list
            and response.noun
            and reference.noun
            and not _same_noun(response.noun, reference.noun)
        ):
            return False
        if scale is None:
            return False
        if response.number is not None and reference.number is not None:
            if scale == 1:
                return plain_number.equal(response.number, reference.number, self.rel_tol)
            return plain_number.close(
                response.number.value * scale, reference.number.value, self.rel_tol
            )
        if _is_relation(reference) and not _is_relation(response):
            return False
        if _is_relation(response) and not _is_relation(reference):
            # m + n = 10 states the value of m + n; 13x + 3y = 28 is the equation of a line.
            left, _, right = response.expression.rpartition("=")
            symbols = left.strip() and not re.search("[0-9=<>]", _POWER.sub("", left))
            return bool(symbols) and self.same(read_answer(right), reference)
        return scale == 1 and self.algebra(response.expression, reference.expression)


def _is_open(value: Value) -> bool:
    """Whether it may hold variables."""
    return isinstance(value, Quantity) and value.number is None


def _is_relation(value: Value) -> bool:
    return _is_open(value) and _RELATION.search(value.text) is not None


def _as_text(answer: str) -> str:
    return normalise(answer, ignore_case=True, ignore_spaces=True, ignore_punctuation=True)


def _letter(value: Value) -> str | None:
    if isinstance(value, Choice):
        return value.letter
    return value.text if re.fullmatch("[A-Z]", value.text) else None


def _content(value: Value) -> Value | None:
    if isinstance(value, Choice):
        return value.content
    return None if _letter(value) else value


def _name(named: Named) -> str:
    return _NAME_SPACE.sub("", named.name.casefold() if is_prose(named.name) else named.name)


def _value(value: Value) -> Value:
    return value.value if isinstance(value, Named) else value


def _unpacked(value: Value) -> Value:
    """(x, y) = (1, 2) as the list x = 1, y = 2."""
    if not isinstance(value, Named) or not isinstance(value.value, Group):
        return value
    names = [name.strip() for name in value.name.strip("()").split(",")]
    items = value.value.items
    if len(names) < 2 or len(items) != len(names):
        return value
    pairs = zip(names, items, strict=True)
    return Group(value.text, tuple(Named(item.text, name, item) for name, item in pairs))


def _only(value: Value) -> Value:
    """The item of a set with one item."""
    if isinstance(value, Group) and len(value.items) == 1 and value.opening in ("", "\\{"):
        return value.items[0]
    return value


def _decimal_comma(value: Value) -> PlainNumber | None:
    """1,25 against 1.25; a whole number is not meant by 1,25."""
    if isinstance(value, Quantity):
        return value.number if "." in value.text else None
    return plain_number.decimal_comma(value.text)


def _brackets_agree(response: Group, reference: Group) -> bool:
    if (response.opening, response.closing) == (reference.opening, reference.closing):
        return True
    kinds = {(group.opening, group.closing) for group in (response, reference)}
    if ("", "") in kinds:
        # A list may stand for a set or a tuple, but it has no ends of an interval.
        interval = len(reference.items) == 2 and "[" in reference.opening + reference.closing
        return not interval and ("(", "]") not in kinds and ("[", ")") not in kinds
    return len(reference.items) > 2 and not any(
        group.opening == "\\{" for group in (response, reference)
    )


def _ordered(response: Group, reference: Group) -> bool:
    """Tuples are, and a list whose parts have different names or units against one without."""
    if response.opening in ("(", "[") or reference.opening in ("(", "["):
        return True
    keys = [{_key(item) for item in group.items} for group in (response, reference)]
    return any(len(key) > 1 for key in keys) and any(key == {None} for key in keys)


def _key(item: Value) -> object:
    if isinstance(item, Named):
        return _name(item)
    if isinstance(item, Quantity):
        return item.unit or item.noun or None
    return None


def _same_noun(left: str, right: str) -> bool:
    pairs = zip(left.lower().split(), right.lower().split(), strict=False)
    return all(one.rstrip("s") == other.rstrip("s") for one, other in pairs)


def _distinct(items: Sequence[Value]) -> Sequence[Value]:
    """Without points that are written twice; a number may well occur twice in a list."""
    if not all(isinstance(item, Group) for item in items):
        return items
    return list({item.text.replace(" ", ""): item for item in items}.values())


def _total(value: Value) -> tuple[units.Dimensions, Fraction] | None:
    """What `5 feet 7 inches` is in its base unit; the units must get smaller."""
    items = value.items if isinstance(value, Group) and not value.opening else (value,)
    first = items[0]
    if not isinstance(first, Quantity):
        return None
    for reading in first.unit:
        total, last = Fraction(0), None
        for item in items:
            if not isinstance(item, Quantity) or item.number is None:
                return None
            factor = units.factor(item.unit, reading.dimensions)
            if factor is None or (last is not None and factor >= last):
                break
            total, last = total + item.number.value * factor, factor
        else:
            return reading.dimensions, total
    return None


def _padded(parts: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    return (*parts, Fraction(0), Fraction(0))[:3]


def _proportional(left: Sequence[Fraction], right: Sequence[Fraction]) -> bool:
    if len(left) != len(right) or any(left) != any(right):
        return False
    return all(one * right[0] == other * left[0] for one, other in zip(left, right, strict=True))
