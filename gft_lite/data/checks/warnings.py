"""What is doubtful about usable rows: kinds of finding, and a collector that keeps the first ones.

Findings never make a row unusable: they are for a person to judge. All are counted; of each kind
the first `KEPT` are kept with their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gft_lite.types import Example, Score

KEPT = 200
SHOWN_END = 24  # characters of a rejected expert

# kind -> (what it is, what to do)
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
        "harmless where only the numbers differ; else leave one out",
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
    """One doubt about one row."""

    kind: str
    row: int
    detail: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a reward says of a row: a complaint about its answer, or a score for each response."""

    complaint: str | None
    experts: tuple[Score, ...] = ()
    teachers: tuple[Score, ...] = ()


RowScorer = Callable[[Sequence[Example]], Sequence[Judgement]]
"""Examples → one judgement each. Made from a reward by `preflight.reward_check`."""


class Findings:
    """Counts findings and keeps the first of each kind."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._kept: dict[str, list[Finding]] = {}

    def add(self, kind: str, row: int, detail: str = "") -> None:
        """Count one, and keep it while there is room."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        kept = self._kept.setdefault(kind, [])
        if len(kept) < KEPT:
            kept.append(Finding(kind, row, detail))

    def found(self) -> tuple[Finding, ...]:
        """The kept findings, in the order of KINDS and of their rows."""
        return tuple(
            finding
            for kind in KINDS
            for finding in sorted(self._kept.get(kind, []), key=lambda found: found.row)
        )


def look_at(example: Example, findings: Findings) -> None:
    """Doubts that the row alone raises."""
    responses = (*example.experts, *example.teachers)
    if len(responses) > 1 and len(set(responses)) < len(responses):
        findings.add("identical", example.row)
    if example.question in responses:
        findings.add("echo", example.row)
    if any(message.role == "tool" for message in example.prompt):
        findings.add("tool turns", example.row)


def judge_all(examples: Sequence[Example], judge: RowScorer, findings: Findings) -> None:
    """Doubts that the reward raises."""
    for example, said in zip(examples, judge(examples), strict=True):
        if said.complaint is not None:
            findings.add("unusable answer", example.row, said.complaint)
            continue
        for number, score in enumerate(said.experts, start=1):
            which = f"expert {number}" if len(said.experts) > 1 else ""
            if score.verdict == "unparsed":
                findings.add("unread expert", example.row, which)
            elif score.value <= 0:
                end = " ".join(example.experts[number - 1][-SHOWN_END:].split())
                answer = f", the answer is {example.answer}" if example.answer else ""
                findings.add(
                    "rejected expert", example.row, f"{which} ends “{end}”{answer}".lstrip()
                )
        values = [score.value for score in (*said.experts, *said.teachers)]
        if len(values) > 1 and min(values) == max(values):
            findings.add("no contrast", example.row, f"all {len(values)} earn {values[0]:g}")
