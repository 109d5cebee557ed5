"""The truth about a data file: what it was taken for, what is usable, and every bad row."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from gft_lite.data.load import open_rows
from gft_lite.data.mapping import Said
from gft_lite.data.recognise import Recognition
from gft_lite.data.rows import BadRow, JoinedRow
from gft_lite.types import Example

PARTS = ("prompt", "expert", "teacher")


@dataclass(frozen=True)
class Lengths:
    """Nearest-rank quantiles of `count` lengths; all zero where there are none."""

    count: int
    shortest: int
    median: int
    p90: int
    p99: int
    longest: int


@dataclass(frozen=True)
class Report:
    """Counts over one file; rows == usable + len(bad_rows).

    `with_expert`, `with_teachers` and `with_answer` count rows, `experts` and `teachers` responses;
    `repeated_prompts` counts the rows whose prompt an earlier row has. `characters` and `tokens`
    have the keys prompt, expert and teacher; `tokens` is None where no tokenizer was given, and
    counts the texts alone, without the chat template.
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

    @property
    def bad(self) -> int:
        """How many rows cannot be used."""
        return len(self.bad_rows)


def check_file(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    columns: Mapping[str, Said] | None = None,
    limit: int | None = None,
    split: str = "train",
    system_prompt: str | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> Report:
    """Read a file row by row and count; keeps lengths and bad rows, not the examples.

    Bad rows are in the report. DataError only for what concerns the whole file.
    """
    opened = open_rows(
        path, format=format, columns=columns, limit=limit, split=split, system_prompt=system_prompt
    )
    usable = repeated = with_expert = with_teachers = with_answer = 0
    bad: list[BadRow] = []
    seen: set[int] = set()
    characters: dict[str, list[int]] = {part: [] for part in PARTS}
    tokens: dict[str, list[int]] = {part: [] for part in PARTS}
    for item in opened.rows:
        if isinstance(item, BadRow):
            bad.append(item)
            continue
        usable += 1
        if isinstance(item, JoinedRow):
            continue
        with_expert += bool(item.experts)
        with_teachers += bool(item.teachers)
        with_answer += item.answer is not None
        fingerprint = hash(item.prompt)  # the prompts themselves would fill the memory
        repeated += fingerprint in seen
        seen.add(fingerprint)
        for part, texts in _parts(item).items():
            characters[part].extend(sum(map(len, group)) for group in texts)
            if count_tokens is not None:
                tokens[part].extend(sum(map(count_tokens, group)) for group in texts)
    return Report(
        path=opened.name,
        recognised=opened.recognised,
        rows=usable + len(bad),
        usable=usable,
        with_expert=with_expert,
        with_teachers=with_teachers,
        with_answer=with_answer,
        experts=len(characters["expert"]),
        teachers=len(characters["teacher"]),
        repeated_prompts=repeated,
        characters={part: lengths(values) for part, values in characters.items()},
        tokens={part: lengths(values) for part, values in tokens.items()} if count_tokens else None,
        bad_rows=tuple(bad),
    )


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
    return Lengths(count, ordered[0], median, p90, p99, ordered[-1])


def report_json(report: Report) -> dict[str, object]:
    """The report as plain JSON values; every key is always there."""
    return asdict(report) | {"bad": report.bad}


def report_text(report: Report) -> str:
    """The report for a terminal, every bad row on its own line."""
    found = report.recognised
    lines = [f"{report.path}: {found.kind}, read as '{found.format}'"]
    if found.meaning:
        lines.append(f"  meaning    {found.meaning}")
    lines.append(f"  because    {found.why}")
    if found.runner_up:
        lines.append(f"  runner-up  '{found.runner_up}': {found.runner_up_why}")
    lines += [f"  note       {note}" for note in found.notes]
    if found.unused:
        lines.append(f"  not used   {', '.join(found.unused)}")
    lines += [
        "",
        f"rows         {report.rows:>9,}   usable {report.usable:,}, bad {report.bad:,}",
        f"with expert  {report.with_expert:>9,}   {report.experts:,} expert responses",
        f"with teacher {report.with_teachers:>9,}   {report.teachers:,} teacher responses",
        f"with answer  {report.with_answer:>9,}",
        f"repeated     {report.repeated_prompts:>9,}   rows whose prompt an earlier row has",
    ]
    lines += _table("characters", report.characters)
    if report.tokens is not None:
        lines += _table("tokens", report.tokens)
    if report.bad_rows:
        lines += ["", f"bad rows ({report.bad:,}):", *(f"  {row}" for row in report.bad_rows)]
        lines.append("Fix them, or pass --skip-bad-rows when training to drop them.")
    return "\n".join(lines)


def _table(unit: str, parts: Mapping[str, Lengths]) -> list[str]:
    heads = ("shortest", "median", "p90", "p99", "longest")
    rows = ["", f"{unit:<12}" + "".join(f"{head:>10}" for head in heads)]
    for part, found in parts.items():
        if found.count:
            values = (found.shortest, found.median, found.p90, found.p99, found.longest)
            rows.append(f"{part:<12}" + "".join(f"{value:>10,}" for value in values))
    return rows if len(rows) > 2 else []
