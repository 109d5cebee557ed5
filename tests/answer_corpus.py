"""A seeded corpus of reference answers for the property tests of the rewards.

Every reference has a key. References with different keys are not equal by any reading: a key holds
all numbers of the answer in one sorted tuple, whatever brackets, names or units stand around them.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Reference:
    """A reference answer as written, its kind, and what it must differ in from another one."""

    text: str
    kind: str
    key: tuple


Maker = Callable[[random.Random], tuple[str, tuple]]
WORDS = (
    "Monday", "Paris", "Evelyn", "odd", "even", "isosceles triangle", "Dr. Smith", "quadrilateral",
    "a regular hexagon", "red and blue", "the first train", "north-east", "Alice and Bob",
    "not enough information", "no solution", "infinitely many", "New York", "hydrogen",
)  # fmt: skip
UNITS = (
    "cm", "feet", "inches", "hours", "minutes", "kg", "miles per hour", "km/h", "square meters",
    "cm^2", r"\text{ cm}", r"\text{ meters}", r"\text{ cm}^2", r"\mbox{ cm}^3", "degrees",
    "liters", "apples", "people", "marbles left", "years old", "dollars", "cents", "days",
)  # fmt: skip


PIECES = (
    *r"""\frac \dfrac \sqrt \pm \cup \cap \in \le \ge \neq \approx \infty \pi \theta \text{ \mathrm{
    \boxed{ \left( \right) \left[ \right] \{ \} { } ( ) [ ] $ $$ \( \) \[ \] \begin{pmatrix}
    \end{pmatrix} \begin{cases} \end{cases} \\ & , ; : . ! ? and or is answer The #### = < > + - *
    / ^ _ % \% \$ € £ ° 1 2 3 10 007 1,000 1{,}000 2.5 .5 1e9 3/4 x y z f(x) e i \sin \log_2
    \sum_{i=1}^{n} \int_0^1 \lim cm feet inches hours minutes dollars per square pm a.m. (A) B) Yes
    no Paris because not \quad \! \, \; ** ` " ' | \overline{3} \binom{5}{2} 5! \mod \pmod{7}
    \emptyset \mathbb{R} é 漢 ½ ² ≤ −""".split(),
    "\u2028", "\x00", "\n", "\n\n", "  ",
)  # fmt: skip


def whole(rng: random.Random) -> int:
    return rng.choice((rng.randint(2, 20), rng.randint(21, 999), rng.randint(1000, 10**7)))


def signed(rng: random.Random) -> int:
    return rng.choice((1, 1, -1)) * rng.randint(1, 60)


def distinct(rng: random.Random, count: int, low: int = 2, high: int = 99) -> list[int]:
    return rng.sample(range(low, high), count)


def values(*numbers: object) -> tuple:
    return tuple(sorted(numbers))


def integer(rng):
    n = rng.choice((1, -1)) * whole(rng)
    return str(n), values(Fraction(n))


def thousands(rng):
    n = rng.randint(1000, 10**8)
    mark = rng.choice((",", "{,}", ",\\!", "\\,", " "))
    return f"{n:,}".replace(",", mark), values(Fraction(n))


def decimal(rng):
    n = Fraction(rng.randint(1, 99999), 100)
    return rng.choice(("", "-")) + f"{float(n):.2f}", values(n)


def fraction(rng):
    top, bottom = rng.randint(1, 40), rng.randint(2, 40)
    form = rng.choice(
        ("{}/{}", r"\frac{{{}}}{{{}}}", r"\dfrac{{{}}}{{{}}}", r"-\tfrac{{{}}}{{{}}}")
    )
    return form.format(top, bottom), values(Fraction(top, bottom))


def mixed(rng):
    n, bottom = rng.randint(1, 30), rng.randint(3, 12)
    top = rng.randint(1, bottom - 1)
    form = rng.choice((r"{}\frac{{{}}}{{{}}}", "{} {}/{}", r"{} \tfrac{{{}}}{{{}}}"))
    return form.format(n, top, bottom), values(n + Fraction(top, bottom))


def scientific(rng):
    digits, power = Fraction(rng.randint(11, 99), 10), rng.choice((-9, -2, 3, 5, 8))
    form = rng.choice((r"{} \times 10^{{{}}}", r"{}\cdot10^{{{}}}", "{}e{}", "{} × 10^{{{}}}"))
    return form.format(float(digits), power), values(digits * Fraction(10) ** power)


def repeating(rng):
    n, period = rng.randint(0, 9), rng.randint(1, 8)
    form = rng.choice((r"{}.\overline{{{}}}", "{}.({})", r"{}.\bar{{{}}}"))
    return form.format(n, period), values(n + Fraction(period, 9))


def factorial(rng):
    n = rng.randint(4, 12)
    return f"{n}!", values(Fraction(math.factorial(n)))


def percentage(rng):
    n = Fraction(rng.randint(1, 999), 10)
    written = str(float(n)).removesuffix(".0")
    return written + rng.choice(("%", r"\%", " percent", " %")), values(n)


def currency(rng):
    n = Fraction(rng.randint(1, 10**6), 100)
    form = rng.choice(("${:,.2f}", r"\${:,.2f}", "€{:.2f}", "£{:,.2f}", "{:.2f} dollars"))
    return form.format(float(n)), values(n)


def large_currency(rng):
    n = rng.randint(1000, 10**7)
    return f"${n:,}", values(Fraction(n))


def with_unit(rng):
    n, unit = whole(rng), rng.choice(UNITS)
    return f"{n}{'' if unit[0] == chr(92) else ' '}{unit}", values(Fraction(n))


def degrees(rng):
    n = rng.randint(1, 359)
    return str(n) + rng.choice((r"^\circ", r"^{\circ}", "°", " degrees", "°C")), values(Fraction(n))


def scaled(rng):
    n, (word, scale) = rng.randint(2, 90), rng.choice((("million", 10**6), ("thousand", 10**3)))
    return f"{n} {word}", values(Fraction(n * scale))


def compound(rng):
    large, small = rng.randint(2, 60), rng.randint(1, 11)
    one, other = rng.choice((
        ("feet", "inches"), ("hours", "minutes"), ("pounds", "ounces"), ("days", "hours"),
        ("minutes", "seconds"), ("dollars", "cents"), (r"\text{ hours}", r"\text{ minutes}"),
    ))  # fmt: skip
    between = rng.choice((" ", " and ", ", "))
    return f"{large} {one}{between}{small} {other}", ("compound", large, small, one)


def counts(rng):
    first, second = distinct(rng, 2, 20, 400)
    one, other = rng.choice((("adult", "child"), ("boys", "girls"), ("red balls", "blue balls")))
    return f"{first} {one}, {second} {other}", values(first, second)


def listing(rng):
    numbers = distinct(rng, rng.randint(2, 5))
    form = rng.choice((", ", ",", " and ", " or ", "; ", r",\ ", r" \text{ and } "))
    if form == "," and len(numbers) > 2 and rng.random() < 0.7:
        return ", ".join(map(str, numbers[:-1])) + f", and {numbers[-1]}", values(*numbers)
    return form.join(map(str, numbers)), values(*numbers)


def signed_listing(rng):
    one, other = -rng.randint(1, 60), rng.randint(1, 60)
    return rng.choice(("{} and {}", "{}, {}", "{} or {}")).format(one, other), values(one, other)


def assignments(rng):
    numbers = distinct(rng, rng.choice((2, 2, 3)))
    names = rng.choice((("x", "y", "z"), ("a_1", "a_2", "a_3"), ("m", "n", "p"), ("A", "B", "C")))
    between = rng.choice((", ", " and ", r",\quad ", r" \text{ and } ", "; "))
    pairs = zip(names, numbers, strict=False)
    return between.join(f"{n}{rng.choice((' = ', '='))}{v}" for n, v in pairs), values(*numbers)


def solutions(rng):
    numbers = distinct(rng, 2)
    form = rng.choice(("x = {} or x = {}", "x={}, {}", "x = {} and x = {}", r"x \in \{{{}, {}\}}"))
    return form.format(*numbers), values(*numbers)


def assignment(rng):
    n = signed(rng)
    form = rng.choice(("x = {}", "x={}", "f(3) = {}", "k = {}", r"\theta = {}^\circ", "AB = {}"))
    return form.format(n), values(Fraction(n))


def point(rng):
    numbers = distinct(rng, rng.choice((2, 2, 3)), -30, 60)
    form = rng.choice(("({})", r"\left( {} \right)", r"\left({}\right)"))
    return form.format(rng.choice((", ", ",")).join(map(str, numbers))), values(*numbers)


def points(rng):
    a, b, c, d = distinct(rng, 4, -30, 60)
    form = rng.choice(("({}, {}), ({}, {})", "({},{}) and ({},{})", r"\{{({},{}), ({},{})\}}"))
    return form.format(a, b, c, d), values(a, b, c, d)


def interval(rng):
    low, high = sorted(distinct(rng, 2, -30, 60))
    form = rng.choice((
        "({}, {}]", "[{}, {})", "[{},{}]", r"\left[{}, {}\right)", "{} < x \\le {}",
        r"{} \leq x \leq {}", "{} ≤ x < {}", r"x \in ({}, {}]", r"{} < f(x) < {}",
    ))  # fmt: skip
    return form.format(low, high), values(low, high)


def half_line(rng):
    n = signed(rng)
    forms = (
        "x > {}",
        r"x \geq {}",
        "x < {}",
        r"({}, \infty)",
        r"(-\infty, {}]",
        "{} > x",
        "x ≤ {}",
    )
    return rng.choice(forms).format(n), ("half line", n)


def union(rng):
    a, b, c, d = sorted(distinct(rng, 4, -30, 60))
    form = rng.choice((r"({}, {}) \cup ({}, {})", r"[{}, {}] \cup [{}, {}]", "({},{}] ∪ [{},{})"))
    return form.format(a, b, c, d), values(a, b, c, d)


def finite_set(rng):
    numbers = distinct(rng, rng.randint(2, 5), -30, 60)
    form = rng.choice((r"\{{{}\}}", r"\left\{{ {} \right\}}", r"\{{ {} \}}"))
    return form.format(rng.choice((", ", ",")).join(map(str, numbers))), values(*numbers)


def matrix(rng):
    a, b, c, d = distinct(rng, 4, -30, 60)
    kind = rng.choice(("pmatrix", "bmatrix"))
    rows = rng.choice((r"{} & {} \\ {} & {}", r"{}&{}\\{}&{}")).format(a, b, c, d)
    return rf"\begin{{{kind}}} {rows} \end{{{kind}}}", ("matrix", a, b, c, d)


def vector(rng):
    a, b, c = distinct(rng, 3, -30, 60)
    return rf"\begin{{pmatrix}} {a} \\ {b} \\ {c} \end{{pmatrix}}", ("vector", a, b, c)


def expression(rng):
    a, b, c = distinct(rng, 3, 2, 30)
    form = rng.choice((
        "{0}x^2 + {1}x - {2}", r"\frac{{{0}x + {1}}}{{{2}}}", r"x^{{{0}}} - {1}y + {2}",
        r"{0}\sin(x) + {1}\cos({2}x)", r"({0} - x)({1} + x) + {2}",
        r"\frac{{{0}}}{{x + {1}}} - {2}", r"{0}(x+{1})^2 - {2}", r"\log_{{{0}}}({1}x) + {2}",
        r"{0}e^{{{1}x}} + {2}",
    ))  # fmt: skip
    return form.format(a, b, c), ("expression", form, a, b, c)


def surd(rng):
    a, root = rng.randint(2, 30), rng.choice((2, 3, 5, 7, 11, 13))
    form = rng.choice((r"{}\sqrt{{{}}}", r"{} + \sqrt{{{}}}", r"\frac{{{}\sqrt{{{}}}}}{{17}}"))
    return form.format(a, root), ("surd", form, a, root)


def with_pi(rng):
    n = rng.randint(2, 99)
    form = rng.choice((r"{}\pi", r"\frac{{{}\pi}}{{7}}", "{}π", r"{}\pi \text{{ cm}}^2"))
    return form.format(n), ("pi", form[:4], n)


def plus_minus(rng):
    a, b = rng.randint(2, 30), rng.choice((2, 3, 5, 7))
    form = rng.choice(
        (r"{} \pm \sqrt{{{}}}", r"x = {} \pm {}i", r"\frac{{{} \pm \sqrt{{{}}}}}{{11}}")
    )
    return form.format(a, b), ("plus minus", form, a, b)


def plain_plus_minus(rng):
    n = rng.randint(2, 99)
    return rng.choice((r"\pm {}", r"x = \pm {}", "±{}")).format(n), values(n, -n)


def complex_number(rng):
    a, b = distinct(rng, 2, 2, 30)
    return f"{a} {rng.choice('+-')} {b}i", ("complex", a, b)


def equation(rng):
    a, b, c = distinct(rng, 3, 2, 30)
    forms = (
        "y = {}x + {} - {}z",
        "{}x + {}y = {}",
        "f(x) = {}x^2 + {}x + {}",
        "x^2/{} + y^2/{} = {}",
    )
    form = rng.choice(forms)
    return form.format(a, b, c), ("equation", form, a, b, c)


def clock(rng):
    hour, minute = rng.randint(1, 12), rng.randint(1, 59)
    half = rng.choice((" PM", " pm", " p.m.", "AM", " a.m.", ""))
    return f"{hour}:{minute:02d}{half}", ("clock", hour, minute)


def ratio(rng):
    a, b = rng.choice(((2, 3), (3, 7), (5, 4), (9, 16), (11, 8), (1, 40), (7, 90)))
    k = rng.randint(1, 3)
    return f"{a * k}{rng.choice((':', ' : '))}{b * k}", ("ratio", a, b)


def based(rng):
    n, base = rng.randint(100, 222), rng.choice((3, 5, 7))
    return rng.choice(("{}_{}", "{}_{{{}}}")).format(n, base), ("base", n, base)


def letter(rng):
    name = rng.choice("ABCDE")
    forms = ("{}", "({})", r"\text{{({})}}", r"\textbf{{({})}}", r"\text{{{}}}", r"\mathrm{{{}}}")
    return rng.choice(forms).format(name), ("choice", name)


def option(rng):
    name, n = rng.choice("ABCDE"), rng.randint(2, 99)
    forms = (r"\textbf{{({}) }} {}", r"\text{{({})}} {}", "({}) {}", "{}. {}", "{}) {}")
    return rng.choice(forms).format(name, n), ("option", name, n)


def worded_option(rng):
    name, word = rng.choice("ABCDE"), rng.choice(("Paris", "a dog", "Both of them", "green"))
    return f"({name}) {word}", ("option", name, word)


def words(rng):
    word = rng.choice(WORDS)
    form = rng.choice(("{}", r"\text{{{}}}")) if word != "Dr. Smith" else "{}"
    return form.format(word), ("words", word)


def yes_or_no(rng):
    word = rng.choice(("Yes", "No", "True", "False", "yes", "no", r"\text{No}", r"\text{Yes}"))
    return word, ("words", word.removeprefix(r"\text{").removesuffix("}").lower())


MAKERS: tuple[Maker, ...] = (
    integer, thousands, decimal, fraction, mixed, scientific, repeating, factorial, percentage,
    currency, large_currency, with_unit, degrees, scaled, compound, counts, listing, signed_listing,
    assignments, solutions, assignment, point, points, interval, half_line, union, finite_set,
    matrix, vector, expression, surd, with_pi, plus_minus, plain_plus_minus, complex_number,
    equation, clock, ratio, based, letter, option, worded_option, words, yes_or_no,
)  # fmt: skip

WRAPPERS = (
    r"\boxed{X}",
    r"Therefore the result is $\boxed{X}$.",
    "First 3 + 4 = 7, and then 12.\n\n\\[ \\boxed{X} \\]\n\nThis completes the 2 steps.",
    "#### X",
    "She has 12 and gives 5 away, so 12 - 5 = 7.\nAnd so on.\n#### X",
    "The answer is X.",
    "The answer is X. That is all, and 99 is something else.",
    "Step 1: 5 * 3 = 15.\nStep 2: add 1.\nSo the answer is X.\n",
    "**Answer:** X",
    "The final answer is: **X**",
    "Final Answer: The final answer is $X$. I hope it is correct.",
    "Final answer: $X$. I hope it is correct",
    "ANSWER: X",
    "Therefore, the final answer is: $\\boxed{X}$. I hope it is correct.",
    "X",
)


def corpus(seed: int, size: int) -> list[Reference]:
    """`size` references, the kinds in turn."""
    rng = random.Random(seed)
    references = []
    for index in range(size):
        maker = MAKERS[index % len(MAKERS)]
        text, key = maker(rng)
        references.append(Reference(text, maker.__name__, key))
    return references


def may_be_equal(one: Reference, other: Reference) -> bool:
    """Whether a reading exists in which two references are equal: then no test compares them."""
    if one.key == other.key:
        return True
    letters = [ref.key[1] for ref in (one, other) if ref.key[0] in ("choice", "option")]
    if len(letters) == 2:
        return letters[0] == letters[1]
    for option, value in ((one.key, other.key), (other.key, one.key)):  # (C) 42 is 42
        if option[0] == "option" and len(value) == 1:
            return option[2] in (value[0], value[0] * 100, value[0] / 100)
    if len(one.key) == len(other.key) == 1:  # 50% is 50 and is 0.5
        return one.key[0] in (other.key[0] * 100, other.key[0] / 100)
    return False


HEDGES = (
    "The answer is X or Y.",
    "The answer is either Y or X.",
    "The answer is X and Y.",
    r"\boxed{X} or \boxed{Y}",
    r"\boxed{X}, \boxed{Y}",
    r"\boxed{X or Y}",
    r"\boxed{X, Y}",
    "#### X, or maybe Y",
    "Is it X? No: the answer is Y.",
)


def near_misses(rng: random.Random, reference: Reference) -> list[str]:
    """The reference with a digit of each of its numbers changed, and with its first digit lost."""
    texts = []
    for run in re.finditer("[0-9]+", reference.text):
        before, after = reference.text[: run.start()], reference.text[run.end() :]
        place = rng.randrange(len(run[0]))
        digit = str(int(run[0][place]) % 9 + 1)
        texts.append(before + run[0][:place] + digit + run[0][place + 1 :] + after)
        if len(run[0]) > 1 and run[0][0] != "0":
            texts.append(before + run[0][1:] + after)
    return [text for text in texts if text != reference.text]


def soup(rng: random.Random) -> str:
    """Pieces of answers and of LaTeX in any order."""
    glue = rng.choice(("", " "))
    return glue.join(rng.choice(PIECES) for _ in range(rng.randint(1, 25)))


def damaged(rng: random.Random, text: str) -> str:
    """The text with a few characters lost, changed, or pieces put in."""
    letters = list(text)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(letters) + 1)
        if rng.random() < 0.4:
            letters.insert(place, rng.choice(PIECES))
        elif place < len(letters):
            letters[place] = rng.choice("0123456789xyz(){}[],.$\\ ") if rng.random() < 0.5 else ""
    return "".join(letters)


def wrapped(text: str, wrapper: str) -> str:
    """The reference in a wrapper; one that is a currency or a sentence stands outside dollars."""
    if "$X$" in wrapper and "$" in text:
        wrapper = wrapper.replace("$X$", "X")
    return wrapper.replace("X", text)
