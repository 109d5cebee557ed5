"""The report on a data file: its format, its columns and lengths, bad rows and warnings."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gft_lite.data.checks.dedup import HeldOut, RepeatedPrompts
from gft_lite.data.checks.warnings import (
    SCORED_ROWS,
    Finding,
    Findings,
    RowScorer,
    check_example,
    check_scores,
)
from gft_lite.data.formats.recognise import Recognition
from gft_lite.data.load import ReadOptions, open_rows
from gft_lite.data.rows import BadRow, JoinedRow, Record, kind_of
from gft_lite.types import Example

PARTS = ("prompt", "expert", "teacher")
PROGRESS_ROWS = 2000
MAX_COLUMNS = 200
BINS = 30

Progress = Callable[[int, int | None], None]
"""(rows read, upper bound of all rows or None)"""


@dataclass(frozen=True)
class Lengths:
    """Nearest-rank quantiles of `count` lengths; all zero if there are none.

    `bins` counts the lengths in equal intervals from `shortest` to `p99`; the last bin also counts
    longer ones.
    """

    count: int
    shortest: int
    median: int
    p90: int
    p99: int
    longest: int
    bins: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Column:
    """One column: rows with a value, rows by type of value, longest text in characters."""

    name: str
    filled: int
    kinds: Mapping[str, int]
    longest: int


@dataclass(frozen=True)
class Report:
    """Counts over one file; rows == usable + len(bad_rows).

    Attributes:
        path: the file.
        recognised: how it was read.
        rows, usable: all rows, and those that can be used.
        with_expert, with_teachers, with_answer: rows that have one.
        experts, teachers: responses.
        repeated_prompts: rows whose prompt an earlier row has.
        characters: lengths of "prompt", "expert" and "teacher".
        tokens: the same in tokens of the texts, without the chat template; None without a
            tokenizer.
        bad_rows: the rows that cannot be used.
        groups: examples, after rows with the same prompt and answer were joined.
        columns: the columns as they were read.
        counts: warnings by kind.
        findings: the first warnings of each kind.
        judged: the reward that was applied, if any.
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
    judged: str = ""

    @property
    def bad(self) -> int:
        """The number of rows that cannot be used."""
        return len(self.bad_rows)


def check_file(
    path: str | os.PathLike[str],
    *,
    count_tokens: Callable[[str], int] | None = None,
    against: str | os.PathLike[str] | None = None,
    row_scorer: RowScorer | None = None,
    reward: str = "",
    progress: Progress | None = None,
    **options: Any,
) -> Report:
    """Read a file row by row and report on it; keeps lengths, hashes and bad rows, not the texts.

    Args:
        path: file, folder or Hub name.
        count_tokens: length of a text in tokens.
        against: held-out file whose prompts must not occur in this one.
        row_scorer: applies a reward to every row.
        reward: name of that reward, for the report.
        progress: called every 2,000 rows and at the end.
        **options: fields of `ReadOptions`.

    Raises:
        DataError: a fault of the whole file; bad rows are in the report.
    """
    held_out = _held_out(os.fspath(against)) if against is not None else None
    columns = _ColumnCounter()
    stream = open_rows(path, ReadOptions(**options), watch=columns.add)
    findings = Findings()
    repeated = RepeatedPrompts(findings, held_out)
    counter = _ExampleCounter(count_tokens)
    bad: list[BadRow] = []
    joined = 0
    unscored: list[Example] = []
    for number, row in enumerate(stream.rows, start=1):
        if progress and number % PROGRESS_ROWS == 0:
            progress(number, stream.max_rows)
        if isinstance(row, BadRow):
            bad.append(row)
        elif isinstance(row, JoinedRow):
            joined += 1
        else:
            counter.add(row)
            check_example(row, findings)
            repeated.add(row)
            if row_scorer:
                unscored.append(row)
                if len(unscored) >= SCORED_ROWS:
                    check_scores(unscored, row_scorer, findings)
                    unscored = []
    if row_scorer:
        check_scores(unscored, row_scorer, findings)
    repeated.finish()
    usable = counter.examples + joined
    if progress:
        progress(usable + len(bad), usable + len(bad))
    return Report(
        path=stream.name,
        recognised=stream.recognised,
        rows=usable + len(bad),
        usable=usable,
        with_expert=counter.with_expert,
        with_teachers=counter.with_teachers,
        with_answer=counter.with_answer,
        experts=len(counter.characters["expert"]),
        teachers=len(counter.characters["teacher"]),
        repeated_prompts=repeated.repeated,
        characters={part: lengths(counter.characters[part]) for part in PARTS},
        tokens={part: lengths(counter.tokens[part]) for part in PARTS} if count_tokens else None,
        bad_rows=tuple(bad),
        groups=repeated.groups,
        columns=columns.columns(),
        counts=findings.counts,
        findings=findings.listed(),
        judged=reward,
    )


def _held_out(path: str) -> HeldOut:
    held_out = HeldOut(path)
    for row in open_rows(path).rows:
        if isinstance(row, Example):
            held_out.add(row)
    return held_out


class _ExampleCounter:
    """Counts and lengths of examples."""

    def __init__(self, count_tokens: Callable[[str], int] | None) -> None:
        self.examples = self.with_expert = self.with_teachers = self.with_answer = 0
        self.characters = {part: array("L") for part in PARTS}
        self.tokens = {part: array("L") for part in PARTS}
        self._count_tokens = count_tokens

    def add(self, example: Example) -> None:
        self.examples += 1
        self.with_expert += bool(example.experts)
        self.with_teachers += bool(example.teachers)
        self.with_answer += example.answer is not None
        # The turns of a prompt are counted together.
        texts: dict[str, list[tuple[str, ...]]] = {
            "prompt": [tuple(message.content for message in example.prompt)],
            "expert": [(text,) for text in example.experts],
            "teacher": [(text,) for text in example.teachers],
        }
        for part, groups in texts.items():
            self.characters[part].extend(sum(map(len, group)) for group in groups)
            if self._count_tokens is not None:
                self.tokens[part].extend(sum(map(self._count_tokens, group)) for group in groups)


class _ColumnCounter:
    """Counts the columns of records, before they are converted."""

    def __init__(self) -> None:
        self._types: dict[str, dict[type, int]] = {}
        self._longest: dict[str, int] = {}

    def add(self, record: Record) -> None:
        for name, value in record.fields.items():
            types = self._types.get(name)
            if types is None:
                if len(self._types) >= MAX_COLUMNS:
                    continue
                types = self._types.setdefault(name, {})
                self._longest[name] = 0
            types[type(value)] = types.get(type(value), 0) + 1
            if isinstance(value, str) and len(value) > self._longest[name]:
                self._longest[name] = len(value)

    def columns(self) -> tuple[Column, ...]:
        """The columns in order of appearance."""
        # kind_of() names the type of a value: an empty value stands for its type here.
        empty = {bool: True, int: 0, float: 0.0, str: "", bytes: b"", list: [], dict: {}}
        columns = []
        for name, counts in self._types.items():
            kinds: dict[str, int] = {}
            for value_type, count in counts.items():
                if value_type is not type(None):
                    known = value_type in empty
                    kind = kind_of(empty[value_type]) if known else f"a {value_type.__name__}"
                    kinds[kind] = kinds.get(kind, 0) + count
            columns.append(Column(name, sum(kinds.values()), kinds, self._longest[name]))
        return tuple(columns)


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
        index = (value - first) * len(counts) // (last - first + 1)
        counts[min(index, len(counts) - 1)] += 1
    return tuple(counts)
