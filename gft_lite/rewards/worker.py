"""The scoring process: reads jobs, writes scores, one JSON document a line, in order.

The first line in is {"parts": [{"name" | "file", "options"}], "limit_seconds": …}, the first line
out {"ready": true} or {"ready": false, "error": …}. Then one line out for each line in. The
protocol has private descriptors: whatever a reward prints goes to stderr, whatever it reads is
empty. The parent kills this process at the time limit; should the parent be gone, the end of the
input or the CPU limit ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from gft_lite.rewards import REWARDS, Target, custom, math_answer
from gft_lite.types import Score

MEMORY_LIMIT_BYTES = 4 * 2**30
SPARE_CPU_SECONDS = 30
MAX_ERROR_CHARS = 300


def main() -> None:
    """Serve until the input ends."""
    jobs, results = _private_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setup = json.loads(jobs.readline() or "{}")
    try:
        verifiers = [_verifier(part) for part in setup["parts"]]
        if not any("file" in part for part in setup["parts"]):
            _limit_memory()
    except (Exception, SystemExit) as fault:
        _write(results, {"ready": False, "error": _told(fault)})
        return
    _write(results, {"ready": True})
    for line in jobs:
        job = json.loads(line)
        _limit_cpu(setup["limit_seconds"])
        target = Target(job["answer"], tuple(job["experts"]), job["prompt"])
        _write(results, _outcome(verifiers[job["part"]], job["response"], target))


def _outcome(
    verifier: Callable[[str, Target], Score], response: str, target: Target
) -> dict[str, Any]:
    try:
        score = verifier(response, target)
    except (Exception, SystemExit) as fault:
        return {"value": 0.0, "verdict": "error", "error": _told(fault)}
    return {"value": score.value, "verdict": score.verdict, "parts": dict(score.parts)}


def _verifier(part: dict[str, Any]) -> Callable[[str, Target], Score]:
    if "file" in part:
        return custom.load(part["file"], part["options"])
    reward = REWARDS[part["name"]]
    if reward.score is math_answer.score:
        math_answer.warm_up()
    return partial(reward.score, **part["options"])


def _told(fault: BaseException) -> str:
    """The error in one line, with the line of the file it came from."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None:
        place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    return f"{type(fault).__name__}: {fault}"[:MAX_ERROR_CHARS] + place


def _private_pipes() -> tuple[TextIO, TextIO]:
    jobs = os.fdopen(os.dup(0), encoding="utf-8")
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return jobs, results


def _write(results: TextIO, document: dict[str, Any]) -> None:
    results.write(json.dumps(document) + "\n")
    results.flush()


def _limit_memory() -> None:
    """Computer algebra on a tower of powers asks for more memory than there is."""
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard != resource.RLIM_INFINITY and hard <= MEMORY_LIMIT_BYTES:
            return
        with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, hard))


def _limit_cpu(limit_seconds: float) -> None:
    """A process whose parent is gone must not compute for ever."""
    if sys.platform != "win32":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = limit_seconds * (os.cpu_count() or 1) + SPARE_CPU_SECONDS
        soft = int(used.ru_utime + used.ru_stime + allowed) + 1
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        if hard == resource.RLIM_INFINITY or soft < hard:
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


if __name__ == "__main__":
    main()
