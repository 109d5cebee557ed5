"""Data sets of the Hugging Face hub: `owner/name`, `owner/name:config`, `owner/name:config:split`.

A split in the name comes before the one that is asked for: a run can train on a set and be measured
on another split of it. `owner/name::split` is for sets without configurations.

Nothing of a data set is executed: `datasets` is asked for the plain files only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gft_lite.data.readers.sniff import KIND_OF_SUFFIX
from gft_lite.data.rows import Record
from gft_lite.types import DataError, MissingExtraError

HUB_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(:[\w.-]+|:[\w.-]*:[\w.-]+)?")


def is_hub_name(path: str) -> bool:
    """True for `owner/name…` that is no local path and has no data file's ending."""
    if not HUB_NAME.fullmatch(path):
        return False
    local = Path(path)
    known_ending = local.suffix.lower() in KIND_OF_SUFFIX
    return not (known_ending or local.exists() or local.parent.exists())


def read_hub(name: str, split: str) -> Iterator[Record]:
    """The rows of one split, downloaded or from the local cache; the name may say which."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtraError(
            f"'{name}' is read with the package datasets: pip install datasets"
        ) from error
    repository, config, own_split = (*name.split(":"), "", "")[:3]
    split = own_split or split
    try:
        rows = load_dataset(repository, config or None, split=split)
    except Exception as error:  # network, hub and builder errors share no base class
        reason = str(error).strip().split("\n")[0][:160] or type(error).__name__
        raise DataError(
            f"'{name}' is no file here, and the hub's data set of that name (split '{split}') "
            f"could not be loaded: {reason}. Check the spelling, the connection and the split; "
            "write owner/name:config where the set has several configurations, and "
            "owner/name:config:split for another split; or download its Parquet or JSONL file on a "
            "machine with a connection and give the path of that file"
        ) from error
    for number, fields in enumerate(rows, start=1):
        yield Record(number, fields)
