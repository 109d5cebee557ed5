"""Datasets read with the library `datasets`: from the Hugging Face Hub, or saved to disk.

A Hub name is `owner/name`, `owner/name:config` or `owner/name:config:split`; `owner/name::split` is
for datasets without configurations. A split in the name takes precedence over the requested one, so
that a run can train on one split and be evaluated on another.

No code of a dataset is executed: `datasets` loads plain data files only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gft_lite.data.readers.files import KIND_OF_SUFFIX
from gft_lite.data.rows import Record
from gft_lite.types import DataError, MissingExtraError

BATCH_ROWS = 1024
HUB_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(:[\w.-]+|:[\w.-]*:[\w.-]+)?")


def is_hub_name(path: str) -> bool:
    """True for `owner/name…` that is not a local path and has no suffix of a data file."""
    if not HUB_NAME.fullmatch(path):
        return False
    local = Path(path)
    known_suffix = local.suffix.lower() in KIND_OF_SUFFIX
    return not (known_suffix or local.exists() or local.parent.exists())


def read_hub(name: str, split: str) -> Iterator[Record]:
    """The rows of one split of a Hub dataset, downloaded or from the local cache."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise _missing_library(f"'{name}'") from error
    repository, config, split_in_name = (*name.split(":"), "", "")[:3]
    split = split_in_name or split
    try:
        rows = load_dataset(repository, config or None, split=split)
    except Exception as error:  # network, hub and builder errors share no base class
        raise DataError(
            f"'{name}' is not a file here, and the Hub dataset of that name (split '{split}') "
            f"could not be loaded: {_first_line(error)}. Check the spelling, the connection and "
            "the split; write owner/name:config if the dataset has several configurations, and "
            "owner/name:config:split for another split; or download its Parquet or JSONL file on a "
            "machine with a connection and give the path of that file"
        ) from error
    for number, fields in enumerate(rows, start=1):
        yield Record(number, fields)


def is_saved(path: Path) -> bool:
    """True for a folder written by `save_to_disk`: one dataset, or one for each split."""
    try:
        return (path / "dataset_dict.json").is_file() or (
            (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
        )
    except (OSError, ValueError):
        return False


def read_saved(path: Path, split: str) -> Iterator[Record]:
    """The rows of a dataset saved to disk, or of one split of it, memory-mapped."""
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError as error:
        raise _missing_library(str(path)) from error
    try:
        dataset = load_from_disk(str(path))
    except Exception as error:  # arrow, JSON and file errors share no base class
        raise DataError(
            f"{path}: the saved data set cannot be loaded ({_first_line(error)}); save it again"
        ) from error
    if isinstance(dataset, DatasetDict):
        if split not in dataset:
            raise DataError(
                f"{path}: has no split '{split}'; its splits are {', '.join(dataset)}: "
                "name one with data.split"
            )
        dataset = dataset[split]
    number = 0
    for batch in dataset.iter(batch_size=BATCH_ROWS):  # much faster than row by row
        names = list(batch)
        for values in zip(*batch.values(), strict=True):
            number += 1
            yield Record(number, dict(zip(names, values, strict=True)))


def _missing_library(name: str) -> MissingExtraError:
    return MissingExtraError(f"{name} is read with the package datasets: pip install datasets")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:160] or type(error).__name__
