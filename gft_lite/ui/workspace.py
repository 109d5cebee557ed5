"""The one folder the web app reads and writes, and the names it gives to what it keeps there.

runs/      a folder a run: METHOD-N
uploads/   a folder a data file: data-N
exports/   a folder an export: export-N
tmp/       what a browser is sending

Names are made here, never taken from a field; a name that comes back from a browser is looked up
and refused where it leads outside.
"""

from __future__ import annotations

import os
from pathlib import Path

from gft_lite.types import RunError

DEFAULT = Path("~/.gft-lite")
PRIVATE = 0o700  # new folders; the permissions of folders that are there are kept


class Workspace:
    """The folder and its parts; they are made when it is opened."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        """Open a workspace; `~/.gft-lite` where none is named.

        Raises:
            RunError: it cannot be made or written.
        """
        self.root = Path(root or DEFAULT).expanduser().resolve()
        self.runs_dir = self.root / "runs"
        self.uploads_dir = self.root / "uploads"
        self.exports_dir = self.root / "exports"
        self.tmp_dir = self.root / "tmp"
        try:
            self.root.mkdir(PRIVATE, parents=True, exist_ok=True)
            for folder in (self.runs_dir, self.uploads_dir, self.exports_dir, self.tmp_dir):
                folder.mkdir(PRIVATE, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.root}: the workspace cannot be made ({error.strerror}); choose another "
                "folder with --workspace"
            ) from None
        if not os.access(self.root, os.W_OK):
            raise RunError(
                f"{self.root}: the workspace is not writable; choose another with --workspace"
            )

    def run(self, name: str) -> Path:
        """The folder of a run.

        Raises:
            RunError: no run of that name in this workspace.
        """
        return self._child(self.runs_dir, name, "run")

    def upload(self, name: str) -> Path:
        """The folder of an uploaded data file. RunError as for `run`."""
        return self._child(self.uploads_dir, name, "data file")

    def export(self, name: str) -> Path:
        """The folder of an export. RunError as for `run`."""
        return self._child(self.exports_dir, name, "export")

    def contains(self, path: str | os.PathLike[str]) -> bool:
        """Whether a path, links followed, lies in the workspace; relative ones start there."""
        try:
            return (self.root / path).resolve().is_relative_to(self.root)
        except (OSError, ValueError):  # a loop of links, a NUL
            return False

    def new(self, folder: Path, kind: str) -> Path:
        """Make the first free `folder/KIND-N`; two callers never get the same one."""
        n = 1
        while True:
            path = folder / f"{kind}-{n}"
            try:
                path.mkdir(PRIVATE)
            except FileExistsError:
                n += 1
            else:
                return path

    def _child(self, folder: Path, name: str, what: str) -> Path:
        if isinstance(name, str) and name in _names(folder):
            path = folder / name
            if path.resolve().parent == folder:
                return path
        raise RunError(f"there is no {what} of that name here; choose one from the list")


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_dir()}
