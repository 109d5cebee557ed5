"""The folder that the web app reads and writes.

runs/      one folder per run: METHOD-N
uploads/   one folder per data file: data-N
exports/   one folder per export, comparison, mix or report: NAME-N
tmp/       uploads in progress, and files that a browser may download

All names are made here, none comes from a field of the page. A name that a browser sends back is
looked up, and refused if it leads out of the workspace.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from gft_lite.types import RunError

DEFAULT = Path("~/.gft-lite")
PRIVATE = 0o700  # of new folders; existing ones keep their permissions


class Workspace:
    """The folder and its parts, which are created when it is opened."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        """Open a workspace, `~/.gft-lite` by default.

        Raises:
            RunError: it cannot be created or written.
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
                f"{self.root}: the workspace cannot be created ({error.strerror}); choose another "
                "folder with --workspace"
            ) from None
        if not os.access(self.root, os.W_OK):
            raise RunError(
                f"{self.root}: the workspace is not writable; choose another with --workspace"
            )

    def run(self, name: str) -> Path:
        """The folder of a run.

        Raises:
            RunError: this workspace has no run of that name.
        """
        return self._child(self.runs_dir, name, "run")

    def upload(self, name: str) -> Path:
        """The folder of an uploaded data file. RunError as for `run`."""
        return self._child(self.uploads_dir, name, "data file")

    def export(self, name: str) -> Path:
        """The folder of an export. RunError as for `run`."""
        return self._child(self.exports_dir, name, "export")

    def contains(self, path: str | os.PathLike[str]) -> bool:
        """Whether a path, links resolved, lies in the workspace; relative paths start there."""
        try:
            return (self.root / path).resolve().is_relative_to(self.root)
        except (OSError, ValueError):  # a loop of links, a NUL
            return False

    def new(self, folder: Path, kind: str) -> Path:
        """Create the first free `folder/KIND-N`; two callers never get the same one."""
        n = 1
        while True:
            path = folder / f"{kind}-{n}"
            try:
                path.mkdir(PRIVATE)
            except FileExistsError:
                n += 1
            else:
                return path

    def hand_out(self, file: Path) -> str:
        """The path from which a browser may download a file of the exports folder.

        Gradio serves only files below `tmp_dir`; the file is linked there, in a folder whose name
        cannot be guessed.

        Raises:
            RunError: the file is gone, or is not in the exports folder.
        """
        if not (file.is_file() and file.resolve().is_relative_to(self.exports_dir)):
            raise RunError(f"{file.name} is not among the exports any more; write it again")
        folder = self.tmp_dir / secrets.token_hex(16)
        folder.mkdir()
        link = folder / file.name
        try:
            os.link(file, link)
        except OSError:  # another file system, or one without links
            shutil.copyfile(file, link)
        return str(link)

    def _child(self, folder: Path, name: str, what: str) -> Path:
        if isinstance(name, str) and name in _names(folder):
            path = folder / name
            if path.resolve().parent == folder:
                return path
        raise RunError(f"there is no {what} of that name here; choose one from the list")


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_dir()}
