"""Units: which words are one, and by how much two of them differ.

A unit is a power of each dimension and an exact factor. A name can have several readings (a pound
is a weight and a currency); two units agree if a pair of their readings has equal dimensions.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

Dimensions = frozenset[tuple[str, int]]


class Unit(NamedTuple):
    """One reading of a unit: {("length", 2)} and the factor to the dimension's base unit."""

    dimensions: Dimensions
    factor: Fraction


_INCH = Fraction(254, 10000)
_POUND = Fraction(45359237, 10**8)
_LITRE = Fraction(1, 1000)
_GALLON = 231 * _INCH**3
_TABLE: dict[tuple[str, int], dict[str, Fraction | int]] = {
    ("length", 1): {
        "mm millimeter millimetre": Fraction(1, 1000),
        "cm centimeter centimetre": Fraction(1, 100),
        "dm decimeter decimetre": Fraction(1, 10),
        "m meter metre": 1,
        "km kilometer kilometre": 1000,
        "in inch inches": _INCH,
        "ft foot feet": 12 * _INCH,
        "yd yard": 36 * _INCH,
        "mi mile": 63360 * _INCH,
    },
    ("length", 2): {"hectare": 10**4, "acre": Fraction(40468564224, 10**7)},
    ("length", 3): {
        "ml milliliter millilitre cc": _LITRE / 1000,
        "l liter litre": _LITRE,
        "gal gallon": _GALLON,
        "quart qt": _GALLON / 4,
        "pint pt": _GALLON / 8,
        "cup": _GALLON / 16,
        "ounce oz": _GALLON / 128,
    },
    ("mass", 1): {
        "mg milligram": Fraction(1, 10**6),
        "g gram": Fraction(1, 1000),
        "kg kilogram kilo": 1,
        "lb lbs pound": _POUND,
        "oz ounce": _POUND / 16,
    },
    ("time", 1): {
        "ms millisecond": Fraction(1, 1000),
        "s sec second": 1,
        "m min minute": 60,
        "h hr hour": 3600,
        "day": 86400,
        "week": 604800,
    },
    ("month", 1): {"month": 1, "year yr": 12},
    ("dollar", 1): {"$ dollar usd": 1, "cent ¢": Fraction(1, 100)},
    ("euro", 1): {"€ euro eur": 1, "cent": Fraction(1, 100)},
    ("sterling", 1): {"£ pound gbp": 1, "penny pence": Fraction(1, 100)},
    ("yen", 1): {"¥ yen": 1},
    ("yuan", 1): {"¥ yuan rmb": 1},
    ("rupee", 1): {"₹ rs rupee": 1},
    ("angle", 1): {"° degree deg": 1},
    ("celsius", 1): {"°c °C celsius": 1, "° degree deg": 1},
    ("fahrenheit", 1): {"°f °F fahrenheit": 1, "° degree deg": 1},
    ("radian", 1): {"radian rad": 1},
}
_SPEEDS = {"mph": "mile/hour", "kmph": "km/hour", "kph": "km/hour", "kmh": "km/hour"}
_DEGREES_OF = {"celsius", "fahrenheit"}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_DIVISIONS = re.compile(r"\s*/\s*|\s+(?:per|an?)\s+")
_NAME = re.compile(r"([^\W\d_]+|[$€£¥₹¢]|°\s?[A-Za-z]?)(?:\^\{?(-?[1-3])\}?)?\.?")


def _readings() -> dict[str, tuple[Unit, ...]]:
    table: dict[str, tuple[Unit, ...]] = {}
    for dimension, names in _TABLE.items():
        for spellings, factor in names.items():
            unit = Unit(frozenset({dimension}), Fraction(factor))
            for name in spellings.split():
                table[name] = (*table.get(name, ()), unit)
    return table


_UNITS = _readings()


@lru_cache(maxsize=1024)
def parse_unit(text: str) -> tuple[Unit, ...]:
    """The readings of `text` as a unit as a whole, or () if it is none."""
    above, *below = _DIVISIONS.split(_SPEEDS.get(text, text))
    readings = _product(above)
    for divisor in below:
        readings = tuple(
            Unit(_times(top.dimensions, bottom.dimensions, -1), top.factor / bottom.factor)
            for top in readings
            for bottom in _product(divisor)
        )
    return readings


def _product(text: str) -> tuple[Unit, ...]:
    """One named unit with its power: `cm^2`, `square feet`, `degrees Celsius`."""
    words = [word.rstrip(".") for word in text.split()]
    power = 1
    for place in (0, -1):
        if len(words) > 1 and words[place].lower() in _POWERS:
            power = _POWERS[words.pop(place).lower()]
    if len(words) == 2 and words[1].lower() in _DEGREES_OF:
        words = words[1:]
    name = _NAME.fullmatch(" ".join(words))
    if name is None:
        return ()
    power *= int(name[2] or 1)
    return tuple(
        Unit(frozenset((base, exponent * power) for base, exponent in dims), factor**power)
        for dims, factor in _named(name[1].replace(" ", ""))
    )


def _named(name: str) -> tuple[Unit, ...]:
    for spelling in (name, name.lower(), name.lower().removesuffix("s")):
        if spelling in _UNITS and (spelling == name or len(spelling) > 1 or name == "L"):
            return _UNITS[spelling]
    return ()


def _times(left: Dimensions, right: Dimensions, sign: int) -> Dimensions:
    powers = dict(left)
    for base, exponent in right:
        powers[base] = powers.get(base, 0) + sign * exponent
    return frozenset((base, exponent) for base, exponent in powers.items() if exponent)


def base_unit(number_base: str) -> tuple[Unit, ...]:
    """The base of a written number (`204_5`) as a unit of its own."""
    return (Unit(frozenset({(f"base {number_base}", 1)}), Fraction(1)),)


def factor(readings: tuple[Unit, ...], dimensions: Dimensions) -> Fraction | None:
    """The factor of a unit to the base unit of `dimensions`; None if it measures something else."""
    return next((unit.factor for unit in readings if unit.dimensions == dimensions), None)


def ratio(unit: tuple[Unit, ...], other: tuple[Unit, ...]) -> Fraction | None:
    """How many of `other` one of `unit` is; None if they measure different things."""
    for left in unit:
        for right in other:
            if left.dimensions == right.dimensions:
                return left.factor / right.factor
    return None
