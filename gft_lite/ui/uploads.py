"""Removes leftovers of interrupted uploads and killed apps from the workspace's tmp folder.

An upload in progress is a file of tmp itself; a complete one moves into a folder there.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

from gft_lite.ui.workspace import Workspace

HOUR_SECONDS = 3600.0


def clear_leftovers(workspace: Workspace) -> IO[bytes]:
    """Empty tmp unless another app serves this workspace.

    Returns:
        The lock that marks this app as serving it, until it is closed.
    """
    lock = (workspace.root / "app.lock").open("ab")
    if _lock_alone(lock):
        for path in workspace.tmp_dir.iterdir():
            _remove(path)
    _share(lock)
    return lock


def remove_aborted(tmp_dir: Path, idle_seconds: float = HOUR_SECONDS) -> None:
    """Remove uploads that have not grown for a time."""
    oldest = time.time() - idle_seconds
    for path in tmp_dir.iterdir():
        with suppress(FileNotFoundError):  # the upload has ended and was moved
            if path.is_file() and path.stat().st_mtime < oldest:
                _remove(path)


def hourly_removal(
    tmp_dir: Path, lock: IO[bytes]
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """A lifespan for the app: removes aborted uploads every hour; closes the lock at its end."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async def remove_hourly() -> None:
            while True:
                await asyncio.sleep(HOUR_SECONDS)
                await asyncio.to_thread(remove_aborted, tmp_dir)

        task = asyncio.create_task(remove_hourly())
        try:
            yield
        finally:
            task.cancel()
            lock.close()

    return lifespan


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _lock_alone(lock: IO[bytes]) -> bool:
    """Lock exclusively; False if another app holds it, or the system has no such locks."""
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _share(lock: IO[bytes]) -> None:
    with suppress(ImportError):
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_SH)
