"""Rewards and advantages of the demonstrations of a file, without a model.

Experts and teachers are scored with the reward of training and grouped as in training, but without
self responses.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from gft_lite.groups import score_groups
from gft_lite.preflight.reward_check import complaint
from gft_lite.rewards import Scorer
from gft_lite.types import Example, Group, Response, Source

SHOWN = 20
TAIL_CHARACTERS = 240


@dataclass(frozen=True)
class Tally:
    """Responses of one source: scored, with full reward, unparsed, and their mean reward.

    `mean` is None without responses.
    """

    scored: int
    full: int
    unread: int
    mean: float | None


@dataclass(frozen=True)
class FailedExpert:
    """An expert that earns nothing; `end` is the end of its text."""

    row: int
    question: str
    answer: str | None
    end: str
    verdict: str


@dataclass(frozen=True)
class GroupPreview:
    """Groups of demonstrations alone.

    Attributes:
        groups: rows that were scored.
        expert, teacher: the responses of each source.
        failing: experts that earn nothing.
        failed: the first of them.
        contrast: groups whose demonstrations earn different rewards.
        equal: groups of several demonstrations that all earn the same.
        alone: groups with one demonstration or none. Groups counted in `equal` and `alone` are
            degenerate unless the self responses differ.
        unusable: rows whose answer the reward cannot use.
        complaints: the first messages about them.
    """

    groups: int
    expert: Tally
    teacher: Tally
    failing: int = 0
    failed: tuple[FailedExpert, ...] = ()
    contrast: int = 0
    equal: int = 0
    alone: int = 0
    unusable: int = 0
    complaints: tuple[str, ...] = field(default=())


def preview_groups(examples: Sequence[Example], scorer: Scorer) -> GroupPreview:
    """Score every demonstration of these examples, group by group.

    Raises:
        RewardError: the reward failed on every demonstration.
    """
    messages: list[str] = []
    usable: list[Group] = []
    for example in examples:
        message = complaint(scorer, example, f"row {example.row}")
        if message is None:
            usable.append(Group(example, _demonstrations(example)))
        else:
            messages.append(message)
    groups = score_groups(usable, scorer)
    scorer.require_some([score for group in groups for score in group.scores])
    several = [group for group in groups if len(group.responses) > 1]
    contrast = sum(any(group.advantages) for group in several)
    failed = [
        FailedExpert(
            row=group.example.row,
            question=group.example.question,
            answer=group.example.answer,
            end=response.text[-TAIL_CHARACTERS:],
            verdict=score.verdict,
        )
        for group in groups
        for response, score in zip(group.responses, group.scores, strict=True)
        if response.source == "expert" and score.value <= 0
    ]
    return GroupPreview(
        groups=len(groups),
        expert=_tally(groups, "expert"),
        teacher=_tally(groups, "teacher"),
        failing=len(failed),
        failed=tuple(failed[:SHOWN]),
        contrast=contrast,
        equal=len(several) - contrast,
        alone=len(groups) - len(several),
        unusable=len(messages),
        complaints=tuple(messages[:SHOWN]),
    )


def _demonstrations(example: Example) -> tuple[Response, ...]:
    experts = (Response(text, "expert") for text in example.experts)
    teachers = (Response(text, "teacher") for text in example.teachers)
    return (*experts, *teachers)


def _tally(groups: Sequence[Group], source: Source) -> Tally:
    scores = [
        score
        for group in groups
        for response, score in zip(group.responses, group.scores, strict=True)
        if response.source == source
    ]
    return Tally(
        scored=len(scores),
        full=sum(score.value >= 1.0 for score in scores),
        unread=sum(score.verdict == "unparsed" for score in scores),
        mean=statistics.fmean(score.value for score in scores) if scores else None,
    )
