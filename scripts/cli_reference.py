"""Write docs/cli.md from the commands' own help: `python scripts/cli_reference.py [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from generated_page import main
from typer.main import get_command
from typer.testing import CliRunner

from gft_lite.cli import app

WIDTH = "100"
HEAD = """# Command line

Written by `scripts/cli_reference.py` from the program's own help; a test compares the two.

Progress goes to stderr, results to stdout; `--json` prints one JSON document and nothing else. Exit
codes: 0 done; 2 the input was wrong, and the message says what, where and what to do
([troubleshooting.md](troubleshooting.md)); 1 it broke. `GFT_LITE_DEBUG=1` shows the traceback of an
error.
"""


def reference() -> str:
    """The page: every command with what `--help` prints."""
    sections = [HEAD]
    for words in commands(get_command(app)):
        ran = CliRunner(env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH}).invoke(
            app, [*words, "--help"], prog_name="gft-lite", terminal_width=int(WIDTH)
        )
        shown = "\n".join(line.rstrip() for line in ran.output.strip().splitlines())
        sections.append(f"\n## {' '.join(['gft-lite', *words])}\n\n```text\n{shown}\n```\n")
    return "".join(sections)


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, alphabetically; those of groups lead to their commands."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


if __name__ == "__main__":
    sys.exit(main("cli.md", "cli_reference.py", __doc__ or "", reference))
