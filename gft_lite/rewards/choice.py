"""`choice`: which of the offered letters (or words) the response picks.

Order: the last \\boxed{…}; after "answer is"; the last one in brackets; the last one that stands
alone. In running text a letter must be a capital, and "A" or "I" as a word of the sentence
("A train", "I think") does not count.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gft_lite.rewards.answers.extract import extract_answer
from gft_lite.rewards.answers.writing import canonical
from gft_lite.rewards.base import ERROR, UNPARSED, Option, Options, Target, right_if
from gft_lite.types import Score

MAX_MARKED_CHARS = 200
LETTERS = tuple("ABCDEFGHIJ")
OPTIONS = {
    "choices": Option(
        list(LETTERS), (list, str), "what may be picked: a list, or letters in one string"
    ),
}

# "A because …" is a pick, "A train …" is not.
_PICK_GOES_ON = "because|since|as|is|was|and|or|but|which|with|would|seems|looks|for"


@lru_cache(maxsize=64)
def _patterns(choices: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Patterns for a pick at the start of an answer, in brackets, and standing alone."""
    longest_first = sorted(choices, key=len, reverse=True)
    any_case = f"(?i:{'|'.join(map(re.escape, longest_first))})"
    words = "|".join(  # a letter in running text must be a capital
        re.escape(name) if len(name) == 1 else f"(?i:{re.escape(name)})" for name in longest_first
    )
    not_a_word = rf"(?!(?<=\b[AI])(?:['’]|\s(?!(?:{_PICK_GOES_ON})\b)[a-z]))"
    no_prose = r"(?!(?<=\b[a-z])['’\s]\s?[a-z])"
    option_word = r"(?:(?i:option|choice|letter|the|is)\s+)*"
    return (
        re.compile(rf"[\s*_$\\]*{option_word}[\s*_(\[{{]*({any_case})(?!\w){no_prose}"),
        re.compile(rf"[(\[{{]\s*[*_]*({any_case})[*_]*\s*[)\]}}]"),
        re.compile(rf"(?<![\w\\])({words})(?!\w){not_a_word}"),
    )


def picked_choice(text: str, choices: tuple[str, ...]) -> str | None:
    """The choice that `text` makes, in the spelling of `choices`; None if it makes none."""
    start, bracketed, alone = _patterns(choices)
    marked = extract_answer(text, fallback=False)
    pick = start.match(canonical(marked.text[:MAX_MARKED_CHARS])) if marked else None
    if pick is None:
        picks = list(bracketed.finditer(text)) or list(alone.finditer(text))
        pick = picks[-1] if picks else None
    return None if pick is None else _spelled(pick, choices)


def _spelled(pick: re.Match[str], choices: tuple[str, ...]) -> str:
    return {name.lower(): name for name in choices}[pick[1].lower()]


def _reference(answer: str, choices: tuple[str, ...]) -> str | None:
    """The reference's pick: the bare choice, or a marked, bracketed or leading one ("B. Paris")."""
    pick = _patterns(choices)[0].match(answer.strip())
    if pick and extract_answer(answer, fallback=False) is None:
        return _spelled(pick, choices)
    return picked_choice(answer, choices)


def complain(target: Target, options: Options) -> str | None:
    """A reference that is none of the choices can never be picked."""
    choices = tuple(options["choices"])
    if _reference(target.answer or "", choices) is None:
        return f"its answer {(target.answer or '')[:60]!r} is none of {', '.join(choices)}"
    return None


def validate(options: Options) -> str | None:
    """At least two different, non-empty choices."""
    choices = list(options["choices"])
    if not all(isinstance(name, str) and name.strip() for name in choices):
        return "choices must be a list of texts, such as [A, B, C]; quote yes and no in YAML"
    if len({name.lower() for name in choices}) != len(choices) or len(choices) < 2:
        return "choices must hold at least two different entries"
    return None


def score(response: str, target: Target, *, choices: list[str] | str = list(LETTERS)) -> Score:  # noqa: B006
    """1 if the response picks the reference's choice; "unparsed" if it picks nothing."""
    reference = _reference(target.answer or "", tuple(choices))
    if reference is None:
        return ERROR
    choice = picked_choice(response, tuple(choices))
    return UNPARSED if choice is None else right_if(choice == reference)
