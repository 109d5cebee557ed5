"""Runs commands of the command line and reads their JSON.

Work that needs much memory, or torch, runs in a process that ends with its result.
"""

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
TIMEOUT_SECONDS = 600.0


def run_json(workspace: Workspace, *arguments: str) -> Any:
    """The document that `gft-lite ARGUMENTS --json` prints.

    Raises:
        InputError: the command rejects the input; the message is the command's, without the
            workspace's folder.
        TrainingError: the command failed or took too long.
    """
    command = [sys.executable, "-m", "gft_lite", *arguments, "--json"]
    path = os.pathsep.join(filter(None, sys.path))  # the child imports the same package
    try:
        process = subprocess.run(
            command,
            cwd=workspace.root,
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise TrainingError(
            f"This took longer than {TIMEOUT_SECONDS / 60:.0f} minutes and was stopped. Try the "
            "command line with a smaller file first."
        ) from None
    if process.returncode == 0:
        return json.loads(process.stdout)
    stderr = process.stderr.strip()
    if process.returncode == 2 and "error: " in stderr:
        message = stderr.rpartition("error: ")[2]
        raise InputError(message.replace(f"{workspace.root}{os.sep}", ""))
    log.error("%s ended with code %s: %s", " ".join(arguments[:2]), process.returncode, stderr)
    raise TrainingError("Internal error in gft-lite. The log of the app has the details.")
