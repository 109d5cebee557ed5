"""Doubts about usable rows: the kinds of warning, and a collector of the first of each kind.

A warning never makes a row unusable: a person has to decide. All warnings are counted, and of each
kind the first `MAX_LISTED` are listed with their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gft_lite.types import Example, Score

MAX_LISTED = 200
SCORED_ROWS = 256  # rows of one call of a RowScorer
EXPERT_END_CHARACTERS = 24

# kind → (what it is, what to do)
KINDS: dict[str, tuple[str, str]] = {
    "leak": (
        "the prompt is in the held-out file",
        "leave these rows out (`gft-lite data fix --against`): results on it would be worthless",
    ),
    "near leak": (
        "the prompt is nearly one of the held-out file",
        "look at them; leave out those that ask the same",
    ),
    "conflict": (
        "an earlier row has the same prompt and another answer",
        "find out which is right: the reward cannot",
    ),
    "duplicate": (
        "an earlier row has the same prompt, responses and answer",
        "`gft-lite data fix` keeps the first",
    ),
    "spelled alike": (
        "an earlier row's prompt differs in case or spaces only",
        "leave one of them out, or spell them alike so that they form one group",
    ),
    "near": (
        "the prompt is nearly that of an earlier row",
        "harmless if only the numbers differ; else leave one out",
    ),
    "unusable answer": (
        "the reward cannot use the row's answer",
        "correct the answer, or leave the row out: training refuses it",
    ),
    "rejected expert": (
        "the reward gives the row's own expert nothing",
        "check answer and expert: GFT will train against this expert, SFT will imitate it",
    ),
    "unread expert": (
        "the reward finds no answer in the expert",
        "end the expert with its answer as the reward expects it, e.g. \\boxed{…} or '#### …'",
    ),
    "no contrast": (
        "all demonstrations of the row earn the same",
        "such a group learns only if self responses differ; add teachers of other quality",
    ),
    "identical": (
        "two responses of the row are the same text",
        "leave one out: it counts twice in the group",
    ),
    "echo": ("a response repeats the prompt", "replace it: it teaches to repeat"),
    "tool turns": (
        "the conversation holds tool turns",
        "they stay in the prompt as text; check that the model's chat template has a tool role",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One warning about one row."""

    kind: str
    row: int
    detail: str = ""


@dataclass(frozen=True)
class RowScores:
    """The reward of one row: a complaint about its answer, or the score of each response."""

    complaint: str | None
    experts: tuple[Score, ...] = ()
    teachers: tuple[Score, ...] = ()


RowScorer = Callable[[Sequence[Example]], Sequence[RowScores]]
"""Examples → their scores, in order. `preflight.reward_check` makes one from a reward."""


class Findings:
    """Counts warnings and lists the first of each kind."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._listed: dict[str, list[Finding]] = {}

    def add(self, kind: str, row: int, detail: str = "") -> None:
        """Count a warning, and list it if its kind has fewer than `MAX_LISTED`."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        listed = self._listed.setdefault(kind, [])
        if len(listed) < MAX_LISTED:
            listed.append(Finding(kind, row, detail))

    def listed(self) -> tuple[Finding, ...]:
        """The listed warnings, in the order of KINDS and of their rows."""
        return tuple(
            finding
            for kind in KINDS
            for finding in sorted(self._listed.get(kind, []), key=lambda each: each.row)
        )


def check_example(example: Example, findings: Findings) -> None:
    """Add the warnings that follow from the row alone."""
    responses = (*example.experts, *example.teachers)
    if len(responses) > 1 and len(set(responses)) < len(responses):
        findings.add("identical", example.row)
    if example.question in responses:
        findings.add("echo", example.row)
    if any(message.role == "tool" for message in example.prompt):
        findings.add("tool turns", example.row)


def check_scores(examples: Sequence[Example], row_scorer: RowScorer, findings: Findings) -> None:
    """Add the warnings that follow from the reward."""
    for example, scores in zip(examples, row_scorer(examples), strict=True):
        if scores.complaint is not None:
            findings.add("unusable answer", example.row, scores.complaint)
            continue
        for number, score in enumerate(scores.experts, start=1):
            name = f"expert {number}" if len(scores.experts) > 1 else ""
            if score.verdict == "unparsed":
                findings.add("unread expert", example.row, name)
            elif score.value <= 0:
                end = " ".join(example.experts[number - 1][-EXPERT_END_CHARACTERS:].split())
                answer = f", the answer is {example.answer}" if example.answer else ""
                detail = f"{name} ends “{end}”{answer}".lstrip()
                findings.add("rejected expert", example.row, detail)
        values = [score.value for score in (*scores.experts, *scores.teachers)]
        if len(values) > 1 and min(values) == max(values):
            findings.add("no contrast", example.row, f"all {len(values)} earn {values[0]:g}")
