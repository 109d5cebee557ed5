"""Draw what the journal lacks, then write the rows with their teachers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gft_lite.data import canonical_row
from gft_lite.distill.answers import Answer, Ask
from gft_lite.distill.journal import Entry, Journal, digest
from gft_lite.rewards import Scorer, target_of
from gft_lite.runs.atomic import new_file
from gft_lite.types import DataError, Example, InputError, Score

PROMPTS_AT_ONCE = 16
SHOWN_FAILURES = 3

Keep = Callable[[Example, Sequence[str]], list[str]]
"""(example, its teachers) → those to keep, in order."""


@dataclass(frozen=True)
class Distilled:
    """What was drawn and what became of it. `mean_reward` is over scored responses."""

    out: Path
    rows: int
    drawn: int
    resumed: int
    failed: int
    repeated: int
    cut_off: int
    below_reward: int
    filtered: int
    teachers: int
    mean_reward: float | None


def distill(
    examples: Sequence[Example],
    out: Path,
    *,
    ask: Ask,
    n: int,
    settings: Mapping[str, Any],
    scorer: Scorer | None = None,
    min_reward: float | None = None,
    keep: Keep | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Distilled:
    """Give every example up to n new teachers, and write all rows to `out`.

    Responses go to `OUT.journal.jsonl` as they come; a second call goes on where the first one
    stopped, and asks again for what failed. Cut-off responses are not kept. `settings` are those
    that must not change between calls. `tell` is called with responses done and in all.

    Raises:
        DataError: `out` exists, or the journal belongs to something else.
        InputError: nothing at all could be drawn.
        RewardError: the reward failed on every response; the journal keeps them.
    """
    if out.exists():
        raise DataError(f"{out}: exists already; nothing was overwritten. Choose another --out")
    journal = Journal(out.with_name(f"{out.name.removesuffix('.jsonl')}.journal.jsonl"), settings)
    resumed = sum(entry is not None for example in examples for entry in journal.of(example, n))
    failures: list[str] = []
    done, total = resumed, n * len(examples)
    for start in range(0, len(examples), PROMPTS_AT_ONCE):
        wanted = [
            (example, index)
            for example in examples[start : start + PROMPTS_AT_ONCE]
            for index, entry in enumerate(journal.of(example, n))
            if entry is None
        ]
        if not wanted:
            continue
        answers = ask([example.prompt for example, _ in wanted])
        for (example, index), answer in zip(wanted, answers, strict=True):
            if isinstance(answer, Answer):
                name = digest(example)
                journal.add(Entry(example.row, index, name, answer.text, answer.finished))
                done += 1
            else:
                failures.append(f"row {example.row}: {answer.reason}")
        if failures and done == 0:
            shown = "\n".join(f"  {reason}" for reason in failures[:SHOWN_FAILURES])
            raise InputError(f"no response could be had:\n{shown}")
        tell(done, total)
    return _written(examples, out, journal, n, resumed, len(failures), scorer, min_reward, keep)


def _written(
    examples: Sequence[Example],
    out: Path,
    journal: Journal,
    n: int,
    resumed: int,
    failed: int,
    scorer: Scorer | None,
    min_reward: float | None,
    keep: Keep | None,
) -> Distilled:
    count = dict.fromkeys(("drawn", "repeated", "cut_off", "below_reward", "filtered"), 0)
    teachers, scores = 0, list[Score]()
    with new_file(out) as aside, aside.open("w", encoding="utf-8") as file:
        for example in examples:
            entries = [entry for entry in journal.of(example, n) if entry]
            count["drawn"] += len(entries)
            whole = [entry.text for entry in entries if entry.finished and entry.text.strip()]
            count["cut_off"] += len(entries) - len(whole)
            known = set(example.experts) | set(example.teachers)
            fresh = [text for text in dict.fromkeys(whole) if text not in known]
            count["repeated"] += len(whole) - len(fresh)
            if scorer and fresh:
                target = target_of(example)
                own = scorer.score([(t, target) for t in fresh])
                scores += own
                good = [t for t, s in zip(fresh, own, strict=True) if s.value >= (min_reward or 0)]
                count["below_reward"] += len(fresh) - len(good)
                fresh = good
            offered = [*example.teachers, *fresh]
            kept = keep(example, offered) if keep else offered
            count["filtered"] += len(offered) - len(kept)
            teachers += len(kept)
            row = canonical_row(replace(example, teachers=tuple(kept)))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if scorer:
            scorer.require_some(scores)
    return Distilled(
        out=out,
        rows=len(examples),
        resumed=resumed,
        failed=failed,
        teachers=teachers,
        mean_reward=sum(s.value for s in scores) / len(scores) if scores else None,
        **count,
    )
