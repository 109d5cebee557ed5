"""Held-out prompts, and a file divided into training examples and held-out examples.

Prompts are held out in the order of a hash of their normalized text. The selection is therefore the
same in every process and for every order of the rows, and no prompt is in both parts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.data.checks.dedup import normalized_prompt
from gft_lite.data.clean import canonical_line, new_file
from gft_lite.data.load import load_examples
from gft_lite.data.store import subset
from gft_lite.types import DataError, Example


@dataclass(frozen=True)
class SplitFiles:
    """The two files, the number of examples in each, and the number of unusable rows."""

    train: Path
    held_out: Path
    train_examples: int
    held_out_examples: int
    bad_rows: int


def prompt_rank(example: Example, seed: int = 0) -> bytes:
    """The hash by which prompts are ordered; seed 0 hashes the normalized prompt alone."""
    prompt = normalized_prompt(example)
    return hashlib.sha256((f"{seed} {prompt}" if seed else prompt).encode()).digest()


def prompts_by_rank(examples: Sequence[Example], seed: int = 0) -> list[list[int]]:
    """The indices of the examples of each prompt; the first prompt is held out first."""
    indices: dict[bytes, list[int]] = {}
    for index, example in enumerate(examples):
        indices.setdefault(prompt_rank(example, seed), []).append(index)
    return [indices[rank] for rank in sorted(indices)]


def split_examples(
    examples: Sequence[Example], held_out: Iterable[Sequence[int]]
) -> tuple[Sequence[Example], Sequence[Example]]:
    """Divide examples into (the rest, the held-out ones), both in their original order.

    Args:
        examples: all examples.
        held_out: indices of the examples of each held-out prompt.
    """
    selected = {index for indices in held_out for index in indices}
    rest = [index for index in range(len(examples)) if index not in selected]
    return subset(examples, rest), subset(examples, sorted(selected))


def split_file(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    held_out: int,
    *,
    seed: int = 0,
    **options: Any,
) -> SplitFiles:
    """Write `train.jsonl` and `held_out.jsonl` in canonical form; unusable rows are left out.

    Args:
        path: the file to split.
        out: folder for the two files.
        held_out: prompts are held out until they have this many examples; one prompt at least
            stays for training.
        seed: selects other prompts.
        **options: fields of `ReadOptions`.

    Raises:
        DataError: there are too few examples, an output file exists, or the file cannot be read.
    """
    loaded = load_examples(path, skip_bad_rows=True, **options)
    prompts = prompts_by_rank(loaded.examples, seed)
    if held_out >= len(loaded.examples) or (held_out and len(prompts) < 2):
        raise DataError(
            f"{path}: has {len(loaded.examples):,} examples of {len(prompts):,} prompts; hold out "
            "fewer, so that some are left to train on"
        )
    examples = count = 0
    while examples < held_out and count < len(prompts) - 1:
        examples += len(prompts[count])
        count += 1
    train, held = split_examples(loaded.examples, prompts[:count])
    folder = Path(out)
    files = folder / "train.jsonl", folder / "held_out.jsonl"
    for file, part in zip(files, (train, held), strict=True):
        with new_file(file) as lines:
            lines.writelines(map(canonical_line, part))
    return SplitFiles(*files, len(train), len(held), len(loaded.bad_rows))
