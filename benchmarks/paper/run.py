"""Run the experiments that retrace the paper in miniature, then draw and write their page.

    python benchmarks/paper/run.py --work DIR [--jobs 2] [--only sft,gft] [--seeds 0]

One JSON line a run is appended to docs/results/runs.jsonl; what stands there is not run again, so
an interrupted call is continued by the same call. Every run is a process of its own with one
thread. Costs are CPU seconds of the training process without its evaluations, which other load on
the machine moves less than wall-clock time.

The learning rate of a variant with several is chosen on its runs with seed 0: highest greedy
accuracy on the held-out target; of rates within 5 points of that, the one that keeps more of the
old skill. The same rule for every method.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from job import run_dir
from variants import PASS_AT, VARIANTS, Variant

RESULTS = Path(__file__).parents[2] / "docs" / "results"
WITHIN_CHANCE = 0.05  # two shares of 200 problems differ by so much easily
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for run directories")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    parser.add_argument("--only", default="", help="names of variants")
    parser.add_argument("--seeds", default="", help="seeds, of those a variant has")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = [name for name in arguments.only.split(",") if name] or list(VARIANTS)
    seeds = [int(seed) for seed in arguments.seeds.split(",") if seed]
    work_off(arguments.work.resolve(), arguments.out / "runs.jsonl", arguments.jobs, names, seeds)


def work_off(work: Path, results: Path, limit: int, names: list[str], seeds: list[int]) -> None:
    """Start what is ready until nothing is left, so many at a time."""
    running: dict[str, tuple[Row, subprocess.Popen[str]]] = {}
    failed: set[str] = set()
    while True:
        for key, (job, process) in list(running.items()):
            if process.poll() is None:
                continue
            del running[key]
            output = process.stdout.read() if process.stdout else ""
            if process.returncode:
                failed.add(key)
                print(f"failed: {key}", flush=True)
                continue
            row = job | json.loads(output.splitlines()[-1])
            row = {
                name: value
                for name, value in row.items()
                if name not in ("work", "start", "adapter")
            }
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"done: {key} {summary(row)}", flush=True)
        rows = read(results)
        ready = (
            job
            for job in jobs(rows, names, seeds, work)
            if key_of(job) not in running and key_of(job) not in failed
        )
        while len(running) < limit and (job := next(ready, None)):
            running[key_of(job)] = (job, start(job))
        if not running:
            return
        time.sleep(1)


def start(job: Row) -> subprocess.Popen[str]:
    """One job in its own process, on one thread."""
    script = Path(__file__).with_name("job.py")
    return subprocess.Popen(
        [sys.executable, str(script), json.dumps(job)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def jobs(rows: list[Row], names: list[str], seeds: list[int], work: Path) -> Iterator[Row]:
    """What is still to be run and can be."""
    done = {key_of(row) for row in rows}
    for variant in (VARIANTS[name] for name in names):
        for seed in variant.seeds:
            if seeds and seed not in seeds:
                continue
            chosen = chosen_rate(variant, rows)
            rates = variant.rates if seed == 0 else (chosen,) if chosen else ()
            for rate in rates:
                job: Row = {
                    "kind": "train",
                    "variant": variant.name,
                    "seed": seed,
                    "learning_rate": rate,
                    "steps": variant.steps,
                    "work": str(work),
                    "start": None,
                }
                if key_of(job) in done:
                    continue
                if variant.start:
                    before = VARIANTS[variant.start]
                    best = chosen_rate(before, rows)
                    begun = {**job, "variant": before.name, "steps": before.steps}
                    if best is None or key_of({**begun, "learning_rate": best}) not in done:
                        continue
                    job["start"] = str(run_dir(before, seed, best, work))
                yield job
    yield from pass_jobs(rows, done, work)


def pass_jobs(rows: list[Row], done: set[str], work: Path) -> Iterator[Row]:
    """pass@k of trained models, with seed 0 and their chosen rate."""
    for name in PASS_AT:
        rate = None if name == "base" else chosen_rate(VARIANTS[name], rows)
        if name != "base" and rate is None:
            continue
        adapter = str(run_dir(VARIANTS[name], 0, rate, work) / "adapter") if rate else None
        job = {"kind": "passes", "variant": name, "seed": 0, "adapter": adapter, "work": str(work)}
        if key_of(job) not in done:
            yield job


def chosen_rate(variant: Variant, rows: list[Row]) -> float | None:
    """The learning rate that was best with seed 0, None before all were tried."""
    tried = {r["learning_rate"] for r in rows_of(variant, rows)}
    return best_rate(variant, rows) if tried >= set(variant.rates) else None


def best_rate(variant: Variant, rows: list[Row]) -> float | None:
    """The best of the learning rates tried so far, None before the first."""
    tried = rows_of(variant, rows)
    if not tried:
        return None
    best = max(row["target_greedy"] for row in tried)
    near = [row for row in tried if row["target_greedy"] >= best - WITHIN_CHANCE]
    return float(max(near, key=lambda row: row["old_skill_greedy"])["learning_rate"])


def rows_of(variant: Variant, rows: list[Row]) -> list[Row]:
    """The runs of a variant with seed 0."""
    return [
        row
        for row in rows
        if row["kind"] == "train" and row["variant"] == variant.name and row["seed"] == 0
    ]


def key_of(row: Row) -> str:
    """What makes two runs the same run."""
    parts = ("kind", "variant", "learning_rate", "seed", "steps")
    return " ".join(str(row[part]) for part in parts if part in row)


def read(path: Path) -> list[Row]:
    """All recorded runs; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def summary(row: Row) -> str:
    """The two figures to look at while it runs."""
    if row["kind"] == "passes":
        return f"pass@128 {row['pass_at']['128']:.3f}"
    return f"target {row['target_greedy']:.3f}, old skill {row['old_skill_greedy']:.3f}"


if __name__ == "__main__":
    main()
