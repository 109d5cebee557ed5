"""What every tab is handed: the workspace and its jobs."""

from __future__ import annotations

from dataclasses import dataclass

from gft_lite.ui.queue import Jobs
from gft_lite.ui.workspace import Workspace

__all__ = ["Jobs", "Shell", "Workspace", "open_shell"]


@dataclass(frozen=True)
class Shell:
    """The parts that all tabs of one app share."""

    workspace: Workspace
    jobs: Jobs


def open_shell(root: str | None = None) -> Shell:
    """The shell of a workspace; its queue goes on from where it was."""
    workspace = Workspace(root)
    jobs = Jobs(workspace)
    jobs.keep_going()
    return Shell(workspace, jobs)
