"""A process that imports torch and gft-lite once and forks a worker for every job, which it may
kill: `python fork_server.py`, one JSON job a line on stdin, one JSON answer a line on stdout.

A job: {"id": n, "run": DIR, "log": FILE, "kill_after": seconds or null, "die_at": {"step": n} or
null, "accept": bool, "snapshots": DIR or null, "cwd": DIR}. The answer: {"id": n, "code": exit
code, negative for a signal, "seconds": n}.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from gft_lite.config import load_config
from gft_lite.training import worker
from gft_lite.types import InputError

WARM_UP = (
    "train.steps=1",
    "train.prompts_per_step=1",
    "group.max_new_tokens=8",
    "data.limit=40",
    "eval.examples=1",
    "eval.k=1",
)
NAMES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


def main() -> None:
    # by OMP_NUM_THREADS: the pool that torch.set_num_threads makes does not survive a fork
    assert torch.get_num_threads() == 1
    with TemporaryDirectory() as folder:  # imports and caches what a run needs
        worker.train(load_config(preset="tiny-cpu", overrides=WARM_UP), Path(folder, "run"))
    for line in sys.stdin:
        job = json.loads(line)
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            _work(job)
        if job["kill_after"] is not None:
            time.sleep(job["kill_after"])
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answer = {"id": job["id"], "code": code, "seconds": time.perf_counter() - began}
        print(json.dumps(answer), flush=True)


def _work(job: dict[str, Any]) -> None:
    """Train or continue a run as `gft-lite resume` does, and leave the process."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 1
    os.chdir(job["cwd"])
    try:
        if job["snapshots"]:
            _take_snapshots(Path(job["run"]), Path(job["snapshots"]))
        worker.resume(
            job["run"], on_event=lambda e: _die(job, e), accept_changes=bool(job["accept"])
        )
        code = 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _die(job: dict[str, Any], event: dict[str, Any]) -> None:
    at = job["die_at"]
    if at and event["type"] == "step" and event["step"] == at["step"]:
        os.kill(os.getpid(), signal.SIGKILL)


def _take_snapshots(run: Path, out: Path) -> None:
    """Copy the run directory before every change of a name and before every opening for writing:
    what a kill at that moment would leave."""
    state = {"busy": False, "count": 0}

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if state["busy"] or not (event in NAMES or (event == "open" and _writes(args))):
            return
        path = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes, os.PathLike)) else ""
        if not (path.startswith(str(run)) or event == "os.rmdir" or event == "os.remove"):
            return
        state["busy"] = True
        shutil.copytree(run, out / f"{state['count']:04d}" / run.name)
        state["count"] += 1
        state["busy"] = False

    sys.addaudithook(hook)


def _writes(args: tuple[Any, ...]) -> bool:
    mode, flags = args[1], args[2]
    return bool(isinstance(mode, str) and set(mode) & set("wax+")) or bool(
        isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
    )


if __name__ == "__main__":
    main()
