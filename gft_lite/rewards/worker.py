"""The scoring process: reads jobs, writes scores, one document for each, in order.

The first document in is {"parts": [{"name" | "file", "options"}], "limit_seconds": …}. The first
document out is {"ready": true} or {"ready": false, "error": …}. `Channel` protects the protocol
from the reward: what a reward prints goes to stderr, and its standard input is empty. The parent
kills this process at the time limit; if the parent is gone, the end of the input or the CPU limit
ends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from gft_lite.rewards import REWARDS, Target, custom
from gft_lite.rewards.child_process import Channel
from gft_lite.rewards.failure import explain
from gft_lite.types import Score

MEMORY_LIMIT_BYTES = 4 * 2**30
SPARE_CPU_SECONDS = 30


def main() -> None:
    """Serve until the input ends."""
    channel = Channel()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    documents = channel.documents()
    setup = next(documents, None)
    if setup is not None:
        try:
            verifiers = [_verifier(part) for part in setup["parts"]]
            if not any("file" in part for part in setup["parts"]):
                _limit_memory()
        except BaseException as fault:  # a file may raise anything
            channel.write({"ready": False, "error": explain(fault)[0]})
            os._exit(0)
        channel.write({"ready": True})
        for job in documents:
            _limit_cpu(setup["limit_seconds"])
            target = Target(job["answer"], tuple(job["experts"]), job["prompt"])
            outcome = _outcome(verifiers[job["part"]], job["response"], target)
            channel.write({"number": job["number"], **outcome})
    os._exit(0)  # not delayed by threads or exit handlers of the reward


def _outcome(
    verifier: Callable[[str, Target], Score], response: str, target: Target
) -> dict[str, Any]:
    try:
        score = verifier(response, target)
    except BaseException as fault:  # a reward may raise anything
        error, details = explain(fault)
        return {"value": 0.0, "verdict": "error", "error": error, "details": details}
    return {"value": score.value, "verdict": score.verdict, "parts": dict(score.parts)}


def _verifier(part: dict[str, Any]) -> Callable[[str, Target], Score]:
    if "file" in part:
        return custom.load(part["file"], part["options"])
    reward = REWARDS[part["name"]]
    if reward.warm_up is not None:
        reward.warm_up(part["options"])
    return partial(reward.score, **part["options"])


def _limit_memory() -> None:
    """Limit memory: computer algebra on a tower of powers would take all of it."""
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard != resource.RLIM_INFINITY and hard <= MEMORY_LIMIT_BYTES:
            return
        with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, hard))


def _limit_cpu(limit_seconds: float) -> None:
    """Limit CPU time: a process whose parent is gone must not compute without end."""
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
