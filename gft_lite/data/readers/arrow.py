"""Data sets that `datasets` saved to disk (`save_to_disk`), read memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gft_lite.data.rows import Record
from gft_lite.types import DataError, MissingExtraError

BATCH_ROWS = 1024


def is_saved(path: Path) -> bool:
    """True for a folder written by `save_to_disk`: one data set, or one for each split."""
    try:
        return (path / "dataset_dict.json").is_file() or (
            (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
        )
    except (OSError, ValueError):
        return False


def read_saved(path: Path, split: str) -> Iterator[Record]:
    """The rows of a saved data set, or of one split of it."""
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: is read with the package datasets: pip install datasets"
        ) from error
    try:
        found = load_from_disk(str(path))
    except Exception as error:  # arrow, JSON and file errors share no base class
        reason = str(error).strip().split("\n")[0][:120] or type(error).__name__
        raise DataError(
            f"{path}: the saved data set cannot be loaded ({reason}); save it again"
        ) from error
    if isinstance(found, DatasetDict):
        if split not in found:
            raise DataError(
                f"{path}: has no split '{split}'; its splits are {', '.join(found)}: "
                "name one with data.split"
            )
        found = found[split]
    number = 0
    for batch in found.iter(batch_size=BATCH_ROWS):
        names = list(batch)
        for values in zip(*batch.values(), strict=True):
            number += 1
            yield Record(number, dict(zip(names, values, strict=True)))
