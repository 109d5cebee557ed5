"""The embedded demo model and its data, and the `embedded:NAME` names that stand for them."""

from __future__ import annotations

from pathlib import Path

from gft_lite.types import DataError

ASSETS = Path(__file__).parent
MODEL_DIR = ASSETS / "tiny_base"
PREFIX = "embedded:"


def resolve(path: str) -> str:
    """The file of `embedded:target_train` inside the package; any other path unchanged.

    Raises:
        DataError: no embedded data of that name.
    """
    if not path.startswith(PREFIX):
        return path
    name = path.removeprefix(PREFIX)
    files = {file.stem: file for file in ASSETS.glob("*.jsonl")}
    if name not in files:
        raise DataError(f"{path}: no such embedded data; there is {', '.join(sorted(files))}")
    return str(files[name])
