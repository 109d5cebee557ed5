"""Files and folders that are written whole or not at all, and the hash of a file.

What is written is on the disk before it gets its name, so a process that is killed and a machine
that stops leave the old content or the new one.
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
    with new_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A file to be written, which takes the name `target` when the block ends without an error.

    Its data is on the disk before the name is: after a crash the name stands for the old file or
    for the whole new one.
    """
    aside = target.with_name(f"{target.name}.tmp")
    try:
        yield aside
        sync(aside)
        aside.replace(target)
    except BaseException:  # what was written does not stay: the disk may be full
        with suppress(OSError):
            aside.unlink()
        raise
    sync(target.parent)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder to be filled, which takes the name `target` when the block ends without an
    error, in place of what had that name.

    After a crash the name stands for the old folder, for the whole new one, or, between two
    renames, for none.
    """
    aside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for folder, _, names in os.walk(aside):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))
    with removed(target):
        aside.rename(target)
    sync(target.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder: after a crash the name stands for all of it or for nothing."""
    with removed(path):
        pass


@contextmanager
def removed(path: Path) -> Iterator[None]:
    """Inside, the name is free; what had it is deleted at the end."""
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
    """Wait until a file, or a folder's list of names, is on the disk."""
    folder = path.is_dir()
    # Windows opens no folders, and some network file systems sync files only
    with suppress(OSError) if folder else nullcontext():
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
