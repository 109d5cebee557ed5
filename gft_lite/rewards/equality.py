"""Compares a response's answer with a reference, part by part.

The order of a list does not matter; that of a tuple or an interval does, and so does that of a list
without names against one with several names. A unit, a noun or a name that only one side has is no
difference. Single expressions go to `algebra`, which the caller supplies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gft_lite.rewards import plain_number, units
from gft_lite.rewards.answer import (
    Choice,
    Group,
    Named,
    Quantity,
    Ratio,
    Value,
    Words,
    has_words,
    read_answer,
)
from gft_lite.rewards.exact import normalise
from gft_lite.rewards.plain_number import PlainNumber
from gft_lite.rewards.sentence import number_of, readings
from gft_lite.rewards.writing import is_prose, same_writing

# (response, reference) -> equal; both are LaTeX of one expression or relation
Algebra = Callable[[str, str], bool]

_RELATION = re.compile(r"[=<>]|\\(?:le|ge|neq|in)(?![A-Za-z])")
_POWER = re.compile(r"[\^_]\s*\{?[0-9]+\}?")
_NAME_SPACE = re.compile(r"[\s{}\\]|\([A-Za-z, ]*\)$")


def answers_equal(got: str, wanted: str, algebra: Algebra, rel_tol: float) -> bool:
    """Whether the answer `got`, as a response writes it, equals the reference `wanted`."""
    reference = read_answer(wanted)
    same = _Comparison(algebra, rel_tol).same
    if any(same(reading, reference) for reading in readings(got)):
        return True
    response, number = read_answer(got), number_of(reference)
    return number is not None and not has_words(response) and same(response, number)


@dataclass(frozen=True)
class _Comparison:
    algebra: Algebra
    rel_tol: float

    def same(self, got: Value, wanted: Value, in_list: bool = False) -> bool:
        """Whether two values are equal; `in_list` where nouns tell the parts apart."""
        both = (got, wanted)
        if same_writing(got.text, wanted.text):
            return True
        if any(isinstance(side, Choice) for side in both):
            return self._choices(got, wanted, in_list)
        if any(isinstance(side, Named) for side in both):
            return self._named(got, wanted, in_list)
        if any(isinstance(side, Group) for side in both):
            return self._groups(got, wanted)
        if any(isinstance(side, Words) for side in both):
            return _as_text(got.text) == _as_text(wanted.text) != ""
        if any(isinstance(side, Ratio) for side in both):
            return self._ratios(got, wanted)
        assert isinstance(got, Quantity)
        assert isinstance(wanted, Quantity)
        return self._quantities(got, wanted, in_list)

    def _choices(self, got: Value, wanted: Value, in_list: bool) -> bool:
        """Equal letters, and equal contents if both sides have one; else the contents alone."""
        letters = {_letter(got), _letter(wanted)}
        contents = (_content(got), _content(wanted))
        if None not in letters:
            return len(letters) == 1 and (
                contents[0] is None or contents[1] is None or self.same(*contents, in_list)  # type: ignore[arg-type]
            )
        if contents[0] is None or contents[1] is None:
            return False
        return self.same(contents[0], contents[1], in_list)

    def _named(self, got: Value, wanted: Value, in_list: bool) -> bool:
        """Equal values under one name; a value without a name may have any."""
        if isinstance(got, Named) and isinstance(wanted, Named):
            if _name(got) != _name(wanted):
                if not is_prose(got.name) and not is_prose(wanted.name):
                    return (
                        _is_open(got.value)
                        and _is_open(wanted.value)
                        and (self._relations(got, wanted))
                    )
                if in_list:
                    return False
        elif _is_relation(got) or _is_relation(wanted):
            return self._relations(got, wanted)
        elif any(isinstance(side, Group) and not side.opening for side in (got, wanted)):
            got, wanted = _unpacked(got), _unpacked(wanted)
        return self.same(_value(got), _value(wanted), in_list)

    def _relations(self, got: Value, wanted: Value) -> bool:
        """Relations without a common name: y = 2x and 2x - y = 0, x < 1 and -x > -1."""
        got_text, wanted_text = (
            side.value.text
            if isinstance(side, Named) and isinstance(side.value, Group) and r"\in" in side.text
            else side.text
            for side in (got, wanted)
        )
        return self.algebra(got_text, wanted_text)

    def _groups(self, got: Value, wanted: Value) -> bool:
        if isinstance(got, Group) and isinstance(wanted, Group) and _brackets_agree(got, wanted):
            if self._in_order(got.items, wanted.items):
                return True
            if not _ordered(got, wanted) and self._in_any_order(got.items, wanted.items):
                return True
        if _only(got) is not got or _only(wanted) is not wanted:
            return self.same(_only(got), _only(wanted))
        if isinstance(got, Quantity) or isinstance(wanted, Quantity):
            one, other = _decimal_comma(got), _decimal_comma(wanted)
            if one is not None and other is not None:
                return plain_number.equal(one, other, self.rel_tol)
        got_total, wanted_total = _total(got), _total(wanted)
        if got_total is not None and wanted_total is not None:
            return got_total[0] == wanted_total[0] and plain_number.close(
                got_total[1], wanted_total[1], self.rel_tol
            )
        if r"\cup" in got.text + wanted.text and not has_words(got) and not has_words(wanted):
            return self.algebra(got.text, wanted.text)
        return False

    def _in_order(self, got: Sequence[Value], wanted: Sequence[Value]) -> bool:
        return len(got) == len(wanted) and all(
            self.same(left, right, True) for left, right in zip(got, wanted, strict=True)
        )

    def _in_any_order(self, got: Sequence[Value], wanted: Sequence[Value]) -> bool:
        got, left = _distinct(got), list(_distinct(wanted))
        if len(got) != len(left):
            return False
        for item in got:
            match = next((n for n, other in enumerate(left) if self.same(item, other, True)), None)
            if match is None:
                return False
            del left[match]
        return True

    def _ratios(self, got: Value, wanted: Value) -> bool:
        if isinstance(got, Ratio) and isinstance(wanted, Ratio):
            if got.half and wanted.half and got.half != wanted.half:
                return False
            if got.is_clock and wanted.is_clock:
                return _padded(got.parts) == _padded(wanted.parts)
            return _proportional(got.parts, wanted.parts)
        ratio, other = (got, wanted) if isinstance(got, Ratio) else (wanted, got)
        assert isinstance(ratio, Ratio)
        if not isinstance(other, Quantity) or other.number is None:
            return False
        if ratio.is_clock and ratio.parts[1] == 0:  # 3 pm, 3:00 and 3
            return other.number.value == ratio.parts[0]
        return _proportional(ratio.parts, (other.number.value, Fraction(1)))

    def _quantities(self, got: Quantity, wanted: Quantity, in_list: bool) -> bool:
        scale: Fraction | None = Fraction(1)
        if got.unit and wanted.unit:
            scale = units.ratio(got.unit, wanted.unit)
        elif in_list and got.noun and wanted.noun and not _same_noun(got.noun, wanted.noun):
            return False
        if scale is None:
            return False
        if got.number is not None and wanted.number is not None:
            if scale == 1:
                return plain_number.equal(got.number, wanted.number, self.rel_tol)
            return plain_number.close(got.number.value * scale, wanted.number.value, self.rel_tol)
        if _is_relation(wanted) and not _is_relation(got):
            return False
        if _is_relation(got) and not _is_relation(wanted):
            # m + n = 10 states the value of m + n; 13x + 3y = 28 is the equation of a line.
            left, _, right = got.expression.rpartition("=")
            symbols = left.strip() and not re.search("[0-9=<>]", _POWER.sub("", left))
            return bool(symbols) and self.same(read_answer(right), wanted)
        return scale == 1 and self.algebra(got.expression, wanted.expression)


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


def _brackets_agree(got: Group, wanted: Group) -> bool:
    if (got.opening, got.closing) == (wanted.opening, wanted.closing):
        return True
    kinds = {(group.opening, group.closing) for group in (got, wanted)}
    if ("", "") in kinds:
        # A list may stand for a set or a tuple, but it has no ends of an interval.
        interval = len(wanted.items) == 2 and "[" in wanted.opening + wanted.closing
        return not interval and ("(", "]") not in kinds and ("[", ")") not in kinds
    return len(wanted.items) > 2 and not any(group.opening == "\\{" for group in (got, wanted))


def _ordered(got: Group, wanted: Group) -> bool:
    """Tuples are, and a list whose parts have different names or units against one without."""
    if got.opening in ("(", "[") or wanted.opening in ("(", "["):
        return True
    keys = [{_key(item) for item in group.items} for group in (got, wanted)]
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
