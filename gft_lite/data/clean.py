"""A clean file from any file: canonical rows, and beside it what was left out and why.

rows read == rows written + rows joined to one of them + rows left out. Nothing is overwritten.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Unpack

from gft_lite.data.checks.dedup import spelled
from gft_lite.data.checks.warnings import RowScorer
from gft_lite.data.load import ReadOptions, group_key, open_rows
from gft_lite.data.rows import BadRow, JoinedRow
from gft_lite.data.store import ExampleBuffer, subset
from gft_lite.types import DataError, Example

JUDGED_AT_ONCE = 256

LeftOut = tuple[int, str, str, str]
"""(row, kind, reason, quote)"""


@dataclass(frozen=True)
class Fixed:
    """What a clean file holds and where the rest went; reasons by how many rows they took."""

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
    judge: RowScorer | None = None,
    drop_rejected: bool = False,
    **options: Unpack[ReadOptions],
) -> Fixed:
    """Write the usable rows in canonical form, and every other row with its reason.

    Left out are rows that cannot be used; with `against`, rows whose prompt is in that file; with
    `judge`, rows whose answer the reward cannot use and, if `drop_rejected`, rows whose every
    expert earns nothing.

    Raises:
        DataError: an output file exists, or cannot be written; or what concerns the whole input.
    """
    target = Path(clean)
    aside = target.with_name(f"{target.name.removesuffix('.jsonl')}.left_out.jsonl")
    opened = open_rows(path, **options)
    leaked = _prompts(against) if against is not None else {}
    kept = ExampleBuffer()
    places: dict[int, int] = {}
    leads = array("q")
    left: list[LeftOut] = []
    followers: dict[int, list[int]] = {}
    for item in opened.rows:
        if isinstance(item, BadRow):
            left.append((item.row, "bad row", str(item), item.quote))
        elif isinstance(item, JoinedRow):
            followers.setdefault(item.into, []).append(item.row)
        elif (row := leaked.get(hash(spelled(item)))) is not None:
            left.append((item.row, "leak", f"its prompt is row {row} of {against}", item.question))
        elif (place := places.setdefault(group_key(item), len(kept))) < len(kept):
            kept.join(place, item)
            followers.setdefault(leads[place], []).append(item.row)
        else:
            kept.add(item)
            leads.append(item.row)
    examples = kept.gathered()
    if judge:
        examples, refused = _judged(examples, judge, drop_rejected)
        left += refused
    for number, *_ in tuple(left):  # whatever was joined to them goes with them
        for row in followers.pop(number, ()):
            left.append((row, "joined", f"was joined to row {number}, which is left out", ""))
    joined = sum(map(len, followers.values()))
    with ExitStack() as stack:
        out, rest = (stack.enter_context(new_file(file)) for file in (target, aside))
        for example in examples:
            out.write(canonical_line(example))
        for number, kind, reason, quote in sorted(left):
            line = {"row": number, "kind": kind, "reason": reason, "quote": quote}
            rest.write(json.dumps(line, ensure_ascii=False) + "\n")
    reasons: dict[str, int] = {}
    for _, kind, _, _ in left:
        reasons[kind] = reasons.get(kind, 0) + 1
    rows = len(examples) + joined + len(left)
    return Fixed(target, aside, rows, len(examples), joined, len(left), reasons)


def canonical_row(example: Example) -> dict[str, object]:
    """The canonical row of an example, absent fields left away."""
    plain = len(example.prompt) == 1 and example.prompt[0].role == "user"
    turns = [{"role": message.role, "content": message.content} for message in example.prompt]
    row: dict[str, object] = {"prompt": example.question if plain else turns}
    if example.experts:
        row["expert"] = example.experts[0] if len(example.experts) == 1 else list(example.experts)
    if example.teachers:
        row["teachers"] = list(example.teachers)
    if example.answer is not None:
        row["answer"] = example.answer
    return row


def canonical_line(example: Example) -> str:
    """The same as a line of a JSONL file."""
    return json.dumps(canonical_row(example), ensure_ascii=False) + "\n"


def _prompts(path: str | os.PathLike[str]) -> dict[int, int]:
    rows = (item for item in open_rows(path).rows if isinstance(item, Example))
    return {hash(spelled(example)): example.row for example in rows}


def _judged(
    examples: Sequence[Example], judge: RowScorer, drop_rejected: bool
) -> tuple[Sequence[Example], list[LeftOut]]:
    kept: list[int] = []
    left: list[LeftOut] = []
    for start in range(0, len(examples), JUDGED_AT_ONCE):
        part = tuple(examples[start : start + JUDGED_AT_ONCE])
        for place, (example, said) in enumerate(zip(part, judge(part), strict=True), start):
            rejected = said.experts and all(score.value <= 0 for score in said.experts)
            if said.complaint is not None:
                quote = example.answer or ""
                left.append((example.row, "unusable answer", said.complaint, quote))
            elif rejected and drop_rejected:
                reason = "the reward gives none of its experts anything"
                left.append((example.row, "rejected expert", reason, example.experts[0][-80:]))
            else:
                kept.append(place)
    return subset(examples, kept), left


def new_file(path: Path) -> IO[str]:
    """A new file; DataError where it exists or cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise DataError(
            f"{path}: exists already; nothing was overwritten. Choose another --out"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None
