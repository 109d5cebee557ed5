"""Training in forked processes that are killed, and what must be equal afterwards."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gft_lite.config import RunConfig, load_config
from gft_lite.runs import RunDir

FEW = (
    "train.steps=6",
    "train.prompts_per_step=2",
    "train.checkpoint_every=2",
    "train.micro_batch_tokens=1024",
    "train.log_kl_every=0",
    "group.teacher=1",
    "group.self=2",
    "group.max_new_tokens=12",
    "reward=overlap",
    "eval.examples=2",
    "eval.quick_examples=2",
    "eval.k=1",
)
MEASURED = ("data.eval_path=ROWS", "data.retention_path=ROWS", "eval.every=2")
# not of the numbers: when, how fast, how often, and what happened to the process
UNEQUAL = ("time", "tokens_per_second", "resumed")
KINDS = ("step", "eval", "checkpoint", "finished", "stage_finished")


class Ended(NamedTuple):
    """How a forked process ended; `output` is what it printed."""

    code: int
    seconds: float
    output: str


class ForkServer:
    """Runs jobs of `fork_server.py`, one after the other."""

    def __init__(self) -> None:
        self._jobs = 0
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )

    def work(
        self,
        run: Path,
        *,
        kill_after: float | None = None,
        die_at: Mapping[str, int] | None = None,
        accept: bool = False,
        snapshots: Path | None = None,
        cwd: Path | None = None,
    ) -> Ended:
        """Train or continue a run in a process of its own."""
        log = run.with_name(f"{run.name}.log")
        log.write_text("")
        self._jobs += 1
        job = {
            "id": self._jobs,
            "run": str(run),
            "log": str(log),
            "kill_after": kill_after,
            "die_at": die_at,
            "accept": accept,
            "snapshots": snapshots and str(snapshots),
            "cwd": str(cwd or run.parent),
        }
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        while answer["id"] != self._jobs:  # of a job whose test was given up
            answer = json.loads(self._process.stdout.readline())
        return Ended(answer["code"], answer["seconds"], log.read_text())

    def whole(self, run: Path) -> Ended:
        """Train or continue a run to its end."""
        ended = self.work(run)
        assert ended.code == 0, ended.output
        assert "Traceback" not in ended.output, ended.output
        return ended

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)


def short_run(path: Path, *overrides: str) -> RunDir:
    """A new run directory of a few short steps; ROWS in an override is the file of its data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = path.with_name("rows.jsonl")
    if not rows.exists():
        write_rows(rows)
    given = [text.replace("ROWS", str(rows)) for text in (*FEW, "data.path=ROWS", *overrides)]
    return new_run(path, load_config(preset="tiny-cpu", overrides=given))


def new_run(path: Path, config: RunConfig) -> RunDir:
    """A run directory as the app makes it: not begun."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return RunDir.create(path, config.to_yaml())


def write_rows(path: Path, first: int = 0) -> None:
    """Sums with short answers, which leave a few steps something to learn from."""
    rows = [
        {
            "prompt": f"What is {n} + {n + 3}?",
            "answer": str(2 * n + 3),
            "experts": [f"{2 * n + 3}"],
            "teachers": [f"It is {2 * n + 3}", f"{n} + {n + 3}", f"So {2 * n + 3}"],
        }
        for n in range(first, first + 30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def evidence(run: RunDir) -> dict[str, Any]:
    """All of a run that must be equal, however often it was killed."""
    found: dict[str, Any] = {"events": [_without_time(e) for e in run.events() if _counts(e)]}
    for each in (run, *run.stages()):
        name = each.path.name if each is not run else "run"
        found[f"{name} groups"] = {
            file.name: json.loads(gzip.decompress(file.read_bytes()))
            for file in sorted(each.groups_dir.glob("*"))
        }
        found[f"{name} checkpoints"] = {
            file.relative_to(each.checkpoints_dir).as_posix(): file.read_bytes()
            for folder in each.checkpoints()
            for file in sorted((folder / "adapter").rglob("*"))
        }
        found[f"{name} adapter"] = {
            file.name: _adapter_file(file, run) for file in sorted(each.adapter_dir.glob("*"))
        }
    return found


def assert_equal(run: RunDir, whole: Mapping[str, Any]) -> None:
    """The run ended as the uninterrupted one did, bit for bit, and nothing was left behind."""
    assert run.status()["state"] == "finished"
    found = evidence(run)
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        assert found[name] == value, f"{run.path}: {name} differ"
    left = [p for p in run.path.rglob("*") if p.suffix in (".tmp", ".old") or p.name == "stop"]
    assert not left


def _counts(event: Mapping[str, Any]) -> bool:
    return event["type"] in KINDS


def _without_time(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in event.items()
        if key not in UNEQUAL and not key.endswith("seconds") and not key.startswith("peak_memory")
    }


def _adapter_file(file: Path, run: RunDir) -> Any:
    if file.suffix != ".json":
        return file.read_bytes()
    document = json.loads(file.read_text().replace(str(run.path), "RUN"))
    document.pop("created", None)
    return document
