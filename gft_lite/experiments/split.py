"""What a comparison trains on, chooses settings on and measures on: disjoint by prompt.

`data/split.py` says which prompts are held out; the seed of the training changes nothing about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gft_lite.assets import PREFIX
from gft_lite.config import DataConfig
from gft_lite.data import canonical_line, prompt_rank, prompts_by_rank, split_examples
from gft_lite.preflight.filters import held_out_options, load_rows
from gft_lite.runs.atomic import write_atomic
from gft_lite.types import DataError, Example

LARGEST_SHARE = 5  # at most a fifth of the prompts is held out
CHOOSING_SHARE = 4  # of the held-out prompts, a quarter chooses settings
MOST_CHOOSING = 100
FEWEST = 4  # prompts that are worth measuring on


@dataclass(frozen=True)
class Split:
    """What to train on, to choose settings on, and to measure on; disjoint by prompt.

    leaked: prompts of a held-out file of the user's that the training file has as well.
    """

    train: Sequence[Example]
    choose: Sequence[Example]
    measure: Sequence[Example]
    leaked: int = 0


def split(data: DataConfig, count: int, *, choosing: bool) -> Split:
    """Read the training file, and the held-out file if there is one.

    Args:
        data: names the files.
        count: prompts to hold out where no held-out file is named.
        choosing: whether some held-out prompts are set aside to choose settings on.

    Raises:
        DataError: too few prompts.
    """
    bare = data.model_copy(update={"system_prompt": None})  # added when the split is read
    train: Sequence[Example] = load_rows(str(data.path), bare).examples
    leaked = 0
    if data.eval_path:
        held_out: Sequence[Example] = _load(data.eval_path, bare)
        trained_prompts = {prompt_rank(example) for example in train}
        leaked = sum(prompt_rank(example) in trained_prompts for example in held_out)
    else:
        train, held_out = _parted(train, count, LARGEST_SHARE)
        if len(held_out) < FEWEST:
            raise DataError(
                f"{data.path}: of its {len(train) + len(held_out)} prompts too few can be held "
                "out; name a held-out file with --eval"
            )
    choose: Sequence[Example] = ()
    if choosing:
        held_out, choose = _parted(held_out, MOST_CHOOSING, CHOOSING_SHARE)
        if not choose:
            raise DataError(
                f"{data.eval_path or data.path}: {len(held_out)} held-out prompts are too few to "
                "choose learning rates on some and measure on others; give one rate a method in "
                "--rates"
            )
    return Split(train, choose, held_out, leaked)


def write(split_parts: Split, data: DataConfig, folder: Path) -> DataConfig:
    """Write the parts as canonical files; what is there already stays.

    Returns:
        The section that names them. The file of an old skill is rewritten with them, for the
        columns that were mapped are no longer.
    """
    parts = {
        "train": split_parts.train,
        "choose": split_parts.choose,
        "measure": split_parts.measure,
    }
    retention = data.retention_path
    if retention and not retention.startswith(PREFIX):
        bare = data.model_copy(update={"system_prompt": None})
        parts["retention"] = _load(retention, bare)
        retention = str(folder / "retention.jsonl")
    folder.mkdir(exist_ok=True)
    for name, examples in parts.items():
        file = folder / f"{name}.jsonl"
        if examples and not file.exists():
            write_atomic(file, "".join(map(canonical_line, examples)))
    return data.model_copy(
        update={
            "path": str(folder / "train.jsonl"),
            "eval_path": str(folder / "measure.jsonl"),
            "retention_path": retention,
            "format": "canonical",
            "columns": {},
            "limit": None,
        }
    )


def _load(path: str, data: DataConfig) -> Sequence[Example]:
    return load_rows(path, held_out_options(path, data, None)).examples


def _parted(
    examples: Sequence[Example], count: int, share: int
) -> tuple[Sequence[Example], Sequence[Example]]:
    """(the rest, the examples of `count` prompts, at most one prompt in `share`)."""
    prompts = prompts_by_rank(examples)
    return split_examples(examples, prompts[: min(count, len(prompts) // share)])
