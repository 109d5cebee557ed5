"""Hold a demo.json against what the project promises of the demo: `check_demo.py FILE`."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

FIELDS = {
    "target_greedy",
    "target_mean_at_8",
    "target_pass_at_8",
    "old_skill_greedy",
    "kl_nats_per_token",
    "steps",
    "seconds",
}


def main(path: str) -> int:
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    rows = {row["method"]: row for row in document["rows"]}
    problems = []
    if list(rows) != ["base", "sft", "dft", "gft"]:
        problems.append(f"rows are {list(rows)}")
    for name, row in rows.items():
        broken = [f for f in FIELDS if not math.isfinite(row.get(f, math.nan))]
        if broken:
            problems.append(f"{name}: {broken} missing or not finite")
    if rows["base"]["target_greedy"] > 0.05:
        problems.append(f"the base solves {rows['base']['target_greedy']:.1%} of the target")
    if rows["base"]["old_skill_greedy"] < 0.95:
        problems.append(f"the base solves only {rows['base']['old_skill_greedy']:.1%} of the old")
    if rows["gft"]["target_greedy"] < 0.45:
        problems.append(f"GFT reaches {rows['gft']['target_greedy']:.1%} of the target")
    if rows["gft"]["old_skill_greedy"] < 0.75:  # a run that turned into noise keeps less
        problems.append(f"GFT keeps {rows['gft']['old_skill_greedy']:.1%} of the old skill")
    for problem in problems:
        print(f"demo: {problem}", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
