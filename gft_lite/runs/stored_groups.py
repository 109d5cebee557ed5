"""Stored groups of one step: a compressed JSON file with texts, rewards and token weights."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

from gft_lite.runs.atomic import new_file
from gft_lite.runs.reading import UNREADABLE, describe, open_fault
from gft_lite.types import RunError

SUFFIX = ".json.gz"


def write_groups(folder: Path, step: int, groups: list[dict[str, Any]]) -> None:
    """Store the groups of one step."""
    folder.mkdir(exist_ok=True)
    with (
        new_file(_file(folder, step)) as temporary,
        gzip.open(temporary, "wt", encoding="utf-8", compresslevel=3) as file,
    ):
        json.dump(groups, file, ensure_ascii=False)


def read_groups(folder: Path, step: int) -> list[dict[str, Any]]:
    """The groups of one step.

    Raises:
        RunError: that step was not stored, or its file is damaged.
    """
    file = _file(folder, step)
    if not os.path.lexists(file):
        raise RunError(f"{folder.parent}: the groups of step {step} were not stored")
    try:
        if fault := open_fault(file):
            raise ValueError(fault)
        with gzip.open(file, "rt", encoding="utf-8") as handle:
            groups = json.load(handle)
        if not isinstance(groups, list) or not all(isinstance(g, dict) for g in groups):
            raise ValueError("it is no list of groups")
    except UNREADABLE as error:
        raise RunError(
            f"{file} is damaged ({describe(error)}); other steps can be looked at, and the "
            "adapter does not depend on it"
        ) from None
    return groups


def stored_steps(folder: Path) -> list[int]:
    """Steps whose groups are stored, in order."""
    matches = (re.fullmatch(r"step-(\d+)\.json\.gz", file.name) for file in folder.glob("step-*"))
    return sorted(int(match[1]) for match in matches if match)


def drop_groups_after(folder: Path, step: int) -> None:
    """Remove the groups of later steps."""
    for later in stored_steps(folder):
        if later > step:
            _file(folder, later).unlink()


def _file(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}{SUFFIX}"
