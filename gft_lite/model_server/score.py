"""A file answered by base and adapters: figures, intervals, and what an old skill lost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gft_lite.adapters.compare import Column, Comparison
from gft_lite.config import DataConfig
from gft_lite.evaluation.accuracy import base_answers, drift, evaluate
from gft_lite.evaluation.statistics import mcnemar
from gft_lite.evaluation.suite import DRIFT_PROMPTS
from gft_lite.model_server.model_cache import ModelCache, ModelSpec, Say, adapter_name, identity
from gft_lite.models import Policy
from gft_lite.models.multi_adapter import using
from gft_lite.preflight.filters import filter_by_prompt_length, load_rows, prompt_length
from gft_lite.report.compare_page import write_compare_page
from gft_lite.rewards import Scorer, Spec, Target, build_scorer
from gft_lite.types import Example, Score

SENT_ROWS = 100
SENT_DROPPED = 5


def score(
    held: ModelCache,
    say: Say,
    *,
    model: dict[str, Any],
    adapters: list[str],
    data: str,
    reward: Spec,
    k: int = 0,
    limit: int | None = None,
    max_new_tokens: int = 256,
    retention: str | None = None,
    page: str | None = None,
) -> None:
    """Answer and score; rows that cannot be used are left out and said.

    Args:
        held: keeps the model afterwards.
        say: told of every part that is done.
        model: the base.
        adapters: adapter, run or checkpoint folders.
        data: the file.
        reward: decides what is correct.
        k: sampled answers a prompt; 0: greedy only.
        limit: only the first rows, of both files.
        max_new_tokens: longest answer.
        retention: file of an old skill.
        page: where to write the comparison as HTML.
    """
    held.drop()
    parts = (len(adapters) + 1) * (1 + (k > 0) + bool(retention))
    with build_scorer(reward) as plain, _Telling(plain, say, parts) as scorer:
        asked = _rows(say, data, scorer, limit)
        old = _rows(say, retention, scorer, limit) if retention else ()
        found = held.compare(
            ModelSpec.of(model, adapters),
            asked,
            scorer,
            partial(_with_room, say, data),
            k=k,
            max_new_tokens=max_new_tokens,
        )
        tokens = min(max_new_tokens, held.policy.max_length // 2)
        old = _with_room(say, retention or "", old, held.policy, tokens) if old else ()
        kept = _kept(held.policy, found, asked, old, scorer, tokens)
    if page:
        write_compare_page(found, Path(page))
    say(
        "scored",
        columns=[
            {**identity(c), "figures": c.evaluation.to_dict() if c.evaluation else None, **more}
            for c, more in zip(found.columns, kept, strict=True)
        ],
        pairs=[pair.in_words() for pair in found.pairs],
        remarks=found.remarks,
        rows=_answered(found.columns),
        prompts=len(found.rows),
    )


def _rows(say: Say, path: str, scorer: Scorer, limit: int | None) -> Sequence[Example]:
    """The rows of a file that the reward can judge."""
    rows = load_rows(path, DataConfig(path=path, limit=limit, skip_bad_rows=True), scorer)
    _tell_dropped(say, rows.dropped)
    return rows.examples


def _with_room(
    say: Say, path: str, examples: Sequence[Example], policy: Policy, answer_tokens: int
) -> Sequence[Example]:
    """Those whose prompt leaves room for an answer."""
    kept = filter_by_prompt_length(
        examples,
        prompt_length(policy),
        policy.max_length - answer_tokens,
        path,
        advice="choose a shorter longest answer",
        skip_bad_rows=True,
    )
    _tell_dropped(say, kept.dropped)
    return kept.examples


def _tell_dropped(say: Say, dropped: Sequence[str]) -> None:
    if dropped:
        say("dropped", count=len(dropped), rows=dropped[:SENT_DROPPED])


def _kept(
    policy: Any,
    found: Comparison,
    asked: Sequence[Example],
    old: Sequence[Example],
    scorer: Scorer,
    max_new_tokens: int,
) -> list[dict[str, Any]]:
    """Per column: greedy accuracy on the old skill, and how far it moved from the base."""
    probes = (*asked[:DRIFT_PROMPTS], *old[:DRIFT_PROMPTS])
    answers = base_answers(policy, probes, max_new_tokens=max_new_tokens, batch=DRIFT_PROMPTS)
    base: list[bool] = []
    out: list[dict[str, Any]] = []
    for column in found.columns:
        figures, p_value = None, None
        with using(policy, adapter_name(column)):
            if old:
                after = evaluate(policy, old, scorer, max_new_tokens=max_new_tokens)
                right = [answered.correct for answered in after.answers]
                base = base or right
                figures, p_value = after.to_dict(), mcnemar(base, right).p_value
            moved = drift(policy, answers).nats_per_token if column.adapter else 0.0
        out.append({"old_skill": figures, "old_skill_p_value": p_value, "kl_nats_per_token": moved})
    return out


def _answered(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Row by row what every column said, those that disagree most first."""
    everyone = [c.evaluation.answers for c in columns if c.evaluation]
    rows = [
        {
            "row": answers[0].row,
            "prompt": answers[0].prompt,
            "answer": answers[0].answer,
            "texts": [a.greedy for a in answers],
            "scores": [{"value": a.greedy_reward, "verdict": a.greedy_verdict} for a in answers],
        }
        for answers in zip(*everyone, strict=True)
    ]

    def apart(row: dict[str, Any]) -> float:
        values = [score["value"] for score in row["scores"]]
        return min(values) - max(values)

    return sorted(rows, key=apart)[:SENT_ROWS]


class _Telling(Scorer):
    """Tells of every call: one a column and kind of answer, which is a part of the whole."""

    def __init__(self, plain: Scorer, say: Say, parts: int) -> None:
        super().__init__(plain.parts, timeout_seconds=5.0)
        self._say, self._parts, self._done = say, parts, 0

    def score(self, items: Sequence[tuple[str, Target]]) -> list[Score]:
        """The scores, told."""
        scores = super().score(items)
        self._done += 1
        self._say("part", done=self._done, of=self._parts, answers=len(items))
        return scores
