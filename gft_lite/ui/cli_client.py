"""Asks the command line and reads its JSON: what may need much memory, or torch, happens in a
process that ends with the answer."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

from gft_lite.types import InputError, TrainingError
from gft_lite.ui.workspace import Workspace

log = logging.getLogger(__name__)
LONGEST_SECONDS = 600.0


def ask(workspace: Workspace, *arguments: str) -> Any:
    """The document that `gft-lite ARGUMENTS --json` prints.

    Raises:
        InputError: what the command said was wrong with the input.
        TrainingError: it broke, or took too long.
    """
    command = [sys.executable, "-m", "gft_lite", *arguments, "--json"]
    path = os.pathsep.join(filter(None, sys.path))  # the child imports what this process does
    try:
        ran = subprocess.run(
            command,
            cwd=workspace.root,
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=LONGEST_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise TrainingError(
            f"This took longer than {LONGEST_SECONDS / 60:.0f} minutes and was given up; try the "
            "command line with a smaller file first."
        ) from None
    if ran.returncode == 0:
        return json.loads(ran.stdout)
    said = ran.stderr.strip()
    if ran.returncode == 2 and "error: " in said:
        raise InputError(plain(said.rpartition("error: ")[2], workspace))
    log.error("%s ended with %s: %s", " ".join(arguments[:2]), ran.returncode, said)
    raise TrainingError("This broke inside gft-lite. The log of the app has the details.")


def plain(sentence: str, workspace: Workspace) -> str:
    """A sentence of the command line without the folders of this machine."""
    return sentence.replace(f"{workspace.root}{os.sep}", "")
