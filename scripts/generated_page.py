"""A documentation page that a script writes, and that `--check` compares with the script."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def main(page: str, script: str, summary: str, reference: Callable[[], str]) -> int:
    """The command line of a script that writes a whole page.

    Args:
        page: its name in docs/.
        script: the name of the script, for the message.
        summary: what the script does, in one line.
        reference: returns the text of the page.

    Returns:
        The exit code: 1 if `--check` is given and the page differs.
    """
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it differs")
    check = parser.parse_args().check
    path, text = DOCS / page, reference()
    if not check:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        print(f"docs/{page}: run `python scripts/{script}`", file=sys.stderr)
        return 1
    return 0
