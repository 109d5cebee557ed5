"""Files and folders that are written whole or not at all, and the hash of a file.

Data is on the disk before it gets its name, so a killed process and a machine that loses power
leave either the old content or the new one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Hash of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, text: str) -> None:
    """Replace a file's text: a reader sees the old text or the new one, never half of one."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A temporary file, renamed to `target` when the block ends without an error.

    After a crash, `target` is the old file or the whole new one.
    """
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(target)
    except BaseException:  # free the space: the disk may be full
        with suppress(OSError):
            temporary.unlink()
        raise
    sync(target.parent)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty temporary folder, renamed to `target` when the block ends without an error; it
    replaces an existing folder.

    After a crash, `target` is the old folder or the whole new one; between two renames, neither.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for folder, _, names in os.walk(temporary):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))
    with removed(target):
        temporary.rename(target)
    sync(target.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder: after a crash, all of it exists or none."""
    with removed(path):
        pass


@contextmanager
def removed(path: Path) -> Iterator[None]:
    """Move a folder aside during the block and delete it at the end, or restore it on an error."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.rename(old)
    try:
        yield
    except BaseException:
        with suppress(FileNotFoundError):
            old.rename(path)
        raise
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    folder = path.is_dir()
    # Windows cannot open folders, and some network file systems sync files only
    with suppress(OSError) if folder else nullcontext():
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
