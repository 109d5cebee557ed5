"""The truth about a data file: what it was taken for, what is usable, and what is doubtful."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Unpack

from gft_lite.config import GroupConfig
from gft_lite.data.checks.columns import Column, Columns
from gft_lite.data.checks.dedup import HeldOut, Repeats
from gft_lite.data.checks.effort import effort_shares
from gft_lite.data.checks.scripts import script_of
from gft_lite.data.checks.warnings import Finding, Findings, RowScorer, judge_all, look_at
from gft_lite.data.formats.recognise import Recognition
from gft_lite.data.load import ReadOptions, open_rows
from gft_lite.data.rows import BadRow, JoinedRow
from gft_lite.types import Example

PARTS = ("prompt", "expert", "teacher")
JUDGED_AT_ONCE = 256
TOLD_EVERY_ROWS = 2000
BINS = 30

Progress = Callable[[int, int | None], None]
"""(rows read, rows in all at most or None)"""


@dataclass(frozen=True)
class Lengths:
    """Nearest-rank quantiles of `count` lengths; all zero where there are none.

    `bins` counts them in equal stretches from `shortest` to `p99`; the last holds what is longer.
    """

    count: int
    shortest: int
    median: int
    p90: int
    p99: int
    longest: int
    bins: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Report:
    """Counts over one file; rows == usable + len(bad_rows).

    `with_expert`, `with_teachers` and `with_answer` count rows, `experts` and `teachers` responses;
    `repeated_prompts` counts the rows whose prompt an earlier row has, `groups` the examples that
    the rows make once those with one prompt and answer are together. `characters` and `tokens`
    have the keys prompt, expert and teacher; `tokens` is None where no tokenizer was given, and
    counts the texts alone, without the chat template. `counts` has every kind of finding that
    occurred, `findings` the first of each kind. `scripts` counts prompts by writing system,
    `effort` has shares of compute, `judged` is the reward that was asked, if any.
    """

    path: str
    recognised: Recognition
    rows: int
    usable: int
    with_expert: int
    with_teachers: int
    with_answer: int
    experts: int
    teachers: int
    repeated_prompts: int
    characters: Mapping[str, Lengths]
    tokens: Mapping[str, Lengths] | None
    bad_rows: tuple[BadRow, ...]
    groups: int = 0
    columns: tuple[Column, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    scripts: Mapping[str, int] = field(default_factory=dict)
    effort: Mapping[str, float] = field(default_factory=dict)
    judged: str = ""

    @property
    def bad(self) -> int:
        """How many rows cannot be used."""
        return len(self.bad_rows)


def check_file(
    path: str | os.PathLike[str],
    *,
    count_tokens: Callable[[str], int] | None = None,
    against: str | os.PathLike[str] | None = None,
    judge: RowScorer | None = None,
    judged: str = "",
    group: GroupConfig | None = None,
    progress: Progress | None = None,
    **options: Unpack[ReadOptions],
) -> Report:
    """Read a file row by row and count; keeps lengths, hashes and bad rows, not the examples.

    `against` is a held-out file whose prompts must not occur here. `judge` asks a reward (named
    `judged`) about every row. `group` is what the estimate of compute is made for.

    Bad rows are in the report. DataError only for what concerns the whole file.
    """
    held_out = _held_out(os.fspath(against)) if against is not None else None
    seen = Columns()
    opened = open_rows(path, watch=seen.see, **options)
    findings = Findings()
    repeats = Repeats(findings, held_out)
    counted = _Counted(count_tokens)
    bad: list[BadRow] = []
    joined = 0
    waiting: list[Example] = []
    for number, item in enumerate(opened.rows, start=1):
        if progress and number % TOLD_EVERY_ROWS == 0:
            progress(number, opened.rows_about)
        if isinstance(item, BadRow):
            bad.append(item)
        elif isinstance(item, JoinedRow):
            joined += 1
        else:
            counted.see(item)
            look_at(item, findings)
            repeats.see(item)
            if judge:
                waiting.append(item)
                if len(waiting) >= JUDGED_AT_ONCE:
                    judge_all(waiting, judge, findings)
                    waiting = []
    if judge:
        judge_all(waiting, judge, findings)
    repeats.finish()
    usable = counted.examples + joined
    tokens = {part: lengths(counted.tokens[part]) for part in PARTS} if count_tokens else None
    characters = {part: lengths(counted.characters[part]) for part in PARTS}
    if progress:
        progress(usable + len(bad), usable + len(bad))
    return Report(
        path=opened.name,
        recognised=opened.recognised,
        rows=usable + len(bad),
        usable=usable,
        with_expert=counted.with_expert,
        with_teachers=counted.with_teachers,
        with_answer=counted.with_answer,
        experts=len(counted.characters["expert"]),
        teachers=len(counted.characters["teacher"]),
        repeated_prompts=repeats.repeated,
        characters=characters,
        tokens=tokens,
        bad_rows=tuple(bad),
        groups=repeats.groups,
        columns=seen.found(),
        counts=findings.counts,
        findings=findings.found(),
        scripts=dict(sorted(counted.scripts.items(), key=lambda pair: -pair[1])),
        effort=counted.effort(tokens or characters, group or GroupConfig()),
        judged=judged,
    )


def _held_out(path: str) -> HeldOut:
    held_out = HeldOut(path)
    for item in open_rows(path).rows:
        if isinstance(item, Example):
            held_out.add(item)
    return held_out


class _Counted:
    """Counts and lengths over examples."""

    def __init__(self, count_tokens: Callable[[str], int] | None) -> None:
        self.examples = self.with_expert = self.with_teachers = self.with_answer = 0
        self.characters = {part: array("L") for part in PARTS}
        self.tokens = {part: array("L") for part in PARTS}
        self.scripts: dict[str, int] = {}
        self._count_tokens = count_tokens

    def see(self, example: Example) -> None:
        self.examples += 1
        self.with_expert += bool(example.experts)
        self.with_teachers += bool(example.teachers)
        self.with_answer += example.answer is not None
        script = script_of(example.question)
        self.scripts[script] = self.scripts.get(script, 0) + 1
        for part, texts in _parts(example).items():
            self.characters[part].extend(sum(map(len, group)) for group in texts)
            if self._count_tokens is not None:
                self.tokens[part].extend(sum(map(self._count_tokens, group)) for group in texts)

    def effort(self, found: Mapping[str, Lengths], group: GroupConfig) -> dict[str, float]:
        if not self.examples:
            return {}
        part = "expert" if found["expert"].count else "teacher"
        offered = {name: found[name].count / self.examples for name in ("expert", "teacher")}
        return effort_shares(found["prompt"].median, found[part].median, offered, group)


def _parts(example: Example) -> dict[str, list[tuple[str, ...]]]:
    """The texts of each part; a prompt is one group of turns, counted together."""
    return {
        "prompt": [tuple(message.content for message in example.prompt)],
        "expert": [(text,) for text in example.experts],
        "teacher": [(text,) for text in example.teachers],
    }


def lengths(values: Iterable[int]) -> Lengths:
    """Quantiles by nearest rank: the p-quantile of n values is value number ceil(p·n)."""
    ordered = sorted(values)
    count = len(ordered)
    if not count:
        return Lengths(0, 0, 0, 0, 0, 0)
    median, p90, p99 = (ordered[math.ceil(count * p / 100) - 1] for p in (50, 90, 99))
    return Lengths(count, ordered[0], median, p90, p99, ordered[-1], _bins(ordered, p99))


def _bins(ordered: Sequence[int], last: int) -> tuple[int, ...]:
    first = ordered[0]
    counts = [0] * min(BINS, last - first + 1)
    for value in ordered:
        place = (value - first) * len(counts) // (last - first + 1)
        counts[min(place, len(counts) - 1)] += 1
    return tuple(counts)
