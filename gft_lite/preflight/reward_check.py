"""What a reward says of data, row by row, before any answer is sampled."""

from __future__ import annotations

from collections.abc import Sequence

from gft_lite.data import Judgement, RowScorer
from gft_lite.rewards import Scorer, target_of
from gft_lite.types import Example, RewardError


def row_scorer(scorer: Scorer) -> RowScorer:
    """Asks a scorer about answer, experts and teachers of every example, in one call a batch."""

    def judge(examples: Sequence[Example]) -> list[Judgement]:
        complaints = [_complaint(scorer, example) for example in examples]
        items = [
            (response, target_of(example))
            for example, complaint in zip(examples, complaints, strict=True)
            if complaint is None
            for response in (*example.experts, *example.teachers)
        ]
        found = scorer.score(items)
        scorer.require_some(found)
        scores = iter(found)
        said = []
        for example, complaint in zip(examples, complaints, strict=True):
            if complaint is not None:
                said.append(Judgement(complaint))
                continue
            experts = tuple(next(scores) for _ in example.experts)
            teachers = tuple(next(scores) for _ in example.teachers)
            said.append(Judgement(None, experts, teachers))
        return said

    return judge


def _complaint(scorer: Scorer, example: Example) -> str | None:
    try:
        scorer.check(target_of(example))
    except RewardError as error:
        return str(error).removeprefix("this row: ")
    return None
