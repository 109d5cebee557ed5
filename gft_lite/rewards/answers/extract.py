"""Finds the final answer of a response.

Order: the last complete \\boxed{…}, together with the boxes that it forms a list with; the line
after the last ####; what follows the last "answer is" (also "answer:"), to the end of the sentence;
else, as `fallback` allows, a response that is one short line as a whole, or the last formula or
number. The answer is never cut inside a sentence: `grammar` takes it apart. Every
search is linear in the text's length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gft_lite.rewards.answers.grammar import read_answer
from gft_lite.rewards.answers.plain_number import last_number
from gft_lite.rewards.answers.values import has_words
from gft_lite.rewards.answers.writing import formulas, to_ascii

How = Literal["boxed", "hashes", "answer is", "whole line", "last formula", "last number"]

MAX_WHOLE_CHARS = 200
MAX_SENTENCE_CHARS = 4000
MAX_GAP_CHARS = 60
MAX_GAP_WORDS = 4

_BRACES = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_ANSWER_IS = re.compile(r"answer[*_]*\s*(?:is\b|:|=)[*_:\s]*", re.IGNORECASE)
# A full stop ends a sentence, except after an abbreviation; 5! is a factorial before a full stop.
_SENTENCE_END = re.compile(
    r"(?<!\b[ap]\.m)(?<!\b[DMS][rst])(?<!\bMrs)(?<!\bRs)[.?](?=[\s*_\"']|$)"
    r"|(?<=\b[ap]\.m)\.(?=\s+[A-Z]|\s*$)|!(?=\s|$)|\n"
)
# "E. 59" is an option with its content, "E. Because" starts a sentence.
_OPTION = re.compile(r"[*_ ]*(?:either |option |choice )?[A-J]\.")
_HEADING = re.compile(r"[*_ ]*[^\W\d_]{3,}")
_GAP_MARKUP = re.compile(r"\\q?quad|\\text(?:bf)?|\\[,;: \\()\[\]]|[${}&*]")
_SEPARATOR = re.compile(r"[,;]|(?<![A-Za-z])(?:and|or)(?![A-Za-z])")
_STEP = re.compile(
    r"\b(?:so|then|thus|therefore|hence|gives?|is|are|means|now|next)\b|[.!?:](?=\s)"
)
_LABEL = re.compile(r"[A-Za-z]{1,12}(?:_\{?\w{1,12}\}?)?\s*=\s*[$\\(]*\s*$")
_UNIT_AFTER = re.compile(r"[$\\)]*\s*([A-Za-z]+)")


@dataclass(frozen=True)
class Extracted:
    """An answer as written, and which rule found it."""

    text: str
    how: How


@dataclass(frozen=True)
class Box:
    """The place of a \\boxed{…} and of its content."""

    start: int
    inside: int
    close: int

    def content(self, text: str) -> str:
        """What is in the box."""
        return text[self.inside : self.close].strip()


def extract_answer(text: str, *, fallback: bool = True) -> Extracted | None:
    """The final answer of `text`, or None if no rule finds one."""
    text = to_ascii(text)
    boxed = last_boxed(text) if "box" in text else None
    if boxed is not None:
        return Extracted(after_answer_is(boxed) or boxed, "boxed")
    hashes = after_hashes(text) if "####" in text else None
    if hashes is not None:
        return Extracted(hashes, "hashes")
    stated = after_answer_is(text)
    if stated is not None:
        return Extracted(stated, "answer is")
    return _unmarked(text) if fallback else None


@lru_cache(maxsize=1024)
def reference_answer(answer: str) -> str:
    """A reference: its marked answer if it has a marker, else the whole of it."""
    marked = extract_answer(answer, fallback=False)
    return marked.text if marked else answer.strip()


def last_boxed(text: str) -> str | None:
    """The content of the box that opens last, among those that are closed and not empty.

    Boxes before it in the same sentence, with a comma, "and" or "or" between, make a list with it:
    `x = \\boxed{2} and y = \\boxed{3}` is "x = 2 and y = 3".
    """
    boxes = _boxes(text)
    if not boxes:
        return None
    run = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if box.close >= run[-1].start or not _joins(text[box.close + 1 : run[-1].start]):
            break
        if box.content(text) != run[-1].content(text):
            run.append(box)
    if len(run) == 1:
        return run[0].content(text)
    return _joined(text, run[::-1])


def _boxes(text: str) -> list[Box]:
    """Every closed box with content, by where it opens."""
    open_braces: list[tuple[int, int]] = []  # (start of a box or -1, where its content starts)
    boxes: list[Box] = []
    for token in _BRACES.finditer(text):
        if token[0] == "}":
            if open_braces:
                start, inside = open_braces.pop()
                box = Box(start, inside, token.start())
                if start >= 0 and box.content(text):
                    boxes.append(box)
        elif token[0].endswith("{") and token[0] != "\\{":
            open_braces.append((-1 if token[0] == "{" else token.start(), token.end()))
    return sorted(boxes, key=lambda box: box.start)


def _joins(gap: str) -> bool:
    """Whether what stands between two boxes makes them a list."""
    if len(gap) > MAX_GAP_CHARS:
        return False
    plain = _GAP_MARKUP.sub(" ", gap)
    words = _SEPARATOR.sub(" ", plain).split()
    if not words:
        return "\n\n" not in gap
    separated = _SEPARATOR.search(plain) and "\n" not in gap
    return bool(separated) and len(words) <= MAX_GAP_WORDS and not _STEP.search(plain)


def _joined(text: str, run: list[Box]) -> str:
    """The stretch of text that the boxes stand in, without the boxes themselves."""
    pieces: list[str] = []
    in_words = False
    for box, following in zip(run, [*run[1:], None], strict=True):
        pieces.append(box.content(text))
        if following is not None:
            gap = " ".join(_GAP_MARKUP.sub(" ", text[box.close + 1 : following.start]).split())
            in_words = in_words or bool(_SEPARATOR.sub("", gap).strip())
            pieces.append(f"{'' if gap[0] in ',;' else ' '}{gap} " if gap else ", ")
    before = _LABEL.search(text[max(0, run[0].start - 40) : run[0].start])
    after = _UNIT_AFTER.match(text[run[-1].close + 1 :][:40])
    if before:
        pieces.insert(0, before[0].rstrip("$\\( ") + " ")
    elif in_words and after:
        pieces.append(" " + after[1])
    return "".join(pieces)


def after_hashes(text: str) -> str | None:
    """The line after the last ####, unless it is a heading (words, and more text below it)."""
    tail = text.rpartition("####")[2]
    line, _, below = tail.strip().partition("\n")
    if not line.strip() or (_HEADING.match(line) and below.strip()):
        return None
    return _sentence(line, exclaims=False)


def after_answer_is(text: str) -> str | None:
    """What follows the last "answer is", to the end of its sentence."""
    *_, marker = [None, *_ANSWER_IS.finditer(text)]
    if marker is None:
        return None
    return _sentence(text[marker.end() :], exclaims="is" in marker[0].lower())


def _sentence(text: str, *, exclaims: bool = True) -> str | None:
    """The first sentence of `text`. A stop inside a formula or an environment ends none.

    Without `exclaims` an exclamation mark ends none either: after `####` and "Answer:" stands no
    prose, so 5! is a factorial.
    """
    text = text[:MAX_SENTENCE_CHARS]
    inside = [(formula.start, formula.end) for formula in formulas(text)]
    if text.startswith("\\begin{"):
        environment = text[len("\\begin{") :].partition("}")[0]
        inside.append((0, text.find(f"\\end{{{environment}}}")))
    for end in _SENTENCE_END.finditer(text):
        if (end[0] == "!" and not exclaims) or _is_option(text, end):
            continue
        if not any(start <= end.start() < stop for start, stop in inside):
            text = text[: end.start()]
            break
    return _undecorated(text) or None


def _is_option(text: str, end: re.Match[str]) -> bool:
    after = text[end.end() :].lstrip(" ")[:1]
    is_letter = _OPTION.fullmatch(text, 0, end.end()) is not None
    return is_letter and after != "" and not after.isupper()


def _undecorated(text: str) -> str:
    text = text.strip().strip("*_\"'` ").rstrip(".,;:").strip()
    match formulas(text):
        case [formula] if (formula.start, formula.end) == (0, len(text)):
            return formula.content.strip()
    return text


def _unmarked(text: str) -> Extracted | None:
    """A whole line that is an answer, else the last formula or number of the text."""
    line = text.strip()
    if 0 < len(line) <= MAX_WHOLE_CHARS and "\n" not in line and not has_words(read_answer(line)):
        whole = _undecorated(line)
        if any(char.isalnum() for char in whole):
            return Extracted(whole, "whole line")
    *_, last = [None, *formulas(text)]
    number = last_number(text[last.end :] if last else text)
    if number is not None:
        return Extracted(number, "last number")
    return Extracted(last.content.strip(), "last formula") if last else None
