"""Properties of the `math` reward on a seeded corpus: see `answer_corpus`.

A reference given verbatim earns 1 in every wrapper; another reference, the reference with a digit
changed or lost, and two candidates at once earn 0; no text makes the reward crash or hang.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction

import pytest
from answer_corpus import (
    HEDGES,
    MAKERS,
    WRAPPERS,
    corpus,
    damaged,
    distinct,
    may_be_equal,
    near_misses,
    soup,
    wrapped,
)

from gft_lite.rewards import REWARDS, Scorer, Target, build_scorer

MARKED = [wrapper for wrapper in WRAPPERS if wrapper != "X"]


@pytest.fixture(scope="module")
def math() -> Iterator[Scorer]:
    with build_scorer("math", timeout_seconds=10) as scorer:
        yield scorer


def failures(scorer: Scorer, items: list[tuple[str, str]], value: float) -> list[tuple[str, str]]:
    """The (response, reference) pairs that did not earn `value` with a verdict of the checker."""
    scores = scorer.score([(response, Target(reference)) for response, reference in items])
    return [
        item
        for item, score in zip(items, scores, strict=True)
        if score.value != value or score.verdict in ("timeout", "error")
    ]


def test_the_corpus_has_every_kind_and_no_key_for_two_texts_by_chance():
    references = corpus(seed=0, size=10 * len(MAKERS))
    assert {reference.kind for reference in references} == {maker.__name__ for maker in MAKERS}
    assert len({reference.text for reference in references}) > 300


@pytest.mark.parametrize("seed", range(3))
def test_a_reference_given_verbatim_earns_1_in_every_wrapper(math, seed):
    references = corpus(seed, size=10 * len(MAKERS))
    items = [(wrapped(ref.text, wrapper), ref.text) for ref in references for wrapper in WRAPPERS]
    assert failures(math, items, 1) == []


def unequal_pairs(seed: int, size: int, others: int) -> list[tuple[str, str]]:
    """Each reference with some others, each in a random wrapper."""
    rng = random.Random(seed)
    references = corpus(seed, size)
    pairs = [(one, rng.choice(references)) for one in references for _ in range(others)]
    return [
        (wrapped(other.text, rng.choice(MARKED)), one.text)
        for one, other in pairs
        if not may_be_equal(one, other)
    ]


def changed_digits(seed: int, size: int) -> list[tuple[str, str]]:
    """Each reference with each of its numbers changed in one digit."""
    rng = random.Random(seed)
    return [
        (wrapped(text, rng.choice(MARKED)), reference.text)
        for reference in corpus(seed, size)
        for text in near_misses(rng, reference)
    ]


def hedged(seed: int, size: int) -> list[tuple[str, str]]:
    """Two candidates at once, of which one is the reference."""
    rng = random.Random(seed)
    references = corpus(seed, size)
    pairs = [(hedge, one, rng.choice(references)) for one in references for hedge in HEDGES]
    return [
        (hedge.replace("X", one.text).replace("Y", other.text), one.text)
        for hedge, one, other in pairs
        if not may_be_equal(one, other)
    ]


@pytest.mark.slow
def test_two_candidates_earn_0(math):
    assert failures(math, hedged(seed=12, size=len(MAKERS)), 0) == []


def test_another_reference_earns_0(math):
    assert failures(math, unequal_pairs(seed=3, size=2 * len(MAKERS), others=1), 0) == []


def test_a_reference_with_a_changed_digit_earns_0(math):
    assert failures(math, changed_digits(seed=4, size=len(MAKERS)), 0) == []


@pytest.mark.slow
def test_other_and_changed_references_earn_0_at_length(math):
    items = unequal_pairs(seed=5, size=20 * len(MAKERS), others=2)
    items += changed_digits(seed=6, size=20 * len(MAKERS))
    items += hedged(seed=13, size=5 * len(MAKERS))
    assert len(items) > 6000
    assert failures(math, items, 0) == []


@pytest.mark.parametrize("seed", range(20))
def test_order_counts_only_where_it_means_something(math, seed):
    """Lists and sets in any order, assignments by name; tuples and unnamed values in order."""
    rng = random.Random(seed)
    numbers = distinct(rng, 3)
    turned = [numbers[1], numbers[2], numbers[0]]

    def written(form: str, values: list[int]) -> str:
        return form.format(*values)

    anyhow = ("{}, {}, and {}", r"\{{{}, {}, {}\}}", "{}; {}; {}", "x = {}, x = {} or x = {}")
    strict = ("({}, {}, {})", "x = {}, y = {}, z = {}", "{} red, {} blue, {} green")
    right = [(written(form, turned), written(form, numbers)) for form in anyhow]
    by_name = written("y = {}, z = {}, x = {}", turned)
    right.append((by_name, written("x = {}, y = {}, z = {}", numbers)))
    wrong = [(written(form, turned), written(form, numbers)) for form in strict]
    wrong += [(written("{}, {}, {}", turned), written(form, numbers)) for form in strict]
    right += [(written("{}, {}, {}", numbers), written(form, numbers)) for form in strict]
    for value, pairs in ((1, right), (0, wrong)):
        boxed = [(rf"\boxed{{{got}}}", reference) for got, reference in pairs]
        assert failures(math, boxed, value) == []


@pytest.mark.parametrize("seed", range(20))
def test_one_quantity_in_two_units_is_equal(math, seed):
    rng = random.Random(seed)
    large, small = rng.randint(2, 40), rng.randint(1, 11)
    low, high = sorted(distinct(rng, 2))
    equal = [
        (f"{large * 12 + small} inches", f"{large} feet {small} inches"),
        (f"{large} hours and {small} minutes", f"{large * 60 + small} min"),
        (f"${large}.{small:02d}", f"{large} dollars and {small} cents"),
        (f"{large}%", f"{Fraction(large, 100)}"),
        (rf"{low} < x \le {high}", f"({low}, {high}]"),
        (f"x > {low}", rf"({low}, \infty)"),
        (rf"{large} \pm {small}", f"{large - small} and {large + small}"),
    ]
    items = [(wrapped(got, wrapper), wanted) for got, wanted in equal for wrapper in MARKED[:6]]
    assert failures(math, items, 1) == []
    unequal = [(got, wanted) for got, _ in equal for other, wanted in equal if got != other]
    assert failures(math, [(rf"\boxed{{{got}}}", wanted) for got, wanted in unequal], 0) == []


def fuzzed(seed: int, size: int) -> list[tuple[str, str]]:
    """Damaged answers and pieces of LaTeX, as responses and as references."""
    rng = random.Random(seed)
    references = corpus(seed, size)
    pairs = []
    for reference in references:
        text = reference.text
        other = rng.choice(references).text
        response = rng.choice((
            soup(rng), damaged(rng, text), damaged(rng, other), soup(rng) + text + soup(rng),
        ))  # fmt: skip
        wanted = rng.choice((text, text, damaged(rng, text), soup(rng))).strip() or "5"
        pairs.append((wrapped(response, rng.choice(WRAPPERS)), wanted))
    return pairs


def assert_judged(pairs: list[tuple[str, str]]) -> None:
    """No crash and no hang: every pair gets a verdict.

    Damage can make a computation without end (9!!!!) or without bounds (6422605!): its process is
    killed, or sympy runs out of memory, which one pair in 500 may do.
    """
    items = [(response, Target(wanted)) for response, wanted in pairs]
    for item in items:
        REWARDS["math"].quick(*item)  # raises what the scorer would count as an error
    with build_scorer("math", timeout_seconds=10) as scorer:
        assert len(scorer.score(items)) == len(pairs)
        assert scorer.counts.timeouts + scorer.counts.errors <= len(pairs) // 500


@pytest.mark.slow
def test_fuzzing_a_sample_never_crashes_or_hangs():
    assert_judged(fuzzed(seed=7, size=200))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 11))
def test_fuzzing_never_crashes_or_hangs(seed):
    assert_judged(fuzzed(seed, size=2000))
