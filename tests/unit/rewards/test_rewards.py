"""Rewards: worked cases for each verifier, hostile texts, and the process that can be killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import timeit
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gft_lite.rewards import REWARDS, Target, build_scorer, target_of
from gft_lite.rewards.answers.extract import extract_answer
from gft_lite.rewards.answers.plain_number import last_number, parse_number
from gft_lite.rewards.overlap import common_subsequence
from gft_lite.types import Example, Message, RewardError, Score


def one(spec, response: str, answer: str | None = None, **target) -> Score:
    """The score of a single response."""
    with build_scorer(spec) as scorer:
        return scorer.score([(response, Target(answer, **target))])[0]


@pytest.fixture(scope="module")
def math():
    """One math scorer for the module, so that its process starts once."""
    with build_scorer("math") as scorer:
        yield lambda response, answer: scorer.score([(response, Target(answer))])[0]


# ---------------------------------------------------------------- extraction


@pytest.mark.parametrize(
    ("text", "found", "how"),
    [
        (r"the answer is 3, #### 4 and \boxed{5} and 6", "5", "boxed"),
        (r"\boxed{1} then \boxed{2}", "2", "boxed"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}", "boxed"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}", "boxed"),
        (r"\boxed{x = \boxed{5} + 3}", "5", "boxed"),
        (r"so \boxed{7}. Check: \boxed{", "7", "boxed"),
        (r"so \boxed{7} and \boxed{}", "7", "boxed"),
        (r"\boxed{18\text{ dollars}}", r"18\text{ dollars}", "boxed"),
        (r"\boxed{5, 6}", "5, 6", "boxed"),
        ("The answer is 3.\n#### 4", "4", "hashes"),
        ("#### 18 dollars", "18 dollars", "hashes"),
        ("#### Step 1: add 2 and 3\nThe answer is 5", "5", "answer is"),
        ("#### Monday", "Monday", "hashes"),
        ("The ANSWER IS 3. No: the answer is 4. 99 more", "4", "answer is"),
        ("The answer is:\n\n42", "42", "answer is"),
        ("**Answer:** 5 feet 7 inches. Not 5.", "5 feet 7 inches", "answer is"),
        ("The answer is 3:30 p.m. I hope so", "3:30 p.m", "answer is"),
        ("Answer: Dr. Smith. He is 40.", "Dr. Smith", "answer is"),
        ("The answer is 5!", "5", "answer is"),
        ("The answer is 5!.", "5!", "answer is"),
        ("Answer: 5!", "5!", "answer is"),
        (r"\boxed{The answer is 5.}", "5", "boxed"),
        (r"\boxed{2}, \boxed{3}", "2, 3", "boxed"),
        (r"\boxed{2}\boxed{3}", "2, 3", "boxed"),
        (r"$x = \boxed{2}$ and $y = \boxed{3}$.", "x = 2 and y = 3", "boxed"),
        (r"\boxed{5} feet and \boxed{7} inches", "5 feet and 7 inches", "boxed"),
        (r"so \boxed{2}, thus it is \boxed{3}", "3", "boxed"),
        (r"\boxed{3}\n\n**Final Answer** \boxed{3}", "3", "boxed"),
        ("The answer is **42**.", "42", "answer is"),
        (r"The answer is $\frac{1}{2}$, so $x=3$.", r"$\frac{1}{2}$, so $x=3$", "answer is"),
        ("The answer is $x. y$.", "x. y", "answer is"),
        ("The answer is 3 or 4.", "3 or 4", "answer is"),
        ("The answer is $18. He paid $20.", "$18", "answer is"),
        ("The answer is $5 and $6.", "$5 and $6", "answer is"),
        (r"The answer is \[\n x^2 \n\]", r"\n x^2 \n", "answer is"),
        ("The answer is $18$.", "18", "answer is"),
        ("The answer is 5x+3.", "5x+3", "answer is"),
        ("The answer is -2.5 degrees. That is 3 less.", "-2.5 degrees", "answer is"),
        ("5 + 3 = 8. So 8 apples remain, not 7!", "7", "last number"),
        ("19, 46, and 82", "19, 46, and 82", "whole line"),
        ("Since $y > 0$ we conclude that $x = 5$, done.", "x = 5", "last formula"),
        ("The $x$ is 5.", "5", "last number"),
        ("It costs $18, he paid $20", "$20", "last number"),
        ("I hope this is not wrong", None, None),
        ("", None, None),
    ],
)
def test_extraction_order(text, found, how):
    got = extract_answer(text)
    assert (got.text, got.how) == (found, how) if got else found is None


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("1,000", "1,000"),
        ("10-3", "3"),
        ("x = -3", "-3"),
        ("it fell to −4 °C", "-4"),
        ("3–5", "5"),
        ("H2O and v2", None),
        ("3/4 of it", "3/4"),
        (r"about $\frac{3}{4}$", r"\frac{3}{4}"),
        ("1, 2, 3.", "3"),
        (r"so 10,\!080 of them", "10,080"),
        ("so 10{,}080", "10,080"),
        ("costs $1,234.50.", "$1,234.50"),
        ("５０％", "50%"),
    ],
)
def test_last_number_in_text(text, last):
    assert last_number(text) == last


def test_extraction_is_linear_in_hostile_text():
    for text in (
        r"\boxed{" * 20_000, "{" * 100_000 + r"\boxed{", "answer is " * 10_000, "$a " * 30_000,
        "$1 abc $" * 15_000, "\\[ " * 30_000, r"\boxed{1}, " * 20_000, "####" * 25_000,
        "The answer is $" + ". " * 40_000, r"\boxed{" + "5 feet " * 280 + "}",
        r"\boxed{" + "a1" * 900 + "}", r"\boxed{" + "(1," * 600 + "2" + ")" * 600 + "}",
        "1,111" * 20_000 + " " * 50_000 + "answer   " * 5_000,
    ):  # fmt: skip
        started = time.process_time()
        for answer in ("5", "1, 2", "Monday it is"):
            REWARDS["math"].quick(text, Target(answer))
        assert time.process_time() - started < 2.0, text[:20]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,000", 1000),
        ("1000", 1000),
        ("1 000 000", 1_000_000),
        ("1{,}000", 1000),
        ("$-5", -5),
        ("-$5.00", -5),
        (r"\$18", 18),
        ("50%", 50),
        (r"50\%", 50),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("-3/4", Fraction(-3, 4)),
        (r"-\frac{3}{4}", Fraction(-3, 4)),
        (r"\dfrac{-3}{-4}", Fraction(3, 4)),
        ("1.5e-3", Fraction(3, 2000)),
        (r"90^\circ", 90),
        (r"10,\!080", 10_080),
        (r"11,\! 111,\! 100", 11_111_100),
        (r"1\,000", 1000),
        ("1'000", 1000),
        ("1.000.000", 1_000_000),
        ("1.000,50", Fraction(2001, 2)),
        (r"2\frac{1}{2}", Fraction(5, 2)),
        (r"2\tfrac12", Fraction(5, 2)),
        ("-2 1/2", Fraction(-5, 2)),
        (r"3.2 \times 10^{5}", 320_000),
        ("3.2 × 10^-1", Fraction(8, 25)),
        (r"0.\overline{3}", Fraction(1, 3)),
        ("1.2(3)", Fraction(37, 30)),
        ("5!", 120),
        ("$7$", 7),
        (r"\text{12}", 12),
        ("−8", -8),
    ],
)
def test_plain_numbers(text, value):
    assert parse_number(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1/0",
        "1,2",
        "1,000,5",
        "3+4",
        "--5",
        "2**3",
        "1e9999",
        "9" * 5000,
        "5 x",
        "0,111",
        "1 11/2",
        "100!",
        "5 cm",
        r"2\frac{-1}{2}",
        r"\frac{1}{0}",
    ],
)
def test_no_plain_numbers(text):
    assert parse_number(text) is None


@given(st.integers(-(10**12), 10**12))
def test_every_integer_reads_back_with_and_without_commas(value):
    assert parse_number(str(value)).value == parse_number(f"{value:,}").value == value


# ---------------------------------------------------------------- math


@pytest.mark.parametrize(
    ("response", "answer", "value"),
    [
        ("5 + 3 = 8\n#### 8", "She has 5 + 3 = 8.\n#### 8", 1),
        ("The answer is 1,000.", "1000", 1),
        ("#### $18", "18", 1),
        ("#### 18 dollars", "18", 1),
        (r"\boxed{50\%}", "50", 1),
        (r"\boxed{0.5}", "50%", 1),
        (r"\boxed{0.5}", r"\frac{1}{2}", 1),
        (r"\boxed{0.333}", "1/3", 0),
        (r"\boxed{0.3333333333}", "1/3", 1),
        (r"\boxed{12345678}", "12345679", 0),
        (r"\boxed{-5}", "5", 0),
        ("so it is −5", "-5", 1),
        (r"\boxed{5\text{ cm}}", "5", 1),
        (r"\boxed{1} … \boxed{2} … \boxed{3}", "2", 0),
        (r"\boxed{x+1}", "$x+1$", 1),
        ("The answer is Monday.", "Monday", 1),
        ("Monday", "monday", 1),
        (r"\boxed{\text{evil}}", "live", 0),
        (r"\boxed{\text{B}}", "B", 1),
    ],
)
def test_math_without_algebra(response, answer, value):
    score = REWARDS["math"].quick(response, Target(answer))
    assert (score.value, score.verdict) == (value, "ok")


@pytest.mark.parametrize(
    ("response", "answer", "value"),
    [
        (r"\boxed{(x+1)^2}", "x^2+2x+1", 1),
        (r"\boxed{\sqrt{8}}", r"2\sqrt{2}", 1),
        (r"\boxed{x = 5}", "5", 1),
        (r"\boxed{(1, 2)}", "(2, 1)", 0),
        (r"\boxed{\{2, 1\}}", r"\{1, 2\}", 1),
        (r"\boxed{1, 2, 3}", "2", 0),
        (r"\boxed{2\pi}", r"\pi", 0),
        (r"The answer is $x^2$, I think", "x^2", 1),
        (r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}", r"\begin{pmatrix}1\\2\end{pmatrix}", 1),
        ("The answer is 3 or 4.", "3", 0),
    ],
)
def test_math_with_algebra(math, response, answer, value):
    score = math(response, answer)
    assert (score.value, score.verdict) == (value, "ok")


# What the response's answer is, what the reference is, and whether they are equal.
READINGS = {
    "lists part by part": [
        ("19, 46, and 82", "19, 46, and 82", 1),
        ("21, 36, and 82", "19, 46, and 82", 0),
        ("82, 19, 46", "19, 46, and 82", 1),
        ("19, 46", "19, 46, and 82", 0),
        ("3 and -2", "-2 and 3", 1),
        ("-2", "-2 and 3", 0),
        ("-3 and 2", "-2 and 3", 0),
        (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}", 1),
        (r"\pm 5", "5", 0),
        (r"x=\pm 5", "-5, 5", 1),
        ("2 or 3", "3", 0),
        ("either 2 or 3", "3", 0),
        ("5, 5, 6", "5, 6", 0),
        ("(1, 2) and (3, 4)", "(3,4), (1,2)", 1),
        ("(2, 1) and (3, 4)", "(3,4), (1,2)", 0),
    ],
    "assignments by name": [
        ("y = 3, x = 2", "x=2 and y=3", 1),
        ("x=3 and y=2", "x=2 and y=3", 0),
        ("2, 3", "x=2 and y=3", 1),
        ("3, 2", "x=2 and y=3", 0),
        ("(2, 3)", "x=2, y=3", 1),
        ("(x, y) = (2, 3)", "y=3, x=2", 1),
        ("3, 2", "x = 2 or x = 3", 1),
        ("n = 1, 2, 3", r"\{3, 2, 1\}", 1),
        ("p=5,q=2;p=7,q=2", "(5,2),(7,2)", 1),
        ("Alice: 5, Bob: 7", "Bob: 7, Alice: 5", 1),
        ("Alice: 7, Bob: 5", "Bob: 7, Alice: 5", 0),
        ("f(4) = 3", "f(3) = 3", 0),
        ("y = 2x + 1", "2x - y + 1 = 0", 1),
        ("y = 2x", "y = 3x", 0),
        ("m + n = 10", "10", 1),
        ("13x + 3y = 28", "28", 0),
    ],
    "compound quantities": [
        ("5 feet", "5 feet 7 inches", 0),
        ("5", "5 feet 7 inches", 0),
        ("67 inches", "5 feet 7 inches", 1),
        ("5 feet, 7 inches tall", "5 feet 7 inches", 1),
        ("7 feet 5 inches", "5 feet 7 inches", 0),
        ("2 hours and 30 minutes", "2 hours 30 minutes", 1),
        ("2.5 hours", "2 hours 30 minutes", 1),
        ("2h 30m", "2 hours 30 minutes", 1),
        ("342 child tickets and 236 adult tickets", "236 adult, 342 child", 1),
        ("342 adult, 236 child", "236 adult, 342 child", 0),
        ("342, 236", "236 adult, 342 child", 0),
        ("236", "236 adult, 342 child", 0),
    ],
    "units": [
        ("5 feet", "5", 1),
        ("5", "5 feet", 1),
        ("5 feet", "5 inches", 0),
        ("60 minutes", "1 hour", 1),
        (r"5\text{ cm}^2", "5 cm", 0),
        ("5 square meters", "5 m²", 1),
        ("60 mph", "60 miles per hour", 1),
        ("60 km/h", "60 mph", 0),
        (r"2\sqrt{3}\text{ cm}", r"\sqrt{12} cm", 1),
        (r"2\sqrt{3}\text{ m}", r"2\sqrt{3}\text{ cm}", 0),
        ("50 cents", "$0.50", 1),
        ("50 cents", "$50", 0),
        ("€5", "$5", 0),
        ("5 pounds", "£5", 1),
        ("30°C", "30°F", 0),
        ("30 degrees", r"30^\circ", 1),
        ("3 million", "3,000,000", 1),
        ("204_5", "204_7", 0),
        ("25%", "1/4", 1),
        ("2.5%", "25%", 0),
    ],
    "times and ratios": [
        ("3:30 p.m", "3:30 PM", 1),
        ("3:30 AM", "3:30 PM", 0),
        ("4:30 pm", "3:30 pm", 0),
        ("3 pm", "3", 1),
        ("1:00", "12:00", 0),
        ("2:4", "1:2", 1),
        ("2:1", "1:2", 0),
        ("3/2", "3:2", 1),
    ],
    "intervals": [
        ("(2, 5]", r"2 < x \\le 5", 1),
        ("5 ≥ x > 2", "(2, 5]", 1),
        ("2 < x < 5", "(2, 5]", 0),
        ("2, 5", "(2, 5]", 0),
        ("x > 3", r"(3, \infty)", 1),
        ("x >= 3", r"(3, \infty)", 0),
        (r"x \in (2,5]", "(2,5]", 1),
        ("x < 2 or x > 5", r"(-\infty, 2) \cup (5, \infty)", 1),
        (r"[1, 2] \cup or", "[1, 2]", 0),
        ("-x > -1", "x < 1", 1),
        (r"\{2, 5\}", "(2, 5)", 0),
    ],
    "choices": [
        (r"\textbf{(C) } 5", "5", 1),
        (r"\textbf{(C) } 5", "C", 1),
        ("C", r"\textbf{(C)}\ 5", 1),
        ("(C) 6", "(C) 5", 0),
        (r"\text{(B)}", "C", 0),
        ("(B) or (C)", "C", 0),
    ],
    "sentences": [
        ("$18 because 3*6=18", "18", 1),
        ("18 dollars, which he spent on 3 toys", "18", 1),
        ("18 dollars a day for 3 weeks of work", "18", 1),
        ("19, 46, and 82, as shown above", "82, 46, 19", 1),
        ("that the sum is 7", "7", 1),
        ("that $x$ is 7", "7", 1),
        ("not 5", "5", 0),
        ("at least 5", "5", 0),
        ("between 2 and 3", "3", 0),
        ("2 to 3", "2", 0),
        ("5", "She has 5 apples left.", 1),
        ("3", "3 groups of 5", 0),
        ("3 groups of 6", "3 groups of 5", 0),
        ("Yes, because 7 is prime", "Yes", 1),
        ("No", "Yes", 0),
        ("on", "No", 0),
    ],
}


@pytest.mark.parametrize("kind", READINGS)
@pytest.mark.parametrize("wrapper", [r"\boxed{X}", "The answer is X.", "#### X"])
def test_math_compares_part_by_part(math, kind, wrapper):
    got = [(text, answer) for text, answer, _ in READINGS[kind]]
    scores = [math(wrapper.replace("X", text), answer).value for text, answer in got]
    assert scores == [value for _, _, value in READINGS[kind]], [
        pair
        for pair, score, (*_, value) in zip(got, scores, READINGS[kind], strict=True)
        if score != value
    ]


def test_the_table_of_the_documentation(math):
    page = Path(__file__).parents[3] / "docs" / "rewards.md"
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \| ([01]) \| .+ \|$", page.read_text(), re.MULTILINE)
    assert len(rows) > 15
    assert [row for row in rows if math(row[0], row[1]).value != int(row[2])] == []


@pytest.mark.parametrize(
    ("response", "answer"),
    [("", "3"), ("no idea", "3"), (r"\boxed{}", "3"), (r"\boxed{\frac{1}{}{}^}", "x^2")],
)
def test_math_unreadable_is_not_wrong(math, response, answer):
    assert math(response, answer) == Score(0.0, "unparsed")


def test_math_option_asks_for_a_marked_answer():
    assert one({"name": "math", "last_number": False}, "it is 8", "8").verdict == "unparsed"
    assert one({"name": "math", "last_number": False}, "#### 8", "8").value == 1


@pytest.mark.slow
def test_math_power_tower_costs_only_itself():
    tower = r"\boxed{9^{9^{9^9}}}"
    with build_scorer("math", timeout_seconds=1.0) as scorer:
        items = [(r"\boxed{\sqrt{4}}", Target("2"))] * 2 + [(tower, Target("x+1"))]
        items.append((r"\boxed{\sqrt{9}}", Target("3")))
        started = time.perf_counter()
        scores = scorer.score(items)
        assert time.perf_counter() - started < 20
        assert [score.value for score in scores] == [1, 1, 0, 1]
        assert scores[2].verdict in ("timeout", "error")  # out of time, or out of memory
        assert scorer.counts.scored == 4


def test_numeric_work_starts_no_process():
    with build_scorer("math") as scorer:
        scorer.score([(f"#### {n}", Target("7")) for n in range(48)])
        assert scorer._process.pid is None


# ---------------------------------------------------------------- the plain verifiers


@pytest.mark.parametrize(
    ("response", "answer", "options", "score"),
    [
        ("about 41, then 42.", "#### 42", {}, Score(1.0)),
        ("100.4", "100", {}, Score(0.0)),
        ("100.4", "100", {"rel_tol": 0.005}, Score(1.0)),
        ("100.4", "100", {"abs_tol": 1}, Score(1.0)),
        ("1,000", "1000", {}, Score(1.0)),
        ("none", "5", {}, Score(0.0, "unparsed")),
        ("5", "five", {}, Score(0.0, "error")),
    ],
)
def test_number(response, answer, options, score):
    assert one({"name": "number", **options}, response, answer) == score


@pytest.mark.parametrize(
    ("response", "answer", "options", "score"),
    [
        ("  PARIS! ", "Paris", {}, Score(1.0)),
        ("The answer is Paris.", "paris", {}, Score(1.0)),
        ("The answer is Paris.", "paris", {"whole": True}, Score(0.0)),
        ("paris", "Paris", {"ignore_case": False}, Score(0.0)),
        ("well-known", "well known", {}, Score(1.0)),
        ("-5", "5", {}, Score(0.0)),
        ("3.14", "314", {}, Score(0.0)),
        ("a  b", "a b", {"ignore_spaces": False, "ignore_punctuation": False}, Score(0.0)),
        ("Cafe\u0301", "Café", {}, Score(1.0)),
        ("...", "Paris", {}, Score(0.0, "unparsed")),
    ],
)
def test_exact(response, answer, options, score):
    assert one({"name": "exact", **options}, response, answer) == score


@pytest.mark.parametrize(
    ("response", "picked"),
    [
        (r"(A) is wrong, so \boxed{B}", "B"),
        (r"\boxed{\text{(B) Paris}}", "B"),
        ("The answer is (B).", "B"),
        ("The answer is b.", "B"),
        ("Answer: option B) Paris, not C", "B"),
        ("The answer is A because D is false", "A"),
        ("Not (A), not (C), but (B)", "B"),
        ("I think it is B", "B"),
        ("It is B, as I said. A train is no plane.", "B"),
        ("The answer is a bit unclear. I'd say B", "B"),
        ("A train left. I think so.", None),
        ("", None),
    ],
)
def test_choice(response, picked):
    expected = Score(0.0, "unparsed") if picked is None else Score(1.0)
    assert one("choice", response, picked or "B") == expected


def test_choice_of_words_and_references():
    words = {"name": "choice", "choices": ["yes", "no", "maybe"]}
    assert one(words, "The answer is Yes.", "yes").value == 1
    assert one(words, "yes? no: No.", "yes").value == 0
    assert one("choice", "(C)", "C. a dog").value == 1
    assert one({"name": "choice", "choices": "AB"}, "C", "A").verdict == "unparsed"


def test_regex():
    assert one({"name": "regex", "pattern": r"\bthanks\b", "ignore_case": True}, "THANKS!").value
    assert one({"name": "regex", "pattern": "a+", "full": True}, "aab").value == 0
    assert one({"name": "regex", "pattern": "sorry", "invert": True}, "fine").value == 1
    assert one("regex", "abc", "^a.c$").value == 1
    assert one("regex", "abc", "(").verdict == "error"


SCHEMA = {
    "type": "object",
    "required": ["name", "age"],
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
}


@pytest.mark.parametrize(
    ("response", "value", "verdict"),
    [
        ('{"name": "Ann", "age": 3}', 1.0, "ok"),
        ('```json\n{"name": "Ann", "age": 3}\n```', 1.0, "ok"),
        ('Here:\n```\n{"name": "Ann", "age": 3}\n```\nDone.', 1.0, "ok"),
        ('{"name": "Ann"}', 0.3 + 0.3 / 2 + 0.4 / 3, "ok"),
        ('{"name": "Ann", "age": -1}', 0.3 + 0.3 + 0.4 / 3, "ok"),
        ('{"name": "Ann", "age": true}', 0.3 + 0.3 + 0.4 / 3, "ok"),
        ("[1]", 0.3, "ok"),
        ('{"name": NaN, "age": 3}', 0.0, "unparsed"),
        ("{'name': 'Ann'}", 0.0, "unparsed"),
        ("[" * 100_000, 0.0, "unparsed"),
        ("1" * 10_000, 0.0, "unparsed"),
    ],
)
def test_json_earns_in_parts(response, value, verdict):
    """Weights 0.3 parses, 0.3 keys, 0.4 for three checks: two properties and the document."""
    score = one({"name": "json", "schema": SCHEMA}, response)
    assert score.value == pytest.approx(value)
    assert score.verdict == verdict
    assert set(score.parts) == {"parses", "keys", "valid"}


def test_json_options():
    assert one({"name": "json", "required": ["a"], "type": "object"}, '{"a": 1}').value == 1
    assert one({"name": "json", "type": "array"}, "{}").value == pytest.approx(0.3)
    equal = {"name": "json", "match_answer": True}
    assert one(equal, '{"b": [2], "a": 1.0}', '{"a": 1, "b": [2]}').value == 1
    assert one(equal, '{"a": true}', '{"a": 1}').value == 0.5


@pytest.mark.slow
def test_json_schema_keywords():
    schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": 2,
        "items": {"anyOf": [{"enum": ["a", 1]}, {"type": "string", "minLength": 3}]},
    }
    spec = {"name": "json", "schema": schema}
    for text, good in [
        ('["a", "abc"]', 1),
        ('["ab"]', 0),
        ("[]", 0),
        ("[1, 1, 1]", 0),
        ("[1.0]", 1),
    ]:
        assert one(spec, text).parts["valid"] == good, text
    closed = {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": False}
    assert one({"name": "json", "schema": closed}, '{"a": 1, "b": 2}').parts["valid"] == 0.5
    word = {"type": "string", "pattern": "^[a-z]+$"}
    tree = {
        "$defs": {"node": {"properties": {"word": word, "next": {"$ref": "#/$defs/node"}}}},
        "properties": {"root": {"$ref": "#/$defs/node"}},
    }
    for text, share in [
        ('{"root": {"word": "a", "next": {"word": "b"}}}', 1),
        ('{"root": {"word": "a", "next": {"word": "B"}}}', 0),
        ("{}", 0.5),
        ('{"root": ' + '{"next": ' * 900 + "{}" + "}" * 901, 0),
    ]:
        assert one({"name": "json", "schema": tree}, text).parts["valid"] == share, text
    draft_7 = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"a": {"items": [{"const": 1}], "additionalItems": False}},
        "allOf": [{"$ref": "#/definitions/a"}],
    }
    spec = {"name": "json", "schema": draft_7}
    assert [one(spec, text).parts["valid"] for text in ("[1]", "[1, 2]", "[2]")] == [1, 0, 0]
    above = {"type": "number", "exclusiveMinimum": 0, "maximum": 5}
    assert [one({"name": "json", "schema": above}, n).parts["valid"] for n in "059"] == [0, 1, 0]


@pytest.mark.parametrize(
    ("options", "response", "value"),
    [
        ({"max_chars": 10}, "x" * 10, 1.0),
        ({"max_chars": 10}, "x" * 15, 0.5),
        ({"max_chars": 10}, "x" * 20, 0.0),
        ({"max_chars": 10}, "x" * 99, 0.0),
        ({"min_chars": 10}, "x" * 4, 0.4),
        ({"min_chars": 0}, "", 1.0),
        ({}, "  ", 0.0),
        ({"max_words": 4}, "a b c d e", 0.75),
        ({"min_words": 2, "max_words": 4}, "a b", 1.0),
    ],
)
def test_length(options, response, value):
    assert one({"name": "length", **options}, response).value == pytest.approx(value)


def test_overlap_worked():
    """the cat sat / the dog sat: 2 of 3 words in order on both sides, so F1 = 4/6; bigrams: 0."""
    experts = ("nothing alike here", "The cat sat.")
    assert one("overlap", "the dog sat", experts=experts).value == pytest.approx(4 / 6)
    assert one("overlap", "THE CAT, SAT", experts=experts).value == 1
    # "sat the cat": the longest common subsequence is 2, the words in common are 3
    assert one("overlap", "sat the cat", experts=experts).value == pytest.approx(4 / 6)
    ngrams = {"name": "overlap", "measure": "ngrams"}
    assert one(ngrams, "sat the cat", experts=experts).value == 1
    assert one({**ngrams, "n": 2}, "the dog sat", experts=experts).value == 0
    assert one("overlap", "猫在这里", experts=("猫在那里",)).value == pytest.approx(6 / 8)
    assert one("overlap", "?!", experts=experts).verdict == "unparsed"


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
@settings(max_examples=200)
def test_subsequence_against_the_textbook(left, right):
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
            )
    assert common_subsequence(tuple(left), tuple(right)) == table[-1][-1]


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_no_text_breaks_an_inline_verifier(text):
    target = Target(answer="B 5", experts=("five",), prompt="?")
    for name, reward in REWARDS.items():
        verifier = reward.quick if reward.isolated else reward.score
        if verifier:
            score = verifier(text, target)
            assert score is None or 0 <= score.value <= 1, name


# ---------------------------------------------------------------- sums


def test_sum_of_named_parts():
    """0.9·1 + 0.1·0.5 = 0.95; weights 9 and 1 mean the same."""
    for weights in ((0.9, 0.1), (9, 1)):
        spec = {
            "parts": [
                {"name": "math", "weight": weights[0]},
                {"name": "length", "weight": weights[1], "max_chars": 4},
            ]
        }
        score = one(spec, "#### 8", "8")
        assert score.value == pytest.approx(0.95)
        assert score.parts == {"math": 1.0, "length": 0.5}
    assert one(spec, "nobody", "8").verdict == "unparsed"


def test_sum_keeps_inner_parts_and_labels():
    spec = {"parts": ["json", {"name": "regex", "pattern": "a", "label": "has a"}]}
    score = one(spec, '{"a": 1}')
    assert score.value == 1
    assert set(score.parts) == {"json", "has a", "json.parses", "json.keys", "json.valid"}


# ---------------------------------------------------------------- specs and messages


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("maths", "did you mean 'math'"),
        ({"name": "lenght"}, "did you mean 'length'"),
        ({"name": "zzz"}, "known are math, number"),
        ({"name": "length", "max_char": 3}, "did you mean 'max_chars'"),
        ({"name": "length", "max_chars": "3"}, "'max_chars' must be int or null"),
        ({"name": "length", "max_chars": True}, "must be int or null"),
        (
            {"name": "length", "min_chars": 9, "max_chars": 3},
            "min_chars (9) is above max_chars (3)",
        ),
        ({"name": "regex", "pattern": "a(b"}, "missing ), unterminated subpattern at position 1"),
        ({"name": "json", "schema": {"typ": "object"}}, "keyword 'typ' at $"),
        ({"name": "json", "schema": {"properties": {"a": {"patern": "x"}}}}, "at $.a"),
        ({"name": "json", "schema": {"items": {"anyOf": [{"minn": 1}]}}}, "at $.items.anyOf[0]"),
        ({"name": "json", "schema": {"type": "dict"}}, "not valid at $.type: 'dict'"),
        ({"name": "json", "schema": {"pattern": "a(b"}}, "not valid at $.pattern: 'a(b'"),
        ({"name": "json", "schema": {"$ref": "http://x.example/a.json"}}, "leaves the schema"),
        ({"name": "json", "schema": {"$ref": "other.json#/a"}}, "leaves the schema"),
        ({"name": "json", "schema": {"$ref": "#/$defs/a"}}, "points to nothing"),
        ({"name": "json", "schema": {"$ref": "#"}}, "refers to itself"),
        ({"name": "json", "type": "dict"}, "one of object, array"),
        ({"name": "overlap", "measure": "bleu"}, "one of rouge_l, ngrams"),
        ({"name": "choice", "choices": ["A"]}, "at least two"),
        ({"name": "choice", "choices": [True, False]}, "quote yes and no"),
        ({"name": "number", "rel_tol": -1}, "rel_tol must be 0 or more"),
        ({"name": "math", "weight": 2}, "belong in an entry of reward.parts"),
        ({"parts": []}, "at least one part"),
        ({"parts": ["math"], "name": "x"}, "has no option 'name'"),
        ({"parts": ["math", "math"]}, "give each a label"),
        ({"parts": [{"name": "math", "weight": 0}]}, "reward.parts[0]: 'weight' must be"),
        ({"parts": [{"weight": 1}]}, "reward.parts[0] has no 'name'"),
        ({"parts": [3]}, "reward.parts[0] must be a name or a mapping"),
        ("my.py", "write {file: my.py}"),
        (3, "must be a name or a mapping"),
    ],
)
def test_spec_messages(spec, says):
    with pytest.raises(RewardError) as raised:
        build_scorer(spec)
    assert says in str(raised.value)


def test_every_reward_explains_itself_and_works_by_name():
    assert list(REWARDS) == [
        "math", "number", "exact", "choice", "regex", "json", "length", "overlap",
    ]  # fmt: skip
    for name, reward in REWARDS.items():
        assert reward.about.endswith(".")
        assert all(option.about for option in reward.options.values())
        build_scorer(name).close()


def test_needs_and_check():
    assert build_scorer("math").needs == {"answer"}
    assert build_scorer("overlap").needs == {"expert"}
    assert build_scorer("length").needs == set()
    assert build_scorer({"name": "regex", "pattern": "a"}).needs == set()
    assert build_scorer({"name": "json", "match_answer": True}).needs == {"answer"}
    example = Example((Message("user", "1+1?"),), experts=("2",))
    assert target_of(example) == Target(None, ("2",), "1+1?")
    for spec, target, says in [
        ("math", target_of(example), "row 3: reward 'math' needs the field 'answer'"),
        ("math", Target("  "), "--map answer="),
        ("overlap", Target("2"), "needs the field 'expert'"),
        ("number", Target("two"), "'two' has no number"),
        ("choice", Target("Z"), "none of A, B"),
        ("regex", Target("("), "no regular expression"),
        ({"name": "json", "match_answer": True}, Target("{"), "is not JSON"),
    ]:
        with pytest.raises(RewardError) as raised:
            build_scorer(spec).check(target, "row 3")
        assert says in str(raised.value)
    build_scorer("math").check(Target("2"))


# ---------------------------------------------------------------- the scoring process

CUSTOM = """
import os, sys, time
print("printed while loading")

def reward(response, answer, **context):
    print("a line that is no JSON")
    os.write(1, b"neither is this\\n")
    sys.stdout.flush()
    if response == "sleep":
        time.sleep(60)
    if response == "die":
        os._exit(3)
    if response == "exit":
        sys.exit(1)
    if response == "raise":
        raise KeyError("lost")
    if response == "read":
        return float(sys.stdin.read() == "")
    if response == "context":
        return context["prompt"] == "p" and context["experts"] == ("e",) and context["bonus"] == 2
    return {"nan": float("nan"), "inf": float("inf"), "two": 2.0, "text": "1", "none": None}.get(
        response, 0.25
    )
"""


@pytest.fixture
def custom(tmp_path: Path) -> dict:
    (tmp_path / "my_reward.py").write_text(CUSTOM)
    return {"file": str(tmp_path / "my_reward.py"), "options": {"bonus": 2}}


def test_custom_reward_is_timed_contained_and_counted(custom):
    broken = ["die", "exit", "raise", "nan", "inf", "two", "text", "none"]
    texts = ["ok", "sleep", "ok2", *broken, "ok3", "read", "context", "ok"]
    target = Target("a", ("e",), "p")
    with build_scorer(custom, timeout_seconds=0.7, allow_custom=True) as scorer:
        scores = dict(zip(texts, scorer.score([(text, target) for text in texts]), strict=True))
        assert scorer.counts.scored == 15
        assert (scorer.counts.timeouts, scorer.counts.errors) == (1, 8)
        assert "exit code 3" in scorer.failures["my_reward"].message
    for text in ("ok", "ok2", "ok3"):
        assert scores[text] == Score(0.25)
    assert scores["sleep"] == Score(0.0, "timeout")
    assert scores["read"].value == scores["context"].value == 1
    for text in broken:
        assert scores[text] == Score(0.0, "error"), text


def test_custom_error_names_the_line(custom):
    with build_scorer(custom, allow_custom=True) as scorer:
        scorer.score([("raise", Target())])
        failure = scorer.failures["my_reward"]
        assert failure.message.startswith("KeyError: 'lost' (my_reward.py:")
        assert failure.traceback.startswith("Traceback (most recent call last)")
        assert 'raise KeyError("lost")' in failure.traceback


def test_custom_reward_only_where_allowed(custom, tmp_path):
    with pytest.raises(RewardError, match="command line"):
        build_scorer(custom)
    for text, says in [
        ("def reward(:", "line 1 is not valid Python"),
        ("x = 1", "no function 'reward'"),
        ("import not_there_at_all\ndef reward(r, a): return 1.0", "not_there_at_all"),
        ("import os; os._exit(4)\ndef reward(r, a): return 1.0", "could not be loaded"),
    ]:
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(RewardError, match=says):
            build_scorer({"file": str(tmp_path / "bad.py")}, allow_custom=True)
    with pytest.raises(RewardError, match="is not a file"):
        build_scorer({"file": str(tmp_path / "none.py")}, allow_custom=True)


def test_custom_reward_without_context(tmp_path):
    (tmp_path / "short.py").write_text(
        "def reward(response, answer):\n    return response == answer"
    )
    with build_scorer({"file": str(tmp_path / "short.py")}, allow_custom=True) as scorer:
        assert [s.value for s in scorer.score([("a", Target("a")), ("b", Target("a"))])] == [1, 0]


def test_endless_regex_is_killed_and_the_next_is_scored():
    spec = {"name": "regex", "pattern": r"(a|aa)+$"}
    with build_scorer(spec, timeout_seconds=0.5) as scorer:
        items = [("b" * 9, Target()), ("a" * 60 + "b", Target()), ("aaa", Target())]
        started = time.perf_counter()
        assert [(s.value, s.verdict) for s in scorer.score(items)] == [
            (0.0, "ok"), (0.0, "timeout"), (1.0, "ok"),
        ]  # fmt: skip
        assert time.perf_counter() - started < 10
        assert (scorer.counts.scored, scorer.counts.timeouts) == (3, 1)


def test_a_schema_whose_pattern_runs_without_end_costs_one_response():
    schema = {"type": "string", "pattern": "^(a|aa)+$"}
    with build_scorer({"name": "json", "schema": schema}, timeout_seconds=0.5) as scorer:
        scores = scorer.score([(f'"{text}"', Target()) for text in ("b", "a" * 60 + "b", "aa")])
        assert [(s.verdict, s.parts.get("valid")) for s in scores] == [
            ("ok", 0), ("timeout", None), ("ok", 1),
        ]  # fmt: skip


def test_json_without_a_schema_starts_no_process():
    with build_scorer({"name": "json", "required": ["a"]}) as scorer:
        assert scorer.score([('{"a": 1}', Target())])[0].value == 1
        assert scorer._process.pid is None


def test_order_large_items_and_repeats_survive_the_pipe():
    with build_scorer({"name": "regex", "pattern": "^x"}, timeout_seconds=10) as scorer:
        items = [("x" * (1 + 50_000 * (n % 3)) if n % 2 else "y" * n, Target()) for n in range(60)]
        items.append(("x\ud800\u2028\nlone", Target("\x00", ("é",))))
        expected = [1.0 if text.startswith("x") else 0.0 for text, _ in items]
        assert [score.value for score in scorer.score(items)] == expected
        assert scorer.score([]) == []


def test_an_interrupt_leaves_no_stale_results(monkeypatch):
    with build_scorer({"name": "regex", "pattern": "^x"}) as scorer:
        scorer.score([("x", Target())])
        monkeypatch.setattr("gft_lite.rewards.process.Score", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            scorer.score([("x", Target())] + [("y" * n, Target()) for n in range(9)])
        monkeypatch.undo()
        assert [s.value for s in scorer.score([("y", Target()), ("x", Target())])] == [0, 1]


def test_many_small_items_take_little_time():
    with build_scorer({"name": "regex", "pattern": "7"}, timeout_seconds=10) as scorer:
        scorer.score([("warm", Target())])
        many = [(f"#### {n}", Target()) for n in range(48)]
        assert min(timeit.repeat(lambda: scorer.score(many), number=1)) < 0.5
    with build_scorer("math") as numeric:
        many = [(f"5 + {n} = {5 + n}\n#### {5 + n}", Target("18")) for n in range(480)]
        assert min(timeit.repeat(lambda: numeric.score(many), number=1)) < 0.5


def test_close_ends_the_child():
    scorer = build_scorer({"name": "regex", "pattern": "a"})
    scorer.score([("a", Target())])
    pid = scorer._process.pid
    scorer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert scorer.score([("a", Target())])[0].value == 1  # and a new one starts when needed
    scorer.close()


def test_import_is_light_and_main_is_not_run_again(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(
        "print('main runs')\n"
        "import sys\n"
        "from gft_lite.rewards import Target, build_scorer\n"
        "assert not {'torch', 'sympy', 'math_verify'} & sys.modules.keys()\n"
        "with build_scorer('math') as scorer:\n"
        "    print(scorer.score([('\\\\boxed{\\\\sqrt{4}}', Target('x-x+2'))])[0].value)\n"
        "assert not {'torch', 'sympy', 'math_verify'} & sys.modules.keys()\n"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.stdout.split("\n")[:2] == ["main runs", "1.0"]
    assert done.stderr == ""
