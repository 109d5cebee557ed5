"""What a sentence may mean as an answer: "18 dollars, because 3 are gone", "the sum is 7".

`readings` yields the whole text first. If words are left that the grammar cannot take apart, its
shorter readings follow: the items before the first clause, what follows "is", the only formula, the
only number or the one that it starts with. A denial ("not 5", "at least 5") has no number.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from gft_lite.rewards.answers.grammar import read_answer
from gft_lite.rewards.answers.plain_number import CURRENCY, NUMBER
from gft_lite.rewards.answers.quantity import MATHEMATICAL
from gft_lite.rewards.answers.values import Group, Value, Words, has_words
from gft_lite.rewards.answers.writing import formulas

MIN_REFERENCE_WORDS = 4

_CLAUSE = re.compile(
    r",?\s+(?:because|since|as|so|which|where|when|while|if|but|that|after|for|in|on|at|with|of)\b"
    r"|,(?=\s+(?:I|we|he|she|it|they|this|so)\b)|\s[({](?=[a-z]{2,} )"
)
# "5, Monday" is a list; "5, I think" and "5 and 6, respectively" are answers with an afterthought.
_AFTERTHOUGHT = re.compile(
    r"not [-0-9$]|"
    r"(?:because|since|as|so|which|where|when|while|if|but|that|after|for|in|on|at|with|of|"
    r"I|we|he|she|it|they|this|these|leaving|making|giving|respectively|obviously|clearly|exactly)\b"
)
_DENIAL = re.compile(r"\b(?:not|never|none|neither|cannot|less|more|least|most)\b|n't\b", re.I)
_NUMBERS = re.compile(rf"(?<![A-Za-z0-9_.])[-+]?[{CURRENCY}]?{NUMBER}(?:/{NUMBER})?%?")
_LEADING = re.compile(rf"{_NUMBERS.pattern}\s(?!(?:{'|'.join(MATHEMATICAL)})\b)[^\W\d_]{{2,}}")


def readings(text: str) -> Iterator[Value]:
    """What a response's answer may mean, the likeliest first."""
    whole = read_answer(text)
    yield whole
    if not has_words(whole):
        return
    listed = isinstance(whole, Group) and any(not has_words(item) for item in whole.items)
    if isinstance(whole, Group) and not has_words(whole.items[0]):
        run = tuple(itertools.takewhile(lambda item: not has_words(item), whole.items))
        _, last, after = whole.text.rpartition(run[-1].text)
        if last and _AFTERTHOUGHT.match(after.lstrip(" ,;")):
            yield run[0] if len(run) == 1 else Group(whole.text + " …", run)
    clause = _CLAUSE.search(whole.text)
    if clause is not None and clause.start() > 0:
        yield read_answer(whole.text[: clause.start()])
    before, _, predicate = text.rpartition(" is ")
    if before:
        yield read_answer(predicate)
    if listed or _DENIAL.search(whole.text):
        return
    in_text = formulas(text)
    if len(in_text) == 1:
        yield read_answer(in_text[0].content)
        return
    numbers = _NUMBERS.findall(whole.text)
    if len(numbers) == 1 or (numbers and _LEADING.match(whole.text)):
        yield read_answer(numbers[0])


def number_of(reference: Value) -> Value | None:
    """The number of a reference that is a sentence with just one: "She has 5 apples left"."""
    if not isinstance(reference, Words) or len(reference.text.split()) < MIN_REFERENCE_WORDS:
        return None
    numbers = _NUMBERS.findall(reference.text)
    if len(numbers) != 1 or _DENIAL.search(reference.text):
        return None
    return read_answer(numbers[0])
