"""The value of an answer that was read: six frozen types, which can be nested.

A `Quantity` without a number is an expression; only such a value needs computer algebra to be
compared. `text` is always the part of the answer that the value was read from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from gft_lite.rewards.answers.plain_number import PlainNumber
from gft_lite.rewards.answers.units import Unit


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


def has_words(value: Value) -> bool:
    """Whether it contains a text that the grammar could not take apart."""
    if isinstance(value, Group):
        return any(has_words(item) for item in value.items)
    if isinstance(value, Named):
        return has_words(value.value)
    return isinstance(value, Words)
