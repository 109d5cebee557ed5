"""Files on their way to a browser.

Gradio hands out what lies in its own folder and nothing else of the workspace; a file that was
asked for is linked there, in a folder whose name cannot be guessed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from gft_lite.types import RunError
from gft_lite.ui.workspace import Workspace


def handed_out(workspace: Workspace, file: Path) -> str:
    """The path under which a browser gets a file of the exports folder.

    Raises:
        RunError: it lies elsewhere, or is gone.
    """
    if not (file.is_file() and file.resolve().is_relative_to(workspace.exports_dir)):
        raise RunError(f"{file.name} is not among the exports any more; write it again")
    folder = workspace.tmp_dir / secrets.token_hex(16)
    folder.mkdir()
    link = folder / file.name
    try:
        os.link(file, link)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, link)
    return str(link)
