"""Score base and adapters on a file: figures, intervals, and forgetting on a retention set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gft_lite.adapters.compare import Column, LoadedAdapters, compare
from gft_lite.config import DataConfig
from gft_lite.evaluation.accuracy import Evaluation, base_responses
from gft_lite.evaluation.suite import DRIFT_PROMPTS, EvalSettings, drift_prompts, evaluate_suite
from gft_lite.model_server.model_cache import ModelCache, ModelSpec, Say, identity_fields
from gft_lite.models import Policy
from gft_lite.models.multi_adapter import using
from gft_lite.preflight.filters import filter_by_prompt_length, load_rows, prompt_length
from gft_lite.report.compare_page import write_compare_page
from gft_lite.rewards import Scorer, Spec, build_scorer
from gft_lite.types import Example

SENT_ROWS = 100
SENT_DROPPED = 5


def score(
    cache: ModelCache,
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
    """Answer and score a file; rows that cannot be used are left out and reported.

    Args:
        cache: keeps the model afterwards.
        say: sends an event after every part of the work.
        model: the base.
        adapters: adapter, run or checkpoint folders.
        data: the file.
        reward: decides what is correct.
        k: sampled responses a prompt; 0: greedy only.
        limit: only the first rows, of both files.
        max_new_tokens: longest response.
        retention: file of an earlier skill.
        page: where to write the comparison as HTML.
    """
    parts_total = (len(adapters) + 1) * (1 + (k > 0) + bool(retention))
    parts_done = 0

    def on_scored(responses: int) -> None:
        nonlocal parts_done
        parts_done += 1
        say("part", done=parts_done, of=parts_total, answers=responses)

    with build_scorer(reward) as scorer:
        target = _rows(say, data, scorer, limit)
        retained = _rows(say, retention, scorer, limit) if retention else ()
        loaded = cache.load(ModelSpec.of(model, adapters))
        tokens = loaded.response_limit(max_new_tokens)
        target = _short_enough(say, data, target, loaded.policy, tokens)
        comparison = compare(
            loaded, target, scorer, k=k, max_new_tokens=max_new_tokens, on_scored=on_scored
        )
        if retained:
            retained = _short_enough(say, retention or "", retained, loaded.policy, tokens)
        forgetting = _forgetting(loaded, target, retained, scorer, tokens, on_scored)
    if page:
        write_compare_page(comparison, Path(page))
    say(
        "scored",
        columns=[
            {
                **identity_fields(column.identity),
                "figures": column.evaluation.to_dict() if column.evaluation else None,
                **fields,
            }
            for column, fields in zip(comparison.columns, forgetting, strict=True)
        ],
        pairs=[pair.in_words() for pair in comparison.pairs],
        remarks=comparison.remarks,
        rows=_rows_sent(comparison.columns),
        prompts=len(comparison.rows),
    )


def _rows(say: Say, path: str, scorer: Scorer, limit: int | None) -> Sequence[Example]:
    """The rows of a file that have what the reward needs."""
    rows = load_rows(path, DataConfig(path=path, limit=limit, skip_bad_rows=True), scorer)
    _report_dropped(say, rows.dropped)
    return rows.examples


def _short_enough(
    say: Say, path: str, examples: Sequence[Example], policy: Policy, response_tokens: int
) -> Sequence[Example]:
    """The examples whose prompt leaves room for a response."""
    rows = filter_by_prompt_length(
        examples,
        prompt_length(policy),
        policy.max_length - response_tokens,
        path,
        advice="choose a shorter longest answer",
        skip_bad_rows=True,
    )
    _report_dropped(say, rows.dropped)
    return rows.examples


def _report_dropped(say: Say, dropped: Sequence[str]) -> None:
    if dropped:
        say("dropped", count=len(dropped), rows=dropped[:SENT_DROPPED])


def _forgetting(
    loaded: LoadedAdapters,
    target: Sequence[Example],
    retained: Sequence[Example],
    scorer: Scorer,
    max_new_tokens: int,
    on_scored: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Per column: accuracy on the retention set against the base, and drift from the base."""
    policy = loaded.policy
    responses = base_responses(
        policy,
        drift_prompts(target, retained),
        max_new_tokens=max_new_tokens,
        batch=DRIFT_PROMPTS,
    )
    base: Evaluation | None = None
    columns: list[dict[str, Any]] = []
    for identity in loaded.identities:
        with using(policy, identity.active):
            result = evaluate_suite(
                policy,
                scorer,
                EvalSettings(max_new_tokens=max_new_tokens),
                retention=retained,
                retention_before=base,
                # the base does not drift from itself
                responses_of_base=responses if identity.adapter else (),
                on_scored=on_scored,
            ).forgetting
        base = base or result.after
        p_value = None
        if result.after:
            p_value = result.paired.p_value if result.paired else 1.0  # the base against itself
        columns.append(
            {
                "old_skill": result.after.to_dict() if result.after else None,
                "old_skill_p_value": p_value,
                "kl_nats_per_token": result.drift.nats_per_token if result.drift else 0.0,
            }
        )
    return columns


def _rows_sent(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The responses of all columns by row, the largest differences in reward first."""
    results = [c.evaluation.answers for c in columns if c.evaluation]
    rows = [
        {
            "row": row[0].row,
            "prompt": row[0].prompt,
            "answer": row[0].answer,
            "texts": [result.greedy for result in row],
            "scores": [
                {"value": result.greedy_reward, "verdict": result.greedy_verdict} for result in row
            ],
        }
        for row in zip(*results, strict=True)
    ]

    def agreement(row: dict[str, Any]) -> float:
        values = [score["value"] for score in row["scores"]]
        return min(values) - max(values)

    return sorted(rows, key=agreement)[:SENT_ROWS]
