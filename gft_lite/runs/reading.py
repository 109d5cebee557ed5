"""Files of a run that may be damaged: whether they can be opened, and why they cannot be read."""

from __future__ import annotations

import json
import math
import stat
import zlib
from pathlib import Path
from typing import Any

UNREADABLE = (OSError, ValueError, RecursionError, EOFError, zlib.error)
LARGEST_BYTES = 2**22  # of status.json and config.yaml


def open_fault(file: Path, limit: float = math.inf) -> str:
    """Why a file must not be opened; empty if it can be. Reading a pipe or a device may never end.

    Raises:
        OSError: the file is missing or cannot be accessed.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        return "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
    return f"it has {status.st_size:,} bytes" if status.st_size > limit else ""


def read_json(file: Path) -> Any:
    """The content of a small JSON file.

    Raises:
        One of `UNREADABLE`; `describe` turns it into words.
    """
    if fault := open_fault(file, LARGEST_BYTES):
        raise ValueError(fault)
    return json.loads(file.read_text(encoding="utf-8"))


def describe(error: BaseException) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8 text"
    if isinstance(error, json.JSONDecodeError):
        return "it is empty" if not error.doc.strip() else "it is no valid JSON"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or "it ends too early"


def is_count(value: object) -> bool:
    """Whether a value can be a number of steps."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
