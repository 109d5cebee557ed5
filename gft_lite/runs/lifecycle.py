"""How a run ends before its last step: an error is recorded, a signal stops the run."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gft_lite.runs.directory import RunDir
from gft_lite.runs.events import FailedEvent
from gft_lite.runs.resources import extend_cpu_time, shortage
from gft_lite.runs.status import State
from gft_lite.types import GftError, TrainingError


def record_failures(run: RunDir, events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Own the run while its events last; record every error before it is raised again.

    Raises:
        RunError: another process trains this run.
        TrainingError: a shortage of disk, memory or files ended the run.
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
            reported = TrainingError(
                f"{short}; what is written stays valid, then `gft-lite resume {run.path}` continues"
            )
            reported.__cause__ = error
            fail(run, reported)
            raise reported from error


def fail(run: RunDir, error: Exception) -> None:
    """Record an error: its sentence in the status and the events, its traceback in log.txt.

    On a full disk, files that cannot be written are skipped: the run then counts as interrupted.
    """
    message = str(error) if isinstance(error, GftError) else f"{type(error).__name__}: {error}"
    with suppress(OSError):
        set_state(run, "failed", message=message)
    with suppress(OSError):
        run.event_log.record(FailedEvent(message=message))
    with suppress(OSError):
        run.log("".join(traceback.format_exception(error)))


def set_state(run: RunDir, state: State, **fields: Any) -> None:
    """Change the state and keep the step."""
    progress = {key: value for key, value in run.status().items() if key in ("step", "steps")}
    run.set_status(state, **progress, **fields)


@contextmanager
def stop_on_signal(run: RunDir) -> Iterator[None]:
    """SIGTERM, the soft limit of CPU time and the first Ctrl-C end the run after the current step;
    the second Ctrl-C ends it at once."""
    try:
        signals = [getattr(signal, s, None) for s in ("SIGINT", "SIGTERM", "SIGXCPU")]
        earlier = {s: signal.getsignal(s) for s in signals if s}  # Windows has no SIGXCPU

        def handler(number: int, frame: Any) -> None:
            if number not in (signal.SIGINT, signal.SIGTERM):
                extend_cpu_time()
            run.request_stop()
            signal.signal(signal.SIGINT, earlier[signal.SIGINT])

        for s in earlier:
            signal.signal(s, handler)
    except ValueError:  # only the main thread may set signal handlers
        yield
        return
    try:
        yield
    finally:
        for s, old in earlier.items():
            signal.signal(s, old)
