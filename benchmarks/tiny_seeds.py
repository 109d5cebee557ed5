"""Train methods on the embedded model over learning rates and seeds, and tabulate what they reach.

    python benchmarks/tiny_seeds.py --methods sft,dft,gft --rates 3e-4,1e-3 --seeds 0,1,2 \
        --out benchmarks/results/tiny_seeds.jsonl

One JSON line a run, appended; a run that is in the file already is not repeated. With `--table` the
file is read and printed as mean and 95 % interval (Student's t over seeds). Target and old skill
are measured as in `gft-lite demo`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gft_lite.evaluation.statistics import t_interval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default="sft,dft,gft")
    parser.add_argument("--rates", default="1e-3")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--label", default="", help="name of this variant in the table")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(read(arguments.out)))
        return
    done = {key(row) for row in read(arguments.out)}
    for rate in map(float, arguments.rates.split(",")):
        for seed in map(int, arguments.seeds.split(",")):
            for method in arguments.methods.split(","):
                row = {
                    "method": method,
                    "label": arguments.label,
                    "learning_rate": rate,
                    "seed": seed,
                    "steps": arguments.steps,
                    "settings": arguments.settings,
                }
                if key(row) in done:
                    continue
                row |= run(method, rate, seed, arguments.steps, arguments.settings)
                with arguments.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


def run(method: str, rate: float, seed: int, steps: int, settings: list[str]) -> dict[str, Any]:
    """One run in a directory that is thrown away; its final figures."""
    from gft_lite.experiments.demo import common_config
    from gft_lite.runs import RunDir
    from gft_lite.training.worker import train

    own = [f"method.name={method}", f"train.learning_rate={rate}"]
    own.append("train.schedule=constant")  # as in every recorded run, whatever the preset has
    config = common_config(steps, seed, [*own, *settings])
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, Path(folder) / "run")
        events = list(RunDir(result.run_dir).events("step"))
    metrics = result.metrics
    return {
        "target_greedy": metrics["target"]["greedy_accuracy"],
        "target_mean_at_8": metrics["target"]["mean_at_k"],
        "target_pass_at_8": metrics["target"]["pass_at_k"],
        "old_skill_greedy": metrics["old_skill"]["greedy_accuracy"],
        "kl_nats_per_token": metrics["drift"]["kl_nats_per_token"],
        "train_seconds": round(sum(e["seconds"] for e in events), 1),
        "trained_tokens": sum(e["trained_tokens"] for e in events),
        "degenerate_share": statistics.fmean(e["degenerate_groups"] / e["groups"] for e in events),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
    }


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two runs the same run."""
    names = ("method", "label", "learning_rate", "seed", "steps")
    return (*(row[name] for name in names), tuple(row["settings"]))


def read(path: Path) -> list[dict[str, Any]]:
    """All recorded runs; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(rows: Iterable[dict[str, Any]]) -> str:
    """A Markdown table, one line a (label, method, rate, steps)."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        name = (row["label"], row["method"], row["learning_rate"], row["steps"])
        groups.setdefault(name, []).append(row)
    lines = [
        "| variant | method | rate | steps | seeds | target greedy | mean@8 | pass@8 | old skill "
        "| KL nats/token | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (label, method, rate, steps), found in sorted(groups.items()):
        shares = [
            interval([100 * row[name] for row in found])
            for name in (
                "target_greedy",
                "target_mean_at_8",
                "target_pass_at_8",
                "old_skill_greedy",
            )
        ]
        kl = interval([row["kl_nats_per_token"] for row in found], digits=3)
        seconds = statistics.fmean(row["train_seconds"] for row in found)
        cells = [label, method, f"{rate:g}", str(steps), str(len(found)), *shares, kl]
        lines.append("| " + " | ".join([*cells, f"{seconds:.0f}"]) + " |")
    return "\n".join(lines)


def interval(values: list[float], digits: int = 1) -> str:
    """Mean ± half-width of the 95 % interval; the mean alone for fewer than three values."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    half = t_interval(values)
    return mean if half is None else f"{mean} ± {half:.{digits}f}"


if __name__ == "__main__":
    main()
