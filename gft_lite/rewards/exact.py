"""`exact`: the answer, word for word, after normalising what the options name."""

from __future__ import annotations

import re
import unicodedata

from gft_lite.rewards.answers.extract import extract_answer, reference_answer
from gft_lite.rewards.base import ERROR, UNPARSED, Option, Target, right_if
from gft_lite.types import Score

# A sign or point before a digit belongs to the number: -5 and 5 stay different, so do 3.14 and 314.
_PUNCTUATION = re.compile(r"(?![-+.,:/][0-9])[^\w\s]")

OPTIONS = {
    "ignore_case": Option(True, (bool,), "upper and lower case count as equal"),
    "ignore_spaces": Option(True, (bool,), "any run of white space counts as one space"),
    "ignore_punctuation": Option(True, (bool,), "punctuation outside numbers does not count"),
    "whole": Option(
        False, (bool,), "compare the whole response, not the part that is marked as the answer"
    ),
}


def normalise(text: str, ignore_case: bool, ignore_spaces: bool, ignore_punctuation: bool) -> str:
    """Text in the form in which two answers are compared (Unicode NFKC first)."""
    text = unicodedata.normalize("NFKC", text)
    if ignore_case:
        text = text.casefold()
    if ignore_punctuation:
        text = _PUNCTUATION.sub(" ", text.replace("'", "").replace("’", ""))
    return " ".join(text.split()) if ignore_spaces or ignore_punctuation else text


def score(
    response: str,
    target: Target,
    *,
    ignore_case: bool = True,
    ignore_spaces: bool = True,
    ignore_punctuation: bool = True,
    whole: bool = False,
) -> Score:
    """1 if the marked answer (else the whole response) equals the reference, normalised."""
    if target.answer is None:
        return ERROR
    answer, reference = response, target.answer
    if not whole:
        marked = extract_answer(response, fallback=False)
        answer = marked.text if marked else response
        reference = reference_answer(target.answer)
    rules = (ignore_case, ignore_spaces, ignore_punctuation)
    plain = normalise(answer, *rules)
    return right_if(plain == normalise(reference, *rules)) if plain else UNPARSED
