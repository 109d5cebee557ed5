"""How a run ends before its last step: what breaks it is recorded, a signal stops it."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gft_lite.runs.directory import RunDir, State
from gft_lite.runs.resources import extend_cpu_time, shortage
from gft_lite.types import GftError, TrainingError

Event = dict[str, Any]


def record_failures(run: RunDir, events: Iterator[Event]) -> Iterator[Event]:
    """Own the run while its events last; record whatever breaks, then let it go on.

    Raises:
        RunError: another process trains this run.
    """
    with run.lock():
        try:
            yield from events
        except (KeyboardInterrupt, GeneratorExit):
            if run.status()["state"] == "running":
                set_state(run, "stopped", message="interrupted; `gft-lite resume` continues")
            raise
        except GftError as error:
            fail(run, error)
            raise
        except Exception as error:
            if not (short := shortage(error)):
                fail(run, error)
                raise
            told = TrainingError(
                f"{short}; what is written stays valid, then `gft-lite resume {run.path}` continues"
            )
            told.__cause__ = error
            fail(run, told)
            raise told from error


def fail(run: RunDir, error: Exception) -> None:
    """Record what broke the run: its sentence in the status, its traceback in the log.

    What cannot be written, on a full disk, is left out: the run then counts as interrupted.
    """
    message = str(error) if isinstance(error, GftError) else f"{type(error).__name__}: {error}"
    with suppress(OSError):
        set_state(run, "failed", message=message)
    with suppress(OSError):
        run.append({"type": "failed", "message": message})
    with suppress(OSError):
        run.log("".join(traceback.format_exception(error)))


def set_state(run: RunDir, state: State, **fields: Any) -> None:
    """Another state, at the same step."""
    reached = {key: value for key, value in run.status().items() if key in ("step", "steps")}
    run.set_status(state, **reached, **fields)


@contextmanager
def stop_on_signal(run: RunDir) -> Iterator[None]:
    """SIGTERM, the soft limit of CPU time and the first Ctrl-C end the run after the current step;
    the second Ctrl-C at once."""
    try:
        caught = [getattr(signal, s, None) for s in ("SIGINT", "SIGTERM", "SIGXCPU")]
        before = {s: signal.getsignal(s) for s in caught if s}  # Windows lacks the last one

        def handler(number: int, frame: Any) -> None:
            if number not in (signal.SIGINT, signal.SIGTERM):
                extend_cpu_time()
            run.request_stop()
            signal.signal(signal.SIGINT, before[signal.SIGINT])

        for s in before:
            signal.signal(s, handler)
    except ValueError:  # not the main thread: signals belong to someone else
        yield
        return
    try:
        yield
    finally:
        for s, old in before.items():
            signal.signal(s, old)
