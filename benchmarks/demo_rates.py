"""Choose the learning rates of `gft-lite demo` on fresh problems that no figure is reported on.

    python benchmarks/demo_rates.py --only "sft 1e-3"    train one candidate and append its row
    python benchmarks/demo_rates.py                      train what is missing, print the choice

The validation problems come from `scripts/tiny_problems.py` with a seed of their own; none of them
is in the embedded files. Every candidate trains on the demo's data with seed 0 and a linear
schedule. The rule is the same for every method: among the rates whose greedy accuracy on the
validation target is within two standard errors of the best, take the one that keeps most of the
old skill on the validation set; of equals, the lower rate.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "demo_rates.jsonl"
RATES = (5e-4, 1e-3, 2e-3)
METHODS: dict[str, list[str]] = {
    "sft": ["method.name=sft"],
    "dft": ["method.name=dft"],
    "gft": ["method.name=gft"],
    "gft, demonstrations rectified": ["method.name=gft", "method.rectify=demonstrations"],
}
PROBLEMS = 200
STEPS = 100
HIGH_ENTROPY = 0.5  # nats per token; the embedded base starts at about 0.1


def validation(folder: Path) -> tuple[Path, Path]:
    """Write fresh target and old-skill problems, none of them in the embedded files."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from tiny_problems import make_test_row

    from gft_lite.assets import resolve

    rng = Random("validation of the demo's rates")
    seen: set[str] = set()
    for name in ("target_train", "target_test", "old_skill_test"):
        lines = Path(resolve(f"embedded:{name}")).read_text(encoding="utf-8").splitlines()
        seen |= {json.loads(line)["prompt"] for line in lines}
    files = []
    for name, parts in (("target", 3), ("old_skill", 1)):
        rows = []
        while len(rows) < PROBLEMS:
            row = make_test_row(rng, parts)
            if row["prompt"] not in seen:
                seen.add(row["prompt"])
                rows.append(json.dumps(row))
        file = folder / f"{name}.jsonl"
        file.write_text("\n".join(rows) + "\n", encoding="utf-8")
        files.append(file)
    return files[0], files[1]


def candidate(settings: list[str], rate: float) -> dict[str, Any]:
    """Train one candidate in a temporary folder; its figures on the validation problems."""
    from gft_lite.config import load_config
    from gft_lite.runs import RunDir
    from gft_lite.training.worker import train

    with tempfile.TemporaryDirectory() as name:
        target, old_skill = validation(Path(name))
        config = load_config(
            preset="tiny-cpu",
            overrides=[
                *settings,
                f"data.eval_path={target}",
                f"data.retention_path={old_skill}",
                f"train.learning_rate={rate}",
                f"train.steps={STEPS}",
                "train.schedule=linear",
                "eval.k=1",
            ],
        )
        result = train(config, Path(name) / "run")
        steps = list(RunDir(result.run_dir).events("step"))
    sampled = [e for e in steps if "self_response_tokens" in e]
    high = [e["step"] for e in sampled if e["entropy_nats_per_token"] > HIGH_ENTROPY]
    return {
        "target_greedy": result.metrics["target"]["greedy_accuracy"],
        "old_skill_greedy": result.metrics["old_skill"]["greedy_accuracy"],
        "seconds": round(sum(e["seconds"] for e in steps)),
        "entropy_last": round(sampled[-1]["entropy_nats_per_token"], 3) if sampled else None,
        "first_step_of_high_entropy": high[0] if high else None,
        "steps_of_high_entropy": len(high),
    }


def chosen(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The best candidate of one method by the rule above."""
    from gft_lite.report.findings import margin

    best = max(row["target_greedy"] for row in rows)
    near = [
        row
        for row in rows
        if best - row["target_greedy"] <= margin((best + row["target_greedy"]) / 2, PROBLEMS)
    ]
    return max(near, key=lambda row: (row["old_skill_greedy"], -row["learning_rate"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="'METHOD RATE'")
    arguments = parser.parse_args()
    rows = []
    if RESULTS.is_file():
        rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    done = {(row["method"], row["learning_rate"]) for row in rows}
    for rate in RATES:
        for method, settings in METHODS.items():
            skipped = arguments.only and arguments.only != f"{method} {rate:g}"
            if skipped or (method, rate) in done:
                continue
            row = {"method": method, "learning_rate": rate, **candidate(settings, rate)}
            rows.append(row)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    if not arguments.only:
        for method in METHODS:
            print("chosen:", json.dumps(chosen([row for row in rows if row["method"] == method])))


if __name__ == "__main__":
    main()
