"""The state that all tabs share: the workspace and its runs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gft_lite.ui.queue import Jobs
from gft_lite.ui.workspace import Workspace


@dataclass(frozen=True)
class AppState:
    """The workspace and the queue of its runs."""

    workspace: Workspace
    jobs: Jobs


def open_app_state(root: str | None = None) -> AppState:
    """Open a workspace, `~/.gft-lite` by default, and continue its queue.

    Gradio keeps the files that browsers send in the workspace as well.

    Raises:
        RunError: the folder cannot be created or written.
    """
    workspace = Workspace(root)
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.tmp_dir)
    jobs = Jobs(workspace)
    jobs.keep_going()
    return AppState(workspace, jobs)
