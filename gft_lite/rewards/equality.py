"""Compares a response's answer with a reference, part by part.

The order of a list does not matter; that of a tuple or an interval does, and so does that of a list
without names against one with several names. A unit, a noun or a name that only one side has is no
difference. A response may go on after its answer: if its sentence as a whole is not the reference,
its shorter readings count. Single expressions go to `algebra`, which the caller supplies.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
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
from gft_lite.rewards.plain_number import NUMBER
from gft_lite.rewards.writing import formulas, is_prose, same_writing

# (response, reference) -> equal; both are LaTeX of one expression or equation
Algebra = Callable[[str, str], bool]

_CLAUSE = re.compile(
    r",?\s+(?:because|since|as|so|which|where|when|while|if|but|that|after|for|in|on|at|with|of)\b"
    r"|,(?=\s+(?:I|we|he|she|it|they|the|this|so)\b)|\s[({](?=[a-z]{2,} )"
)
_NEGATION = re.compile(r"\b(?:not|never|none|neither|cannot|less|more|least|most)\b|n't\b", re.I)
_NUMBERS = re.compile(rf"(?<![A-Za-z0-9_.])[-+]?[{plain_number.CURRENCY}]?{NUMBER}(?:/{NUMBER})?%?")
_RELATION = re.compile(r"[=<>]|\\(?:le|ge|neq|in)(?![A-Za-z])")
_NAME_SPACE = re.compile(r"[\s{}\\]|\([^()]*\)$")
MIN_SENTENCE_WORDS = 4


def answers_equal(got: str, wanted: str, algebra: Algebra, rel_tol: float) -> bool:
    """Whether the answer `got`, as a response writes it, equals the reference `wanted`."""
    reference = read_answer(wanted)
    same = _Comparison(algebra, rel_tol).same
    response = read_answer(got)
    if same(response, reference):
        return True
    if has_words(response):
        return any(same(reading, reference) for reading in _readings_of_sentence(got, response))
    number = _number_of_sentence(reference)
    return number is not None and same(response, read_answer(number))


def _readings_of_sentence(got: str, response: Value) -> Iterator[Value]:
    """What a sentence may mean: its part before the first clause, its only formula or number.

    "18 dollars, because 3 are gone", "the solution is $x > 2$", "Tom has 5 apples".
    """
    if isinstance(response, Group) and not response.opening:
        run = tuple(itertools.takewhile(lambda item: not has_words(item), response.items))
        if run:
            yield run[0] if len(run) == 1 else Group(response.text + " …", run)
    cut = _CLAUSE.search(response.text)
    if cut is not None and cut.start() > 0:
        yield read_answer(response.text[: cut.start()])
    copula = got.rpartition(" is ")[2]
    if copula != got:
        yield read_answer(copula)
    if _NEGATION.search(response.text):
        return
    spans = formulas(got)
    if len(spans) == 1:
        start, inside, end = spans[0]
        yield read_answer(got[inside : end - (inside - start)])
        return
    numbers = _NUMBERS.findall(response.text)
    leading = _NUMBERS.match(response.text)
    if len(numbers) == 1 or (leading and re.match(r"\s[^\W\d_]{2,}", response.text[leading.end() :])):
        yield read_answer(numbers[0])


def _number_of_sentence(reference: Value) -> str | None:
    """The number of a reference that is a sentence with just one: "She has 5 apples left"."""
    if not isinstance(reference, Words) or len(reference.text.split()) < MIN_SENTENCE_WORDS:
        return None
    numbers = _NUMBERS.findall(reference.text)
    return numbers[0] if len(numbers) == 1 and not _NEGATION.search(reference.text) else None


@dataclass(frozen=True)
class _Comparison:
    algebra: Algebra
    rel_tol: float

    def same(self, got: Value, wanted: Value, in_list: bool = False) -> bool:
        """Whether two values are equal; `in_list` where nouns tell the parts apart."""
        if same_writing(got.text, wanted.text):
            return True
        if isinstance(got, Choice) or isinstance(wanted, Choice):
            return self._choices(got, wanted, in_list)
        if isinstance(got, Named) or isinstance(wanted, Named):
            return self._named(got, wanted, in_list)
        if isinstance(got, Group) or isinstance(wanted, Group):
            return self._groups(got, wanted)
        if isinstance(got, Words) or isinstance(wanted, Words):
            return _as_text(got.text) == _as_text(wanted.text) != ""
        if isinstance(got, Ratio) or isinstance(wanted, Ratio):
            return self._ratios(got, wanted)
        return self._quantities(got, wanted, in_list)

    def _choices(self, got: Value, wanted: Value, in_list: bool) -> bool:
        if isinstance(got, Choice) and isinstance(wanted, Choice):
            contents = got.content is not None and wanted.content is not None
            return got.letter == wanted.letter and (
                not contents or self.same(got.content, wanted.content, in_list)  # type: ignore[arg-type]
            )
        choice, other = (got, wanted) if isinstance(got, Choice) else (wanted, got)
        assert isinstance(choice, Choice)
        if other.text.strip("()").upper() == choice.letter:
            return True
        if choice.content is None:
            return False
        pair = (choice.content, other) if choice is got else (other, choice.content)
        return self.same(*pair, in_list)

    def _named(self, got: Value, wanted: Value, in_list: bool) -> bool:
        if isinstance(got, Named) and isinstance(wanted, Named):
            if _name(got) == _name(wanted) or is_prose(got.name) or is_prose(wanted.name):
                return self.same(got.value, wanted.value, in_list)
            return isinstance(got.value, Quantity) and self._equations(got, wanted)
        named, other = (got, wanted) if isinstance(got, Named) else (wanted, got)
        assert isinstance(named, Named)
        if isinstance(other, Quantity) and other.number is None and _RELATION.search(other.text):
            return self._equations(got, wanted)
        if isinstance(other, Group) and not other.opening:
            unpacked = _unpacked(named)
            if unpacked is not None:
                pair = (unpacked, other) if named is got else (other, unpacked)
                return self._groups(*pair)
        pair = (named.value, other) if named is got else (other, named.value)
        return self.same(*pair, in_list)

    def _equations(self, got: Value, wanted: Value) -> bool:
        """Two relations that do not name the same thing: y = 2x and 2x - y = 0, x < 1 and -x > -1."""
        texts = [
            side.value.text
            if isinstance(side, Named) and isinstance(side.value, Group) and "\\in" in side.text
            else side.text
            for side in (got, wanted)
        ]
        return self.algebra(*texts)

    def _groups(self, got: Value, wanted: Value) -> bool:
        if isinstance(got, Group) and isinstance(wanted, Group):
            if _brackets_agree(got, wanted):
                if self._in_order(got.items, wanted.items):
                    return True
                if not _ordered(got, wanted) and self._in_any_order(got.items, wanted.items):
                    return True
        group, other = (got, wanted) if isinstance(got, Group) else (wanted, got)
        assert isinstance(group, Group)
        if not isinstance(other, Group):
            if len(group.items) == 1 and group.opening in ("", "\\{"):
                return self.same(*((group.items[0], other) if group is got else (other, group.items[0])))
            number = plain_number.decimal_comma(group.text)
            if number is not None and isinstance(other, Quantity) and other.number is not None:
                pair = (number, other.number) if group is got else (other.number, number)
                return "." in other.text and plain_number.equal(*pair, self.rel_tol)
        totals = _total(got), _total(wanted)
        if totals[0] is not None and totals[1] is not None:
            (got_dimension, got_sum), (wanted_dimension, wanted_sum) = totals  # type: ignore[misc]
            return got_dimension == wanted_dimension and plain_number.close(
                got_sum, wanted_sum, self.rel_tol
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
        if not isinstance(other, Quantity) or other.number is None or ratio.half:
            return False
        return len(ratio.parts) == 2 and _proportional(ratio.parts, (other.number.value, Fraction(1)))

    def _quantities(self, got: Value, wanted: Value, in_list: bool) -> bool:
        assert isinstance(got, Quantity)
        assert isinstance(wanted, Quantity)
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
            scaled = got.number.value * scale
            return plain_number.close(scaled, wanted.number.value, self.rel_tol)
        if _as_text(got.text) == _as_text(wanted.text) and is_prose(got.text):
            return True
        return scale == 1 and self.algebra(got.expression, wanted.expression)


def _as_text(text: str) -> str:
    return normalise(text, ignore_case=True, ignore_spaces=True, ignore_punctuation=True)


def _name(named: Named) -> str:
    return _NAME_SPACE.sub("", named.name)


def _unpacked(named: Named) -> Group | None:
    """(x, y) = (1, 2) as x = 1, y = 2."""
    names = named.name.strip("()").split(",")
    value = named.value
    if len(names) < 2 or not isinstance(value, Group) or len(value.items) != len(names):
        return None
    items = (
        Named(f"{name.strip()} = {item.text}", name.strip(), item)
        for name, item in zip(names, value.items, strict=True)
    )
    return Group(named.text, tuple(items))


def _distinct(items: Sequence[Value]) -> Sequence[Value]:
    """Without points that are written twice; a number may well occur twice in a list."""
    if not all(isinstance(item, Group) for item in items):
        return items
    return list({item.text.replace(" ", ""): item for item in items}.values())


def _brackets_agree(got: Group, wanted: Group) -> bool:
    if got.opening == wanted.opening and got.closing == wanted.closing:
        return True
    kinds = {(group.opening, group.closing) for group in (got, wanted)}
    if ("", "") in kinds:
        # A list for a tuple is as good as the tuple, but no list has the ends of an interval.
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


def _total(value: Value) -> tuple[units.Dimensions, Fraction] | None:
    """What `5 feet 7 inches` is in its base unit; the parts must get smaller."""
    items = value.items if isinstance(value, Group) and not value.opening else (value,)
    quantities = [item for item in items if isinstance(item, Quantity) and item.number is not None]
    if not quantities or len(quantities) != len(items):
        return None
    for first in quantities[0].unit:
        readings = [
            unit
            for item in quantities
            for unit in item.unit
            if unit.dimensions == first.dimensions
        ]
        factors = [unit.factor for unit in readings]
        if len(factors) == len(items) and factors == sorted(set(factors), reverse=True):
            values = [item.number.value for item in quantities if item.number is not None]
            total = sum(
                (value * factor for value, factor in zip(values, factors, strict=True)), Fraction(0)
            )
            return first.dimensions, total
    return None


def _padded(parts: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    return (*parts, Fraction(0), Fraction(0))[:3]


def _proportional(left: Sequence[Fraction], right: Sequence[Fraction]) -> bool:
    return len(left) == len(right) and all(
        one * right[0] == other * left[0] for one, other in zip(left, right, strict=True)
    ) and any(left) == any(right)
