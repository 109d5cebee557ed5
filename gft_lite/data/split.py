"""Which prompts are held out, and a file in two: rows to train on and rows to measure with.

Prompts are held out in the order of a hash of their words, case and spaces aside. So the choice is
the same in every process and for every order of the rows, and no prompt is on both sides.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from gft_lite.data.checks.dedup import spelled
from gft_lite.data.clean import canonical_line, new_file
from gft_lite.data.load import ReadOptions, load_examples
from gft_lite.data.store import subset
from gft_lite.types import DataError, Example


@dataclass(frozen=True)
class Parts:
    """The two files, how many examples each has, and how many rows could not be used."""

    train: Path
    held_out: Path
    train_examples: int
    held_out_examples: int
    bad_rows: int


def prompt_rank(example: Example, seed: int = 0) -> bytes:
    """The hash of a prompt; seed 0 hashes its words alone, any other gives another order."""
    words = spelled(example)
    return hashlib.sha256((f"{seed} {words}" if seed else words).encode()).digest()


def prompts_by_rank(examples: Sequence[Example], seed: int = 0) -> list[list[int]]:
    """For each prompt the places of its examples; first is what is to be held out first."""
    places: dict[bytes, list[int]] = {}
    for place, example in enumerate(examples):
        places.setdefault(prompt_rank(example, seed), []).append(place)
    return [places[rank] for rank in sorted(places)]


def parted(
    examples: Sequence[Example], held_out: Iterable[Sequence[int]]
) -> tuple[Sequence[Example], Sequence[Example]]:
    """(the rest, the examples of these prompts), both in the order they had."""
    aside = {place for places in held_out for place in places}
    rest = [place for place in range(len(examples)) if place not in aside]
    return subset(examples, rest), subset(examples, sorted(aside))


def split_file(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    held_out: int,
    *,
    seed: int = 0,
    **options: Unpack[ReadOptions],
) -> Parts:
    """Write `train.jsonl` and `held_out.jsonl` in canonical form into a folder.

    Prompts are held out until they have `held_out` examples, and one is left at least. Rows that
    cannot be used are left out.

    Raises:
        DataError: too few examples to hold out so many; an output file exists; or what concerns
            the whole input.
    """
    loaded = load_examples(path, skip_bad_rows=True, **options)
    prompts = prompts_by_rank(loaded.examples, seed)
    if held_out >= len(loaded.examples) or (held_out and len(prompts) < 2):
        raise DataError(
            f"{path}: has {len(loaded.examples):,} examples of {len(prompts):,} prompts; hold out "
            "fewer, so that some are left to train on"
        )
    count = enough = 0
    while count < held_out and enough < len(prompts) - 1:
        count += len(prompts[enough])
        enough += 1
    rest, aside = parted(loaded.examples, prompts[:enough])
    folder = Path(out)
    train, held = folder / "train.jsonl", folder / "held_out.jsonl"
    _write(train, rest)
    _write(held, aside)
    return Parts(train, held, len(rest), len(aside), len(loaded.bad_rows))


def _write(path: Path, examples: Iterable[Example]) -> None:
    with new_file(path) as out:
        for example in examples:
            out.write(canonical_line(example))
