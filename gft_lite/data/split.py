"""A file in two: rows to train on, and rows held out to measure with. No prompt is in both."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from gft_lite.data.fix import canonical_line, new_file
from gft_lite.data.load import ReadOptions, load_examples
from gft_lite.data.repeats import spelled
from gft_lite.types import DataError, Example


@dataclass(frozen=True)
class Parts:
    """The two files, how many examples each has, and how many rows could not be used."""

    train: Path
    held_out: Path
    train_examples: int
    held_out_examples: int
    bad_rows: int


def split_file(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    held_out: int,
    *,
    seed: int = 0,
    **options: Unpack[ReadOptions],
) -> Parts:
    """Write `train.jsonl` and `held_out.jsonl` in canonical form into a folder.

    About `held_out` examples are drawn: all that share a prompt, in whatever spelling, go the same
    way. Rows that cannot be used are left out.

    Raises:
        DataError: too few examples to hold out so many; an output file exists; or what concerns
            the whole input.
    """
    loaded = load_examples(path, skip_bad_rows=True, **options)
    places: dict[int, list[int]] = {}
    for place, example in enumerate(loaded.examples):
        places.setdefault(hash(spelled(example)), []).append(place)
    if held_out >= len(loaded.examples) or (held_out and len(places) < 2):
        raise DataError(
            f"{path}: has {len(loaded.examples):,} examples of {len(places):,} prompts; hold out "
            "fewer, so that some are left to train on"
        )
    groups = list(places.values())
    random.Random(seed).shuffle(groups)
    drawn: set[int] = set()
    for group in groups[: len(groups) - 1]:  # one prompt at least to train on
        if len(drawn) >= held_out:
            break
        drawn.update(group)
    folder = Path(out)
    train, aside = folder / "train.jsonl", folder / "held_out.jsonl"
    rest = (e for place, e in enumerate(loaded.examples) if place not in drawn)
    _write(train, rest)
    _write(aside, (loaded.examples[place] for place in sorted(drawn)))
    kept = len(loaded.examples) - len(drawn)
    return Parts(train, aside, kept, len(drawn), len(loaded.bad_rows))


def _write(path: Path, examples: Iterable[Example]) -> None:
    with new_file(path) as out:
        for example in examples:
            out.write(canonical_line(example))
