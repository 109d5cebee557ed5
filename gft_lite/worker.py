"""The process that trains: `python -m gft_lite.worker RUN_DIR` trains the run of that directory.

`train`, `train_iter` and `resume` of `gft_lite.training.worker` do the same from Python.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gft_lite.cli import terminal
from gft_lite.training.worker import RunResult, resume, train, train_iter
from gft_lite.types import InputError

__all__ = ["RunResult", "main", "resume", "train", "train_iter"]


def _print_message(event: dict[str, Any]) -> None:
    if "message" in event:
        terminal.note(str(event["message"]))


def main(argv: list[str] | None = None) -> int:
    """Train the run of a directory that was made for it, or continue it."""
    parser = argparse.ArgumentParser(prog="python -m gft_lite.worker", description=main.__doc__)
    parser.add_argument("run_dir")
    parser.add_argument("--allow-custom-reward", action="store_true")
    parser.add_argument("--queued", action="store_true", help="only if it waits in a queue")
    arguments = parser.parse_args(argv)
    try:
        resume(
            arguments.run_dir,
            on_event=_print_message,
            allow_custom_reward=arguments.allow_custom_reward,
            queued=arguments.queued,
        )
    except InputError as error:
        terminal.note(f"error: {error}")
        return 2
    except Exception as error:
        terminal.note(f"error: {error}; details in log.txt")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
