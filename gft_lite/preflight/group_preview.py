"""What the groups of a file are worth before any model is loaded: experts and teachers scored by
the reward that training will use."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from gft_lite.groups import score_groups
from gft_lite.rewards import Scorer, target_of
from gft_lite.types import Example, Group, Response, RewardError, Score, Source

SHOWN = 20
TAIL_CHARACTERS = 240


@dataclass(frozen=True)
class Tally:
    """Responses of one source: how many were scored, earned the full mark, could not be read, and
    their mean reward (None without any)."""

    scored: int
    full: int
    unread: int
    mean: float | None


@dataclass(frozen=True)
class Failed:
    """An expert that its own verifier gives nothing; `end` is how its text ends."""

    row: int
    question: str
    answer: str | None
    end: str
    verdict: str


@dataclass(frozen=True)
class DryRun:
    """Groups made of demonstrations alone.

    failing: experts that earn nothing; `failed` has the first of them.
    contrast: groups whose demonstrations already earn different rewards.
    equal: groups of several demonstrations that all earn the same; alone: groups of one or none.
        Both are degenerate unless self responses differ.
    unusable: rows whose answer the reward cannot use, `complaints` the first of them.
    """

    groups: int
    expert: Tally
    teacher: Tally
    failing: int = 0
    failed: tuple[Failed, ...] = ()
    contrast: int = 0
    equal: int = 0
    alone: int = 0
    unusable: int = 0
    complaints: tuple[str, ...] = field(default=())


def dry_run(examples: Sequence[Example], scorer: Scorer) -> DryRun:
    """Score every demonstration of these examples, group by group."""
    complaints, usable = [], []
    for example in examples:
        try:
            scorer.check(target_of(example), where=f"row {example.row}")
        except RewardError as error:
            complaints.append(str(error))
        else:
            usable.append(Group(example, _demonstrations(example)))
    groups = score_groups(usable, scorer)
    scorer.require_some([score for group in groups for score in group.scores])
    several = [g for g in groups if len(g.responses) > 1]
    contrast = sum(any(g.advantages) for g in several)
    failed = [
        Failed(
            g.example.row,
            g.example.question,
            g.example.answer,
            r.text[-TAIL_CHARACTERS:],
            s.verdict,
        )
        for g in groups
        for r, s in zip(g.responses, g.scores, strict=True)
        if r.source == "expert" and s.value <= 0
    ]
    return DryRun(
        groups=len(groups),
        expert=_tally(groups, "expert"),
        teacher=_tally(groups, "teacher"),
        failing=len(failed),
        failed=tuple(failed[:SHOWN]),
        contrast=contrast,
        equal=len(several) - contrast,
        alone=len(groups) - len(several),
        unusable=len(complaints),
        complaints=tuple(complaints[:SHOWN]),
    )


def _demonstrations(example: Example) -> tuple[Response, ...]:
    experts = (Response(text, "expert") for text in example.experts)
    teachers = (Response(text, "teacher") for text in example.teachers)
    return (*experts, *teachers)


def _tally(groups: Sequence[Group], source: Source) -> Tally:
    scores: list[Score] = [
        s for g in groups for r, s in zip(g.responses, g.scores, strict=True) if r.source == source
    ]
    return Tally(
        scored=len(scores),
        full=sum(s.value >= 1.0 for s in scores),
        unread=sum(s.verdict == "unparsed" for s in scores),
        mean=statistics.fmean(s.value for s in scores) if scores else None,
    )
