"""A reward applied to the rows of a file, before any response is sampled."""

from __future__ import annotations

from collections.abc import Sequence

from gft_lite.data import RowScorer, RowScores
from gft_lite.rewards import Scorer, target_of
from gft_lite.types import Example, RewardError


def complaint(scorer: Scorer, example: Example, row_name: str = "this row") -> str | None:
    """Why the reward cannot use the answer of a row; None if it can.

    Args:
        scorer: the reward.
        example: the row.
        row_name: how the message names the row.
    """
    try:
        scorer.check(target_of(example), where=row_name)
    except RewardError as error:
        return str(error)
    return None


def row_scorer(scorer: Scorer) -> RowScorer:
    """A function that checks and scores answer, experts and teachers, one call a batch of rows."""

    def score_rows(examples: Sequence[Example]) -> list[RowScores]:
        complaints = [complaint(scorer, example) for example in examples]
        scores = scorer.score(
            [
                (response, target_of(example))
                for example, text in zip(examples, complaints, strict=True)
                if text is None
                for response in (*example.experts, *example.teachers)
            ]
        )
        scorer.require_some(scores)
        remaining = iter(scores)
        rows = []
        for example, text in zip(examples, complaints, strict=True):
            if text is not None:
                rows.append(RowScores(text.removeprefix("this row: ")))
                continue
            experts = tuple(next(remaining) for _ in example.experts)
            teachers = tuple(next(remaining) for _ in example.teachers)
            rows.append(RowScores(None, experts, teachers))
        return rows

    return score_rows
