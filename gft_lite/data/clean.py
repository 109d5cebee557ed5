"""A clean file from any file: canonical rows, and a second file with the other rows and reasons.

rows read == rows written + rows joined to one of them + rows left out. Nothing is overwritten.
"""

from __future__ import annotations

import json
import os
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gft_lite.data.checks.dedup import normalized_prompt
from gft_lite.data.checks.warnings import SCORED_ROWS, RowScorer
from gft_lite.data.load import ReadOptions, group_key, open_rows
from gft_lite.data.rows import BadRow, JoinedRow
from gft_lite.data.store import ExampleBuffer, subset
from gft_lite.types import DataError, Example

LeftOut = tuple[int, str, str, str]
"""(row, kind, reason, quote)"""


@dataclass(frozen=True)
class CleanFile:
    """The two files that were written, and what became of the rows.

    `reasons` counts the rows that were left out by the kind of their reason.
    """

    clean: Path
    left_out_file: Path
    rows: int
    written: int
    joined: int
    left_out: int
    reasons: Mapping[str, int]


def fix_file(
    path: str | os.PathLike[str],
    clean: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | None = None,
    row_scorer: RowScorer | None = None,
    drop_rejected: bool = False,
    **options: Any,
) -> CleanFile:
    """Write the usable rows in canonical form, and every other row with its reason.

    Args:
        path: the file to read.
        clean: the file to write; `….left_out.jsonl` beside it gets the other rows.
        against: held-out file; rows with a prompt of it are left out.
        row_scorer: applies a reward; rows whose answer the reward cannot use are left out.
        drop_rejected: leave out rows whose experts all earn nothing.
        **options: fields of `ReadOptions`.

    Raises:
        DataError: an output file exists or cannot be written, or the file cannot be read.
    """
    clean_file = Path(clean)
    left_out_file = clean_file.with_name(f"{clean_file.name.removesuffix('.jsonl')}.left_out.jsonl")
    stream = open_rows(path, ReadOptions(**options))
    leaks = _prompts(against) if against is not None else {}
    buffer = ExampleBuffer()
    positions: dict[int, int] = {}
    first_rows = array("q")  # row of each example in the buffer
    left_out: list[LeftOut] = []
    joined_rows: dict[int, list[int]] = {}  # by the row that they were joined to
    for row in stream.rows:
        if isinstance(row, BadRow):
            left_out.append((row.row, "bad row", str(row), row.quote))
        elif isinstance(row, JoinedRow):
            joined_rows.setdefault(row.into, []).append(row.row)
        elif (leak := leaks.get(hash(normalized_prompt(row)))) is not None:
            reason = f"its prompt is row {leak} of {against}"
            left_out.append((row.row, "leak", reason, row.question))
        elif (position := positions.setdefault(group_key(row), len(buffer))) < len(buffer):
            buffer.join(position, row)
            joined_rows.setdefault(first_rows[position], []).append(row.row)
        else:
            buffer.add(row)
            first_rows.append(row.row)
    examples = buffer.sequence()
    if row_scorer:
        examples, refused = _filter_by_reward(examples, row_scorer, drop_rejected)
        left_out += refused
    for number, *_ in tuple(left_out):  # the rows joined to a row that is left out go with it
        for joined_row in joined_rows.pop(number, ()):
            reason = f"was joined to row {number}, which is left out"
            left_out.append((joined_row, "joined", reason, ""))
    with ExitStack() as stack:
        out, rest = (stack.enter_context(new_file(file)) for file in (clean_file, left_out_file))
        out.writelines(map(canonical_line, examples))
        for number, kind, reason, quote in sorted(left_out):
            line = {"row": number, "kind": kind, "reason": reason, "quote": quote}
            rest.write(json.dumps(line, ensure_ascii=False) + "\n")
    joined = sum(map(len, joined_rows.values()))
    return CleanFile(
        clean=clean_file,
        left_out_file=left_out_file,
        rows=len(examples) + joined + len(left_out),
        written=len(examples),
        joined=joined,
        left_out=len(left_out),
        reasons=dict(Counter(kind for _, kind, _, _ in left_out)),
    )


def canonical_row(example: Example) -> dict[str, object]:
    """The canonical row of an example, without absent fields."""
    is_text = len(example.prompt) == 1 and example.prompt[0].role == "user"
    turns = [{"role": message.role, "content": message.content} for message in example.prompt]
    row: dict[str, object] = {"prompt": example.question if is_text else turns}
    if example.experts:
        row["expert"] = example.experts[0] if len(example.experts) == 1 else list(example.experts)
    if example.teachers:
        row["teachers"] = list(example.teachers)
    if example.answer is not None:
        row["answer"] = example.answer
    return row


def canonical_line(example: Example) -> str:
    """The canonical row of an example as a line of a JSONL file."""
    return json.dumps(canonical_row(example), ensure_ascii=False) + "\n"


def _prompts(path: str | os.PathLike[str]) -> dict[int, int]:
    """Hash of each normalized prompt of a file → its row."""
    rows = (row for row in open_rows(path).rows if isinstance(row, Example))
    return {hash(normalized_prompt(example)): example.row for example in rows}


def _filter_by_reward(
    examples: Sequence[Example], row_scorer: RowScorer, drop_rejected: bool
) -> tuple[Sequence[Example], list[LeftOut]]:
    """(the examples that stay, the rows that are left out)"""
    kept: list[int] = []
    left_out: list[LeftOut] = []
    for start in range(0, len(examples), SCORED_ROWS):
        batch = tuple(examples[start : start + SCORED_ROWS])
        for index, (example, scores) in enumerate(
            zip(batch, row_scorer(batch), strict=True), start
        ):
            rejected = scores.experts and all(score.value <= 0 for score in scores.experts)
            if scores.complaint is not None:
                quote = example.answer or ""
                left_out.append((example.row, "unusable answer", scores.complaint, quote))
            elif rejected and drop_rejected:
                reason = "the reward gives none of its experts anything"
                left_out.append((example.row, "rejected expert", reason, example.experts[0][-80:]))
            else:
                kept.append(index)
    return subset(examples, kept), left_out


def new_file(path: Path) -> IO[str]:
    """Create a file.

    Raises:
        DataError: the file exists or cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise DataError(
            f"{path}: exists already; nothing was overwritten. Choose another --out"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None
