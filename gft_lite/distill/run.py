"""Request the responses that the journal lacks, then write the rows with their teachers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gft_lite.data import canonical_line
from gft_lite.distill.journal import Journal, JournalEntry, prompt_digest
from gft_lite.distill.teachers import Teacher, TeacherResponse
from gft_lite.rewards import Scorer, target_of
from gft_lite.runs.atomic import new_file
from gft_lite.types import DataError, Example, InputError, Score

BATCH_PROMPTS = 16
SHOWN_FAILURES = 3

ResponseFilter = Callable[[Example, Sequence[str]], list[str]]
"""(example, its teacher responses) → those to keep, in order."""


@dataclass(frozen=True)
class DistillResult:
    """Counts of one call.

    Attributes:
        out: the file that was written.
        rows: its rows.
        drawn: responses in the journal.
        resumed: those that an earlier call had received.
        failed: responses that were not received.
        repeated: responses equal to another one of their row.
        cut_off: responses cut off by the length limit.
        below_reward: responses that earned less than the minimum.
        filtered: responses that the filter left out.
        teachers: teacher responses in the file.
        mean_reward: over scored responses; None without any.
    """

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
    teacher: Teacher,
    n: int,
    settings: Mapping[str, Any],
    scorer: Scorer | None = None,
    min_reward: float | None = None,
    keep: ResponseFilter | None = None,
    progress: Callable[[int, int], None] = lambda received, total: None,
) -> DistillResult:
    """Add up to n teacher responses to every example and write all rows to a file.

    Responses are appended to `OUT.journal.jsonl` as they are received. Another call continues from
    there and requests failed responses again. Responses that were cut off are not kept.

    Args:
        examples: the rows.
        out: new file for the rows with their teachers.
        teacher: answers prompts.
        n: responses a row.
        settings: settings that must not change between calls.
        scorer: the reward of the responses.
        min_reward: leaves out responses that earn less.
        keep: selects among all teacher responses of a row.
        progress: called with the number of responses received and in all.

    Raises:
        DataError: `out` exists, or the journal belongs to another file or other settings.
        InputError: no response was received.
        RewardError: the reward failed on every response; the journal keeps them.
    """
    if out.exists():
        raise DataError(f"{out}: exists already; nothing was overwritten. Choose another --out")
    journal = Journal(out.with_name(f"{out.name.removesuffix('.jsonl')}.journal.jsonl"), settings)
    resumed = sum(entry is not None for example in examples for entry in journal.of(example, n))
    failures: list[str] = []
    received, total = resumed, n * len(examples)
    for start in range(0, len(examples), BATCH_PROMPTS):
        missing = [
            (example, index)
            for example in examples[start : start + BATCH_PROMPTS]
            for index, entry in enumerate(journal.of(example, n))
            if entry is None
        ]
        if not missing:
            continue
        responses = teacher([example.prompt for example, _ in missing])
        for (example, index), response in zip(missing, responses, strict=True):
            if isinstance(response, TeacherResponse):
                digest = prompt_digest(example)
                journal.add(
                    JournalEntry(example.row, index, digest, response.text, response.finished)
                )
                received += 1
            else:
                failures.append(f"row {example.row}: {response.reason}")
        if failures and received == 0:
            shown = "\n".join(f"  {reason}" for reason in failures[:SHOWN_FAILURES])
            raise InputError(f"no response was received:\n{shown}")
        progress(received, total)
    counts: Counter[str] = Counter()
    scores: list[Score] = []
    with new_file(out) as temporary, temporary.open("w", encoding="utf-8") as file:
        for example in examples:
            entries = [entry for entry in journal.of(example, n) if entry]
            teachers = _usable(example, entries, scorer, min_reward, counts, scores)
            kept = keep(example, teachers) if keep else teachers
            counts["filtered"] += len(teachers) - len(kept)
            counts["teachers"] += len(kept)
            file.write(canonical_line(replace(example, teachers=tuple(kept))))
        if scorer:
            scorer.require_some(scores)
    return DistillResult(
        out=out,
        rows=len(examples),
        drawn=counts["drawn"],
        resumed=resumed,
        failed=len(failures),
        repeated=counts["repeated"],
        cut_off=counts["cut_off"],
        below_reward=counts["below_reward"],
        filtered=counts["filtered"],
        teachers=counts["teachers"],
        mean_reward=sum(score.value for score in scores) / len(scores) if scores else None,
    )


def _usable(
    example: Example,
    entries: Sequence[JournalEntry],
    scorer: Scorer | None,
    min_reward: float | None,
    counts: Counter[str],
    scores: list[Score],
) -> list[str]:
    """The teachers of an example and its usable new responses; updates `counts` and `scores`."""
    counts["drawn"] += len(entries)
    complete = [entry.text for entry in entries if entry.finished and entry.text.strip()]
    counts["cut_off"] += len(entries) - len(complete)
    known = {*example.experts, *example.teachers}
    new = [text for text in dict.fromkeys(complete) if text not in known]
    counts["repeated"] += len(complete) - len(new)
    if scorer and new:
        target = target_of(example)
        new_scores = scorer.score([(text, target) for text in new])
        scores += new_scores
        minimum = min_reward or 0
        good = [t for t, score in zip(new, new_scores, strict=True) if score.value >= minimum]
        counts["below_reward"] += len(new) - len(good)
        new = good
    return [*example.teachers, *new]
