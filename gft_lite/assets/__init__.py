"""The embedded demo model and its data, and the `embedded:NAME` names that stand for them."""

from __future__ import annotations

from pathlib import Path

from gft_lite.types import DataError

ASSETS = Path(__file__).parent
MODEL_DIR = ASSETS / "tiny_base"
PREFIX = "embedded:"


def resolve(path: str) -> str:
    """`embedded:target_train` → the file inside the package; any other path as it is.

    Raises:
        DataError: no embedded data of that name.
    """
    if not path.startswith(PREFIX):
        return path
    name = path.removeprefix(PREFIX)
    found = {file.stem: file for file in ASSETS.glob("*.jsonl")}
    if name not in found:
        raise DataError(f"{path}: no such embedded data; there is {', '.join(sorted(found))}")
    return str(found[name])
