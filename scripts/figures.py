"""Draw the figures of docs/how-gft-works.md from recorded runs.

    python scripts/figures.py                    benchmarks/results → docs/images/*.svg
    python scripts/figures.py --record RUN --step 24 --group 5     first keep what is drawn of RUN

The recorded run is the GFT run of the demo:

    gft-lite demo --out DEMO        RUN is DEMO/gft
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gft_lite.methods.gft import rectified_coefficient
from gft_lite.report.charts import Line, Scale, line_chart, svg
from gft_lite.report.html import stylesheet, text
from gft_lite.report.numbers import short_percent
from gft_lite.report.panels import label
from gft_lite.types import SOURCES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
RUN, SEEDS = RESULTS / "gft_run.json", RESULTS / "tiny_seeds.jsonl"
IMAGES = ROOT / "docs" / "images"
VARIANT = "a fifth of experts wrong"  # of the seeds' file
SEED_RATES = {"sft": 1e-3, "dft": 1e-3, "gft": 5e-4}  # of the seeds drawn; constant over a run
DRAWN = ("reward", "rectified_fraction")  # of every source
SHOWN_CHARS = 44
RULES = re.compile(r"^@media \(prefers.+?^\}|^(?::root|\.c-|\.solid|svg)[^{]*\{.+?\}", re.M | re.S)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", type=Path, metavar="RUN")
    parser.add_argument("--step", type=int)
    parser.add_argument("--group", type=int, help="number within the step, from 0")
    arguments = parser.parse_args()
    if arguments.record:
        record(arguments.record, arguments.step, arguments.group)
    IMAGES.mkdir(exist_ok=True)
    for name, drawing in figures().items():
        (IMAGES / f"{name}.svg").write_text(drawing, encoding="utf-8")


def figures() -> dict[str, str]:
    """Every figure by its file's name."""
    run = json.loads(RUN.read_text(encoding="utf-8"))
    seeds = [json.loads(line) for line in SEEDS.read_text(encoding="utf-8").splitlines()]
    drawn = {
        "token-weight": token_weight(),
        "one-group": one_group(run["group"]),
        "reward-by-source": by_source(run["steps"], "reward", "Reward by source"),
        "rectified-by-source": by_source(run["steps"], "rectified_fraction", "Share below τ"),
        "learned-and-kept": learned_and_kept(run["evals"]),
        "seeds": three_seeds(seeds),
    }
    return {name: alone(drawing) for name, drawing in drawn.items()}


def record(path: Path, step: int, group: int) -> None:
    """Keep of a run what the figures need."""
    from gft_lite.runs import RunDir

    run = RunDir.open(path)
    fields = [f"{field}_{source}" for field in DRAWN for source in SOURCES]
    shares = {"target": "target", "old_skill": "old_skill"}
    kept = {
        "steps": [
            {"step": e["step"], **{k: round(e[k], 4) for k in fields if k in e}}
            for e in run.events("step")
        ],
        "evals": [
            {"step": e["step"], **{k: e[f]["greedy_accuracy"] for k, f in shares.items()}}
            for e in run.events("eval")
        ],
        "group": {"step": step, **run.read_groups(step)[group]},
    }
    RUN.write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")


# --- drawings -----------------------------------------------------------------------------------


def token_weight() -> str:
    """C(π) over π for SFT, DFT and GFT, by the code that trains."""
    percents = [i / 2 for i in range(1, 201)]
    logps = torch.tensor([math.log(p / 100) for p in percents])

    def weights(tau: float) -> tuple[tuple[float, float], ...]:
        return tuple(zip(percents, rectified_coefficient(logps, tau).tolist(), strict=True))

    lines = [
        Line("SFT (τ = 0)", weights(0.0), "c-sft"),
        Line("DFT (τ > 1)", weights(2.0), "c-dft"),
        Line("GFT, τ = 0.1", weights(0.1), "c-gft"),
    ]
    return line_chart(
        "weight",
        "Weight of a token",
        lines,
        say=lambda v: f"{v:g}",
        bounds=(0.0, 1.0),
        x_name="probability the model gives the token, %",
        smooth=False,
    )


def by_source(steps: Sequence[dict[str, Any]], field: str, title: str) -> str:
    """One figure of every source over the steps of the recorded run."""
    lines = [
        Line(
            source,
            tuple((s["step"], s[f"{field}_{source}"]) for s in steps if f"{field}_{source}" in s),
            f"c-{source}",
        )
        for source in SOURCES
    ]
    return line_chart(field, title, lines, say=short_percent, bounds=(0.0, None))


def learned_and_kept(evals: Sequence[dict[str, Any]]) -> str:
    """Held-out accuracy on target and old skill over the steps of the recorded run."""
    lines = [
        Line(name, tuple((e["step"], e[key]) for e in evals), css)
        for name, key, css in (("target", "target", "c-1"), ("old skill", "old_skill", "c-2"))
    ]
    title = "Learned and kept"
    return line_chart("kept", title, lines, say=short_percent, bounds=(0.0, 1.0), smooth=False)


def one_group(group: dict[str, Any]) -> str:
    """Rewards and advantages of one recorded group, a bar an answer."""
    answers = group["responses"]
    row, top, width = 30, 26, 640
    height = top + row * len(answers) + 6
    largest = max(abs(a["advantage"]) for a in answers)
    x = Scale(-largest, largest, 450, 590)
    parts = [
        '<text class="tick" x="0" y="12">answer of</text>',
        '<text class="tick end" x="400" y="12">reward</text>',
        f'<text class="tick middle" x="{x(0)}" y="12">advantage</text>',
        f'<path class="zero" d="M{x(0)} {top - 6}V{height - 4}"/>',
    ]
    for i, answer in enumerate(answers):
        y = top + row * i + row / 2
        said = " · ".join(answer["text"].split("\n"))
        said = f"{said[:SHOWN_CHARS]}…" if len(said) > SHOWN_CHARS else said
        ends = sorted((x(0), x(answer["advantage"])))
        side = "end" if answer["advantage"] < 0 else "start"
        shown = f"{answer['advantage']:+.2f}".replace("-", "−")
        place = ends[0] - 6 if answer["advantage"] < 0 else ends[1] + 6
        parts.append(
            f'<g class="c-{answer["source"]}">'
            f'<text class="name" x="0" y="{y + 4}">{text(answer["source"])}</text>'
            f'<text class="tick" x="62" y="{y + 4}">{text(said)}</text>'
            f'<text class="name end" x="400" y="{y + 4}">{answer["reward"]:g}</text>'
            f'<rect class="dot" x="{ends[0]}" y="{y - 8}" width="{ends[1] - ends[0]:g}" '
            f'height="16"/>'
            f'<text class="tick {side}" x="{place:g}" y="{y + 4}">{shown}</text>'
            "</g>\n"
        )
    words = "; ".join(
        f"{a['source']}: reward {a['reward']:g}, advantage {a['advantage']:+.2f}" for a in answers
    )
    return svg("group", "One group", words, width, height, parts)


def three_seeds(rows: Sequence[dict[str, Any]]) -> str:
    """Target against old skill: a dot a seed, each method at a constant learning rate."""
    width, height = 460, 330
    x, y = Scale(0.8, 1.0, 56, 400), Scale(0.4, 1.0, 282, 14)
    parts = []
    for share in (0.8, 0.85, 0.9, 0.95, 1.0):
        parts.append(
            f'<text class="tick middle" x="{x(share)}" y="300">{short_percent(share)}</text>'
        )
    for share in (0.4, 0.6, 0.8, 1.0):
        parts.append(
            f'<path class="rule" d="M56 {y(share)}H400"/>'
            f'<text class="tick end" x="50" y="{y(share) + 4:g}">{short_percent(share)}</text>'
        )
    parts.append('<text class="axis" x="228" y="322">target learned (held out, greedy)</text>')
    parts.append('<text class="tick" x="60" y="10">old skill kept</text>\n')
    words = []
    for method, rate in SEED_RATES.items():
        found = [
            (row["target_greedy"], row["old_skill_greedy"])
            for row in rows
            if row["label"] == VARIANT and row["method"] == method and row["learning_rate"] == rate
        ]
        mean = [statistics.fmean(values) for values in zip(*found, strict=True)]
        name, css = label(method), f"c-{method}"
        parts += [f'<circle class="dot {css}" cx="{x(a)}" cy="{y(b)}" r="4"/>' for a, b in found]
        parts.append(
            f'<circle class="ring {css}" cx="{x(mean[0])}" cy="{y(mean[1])}" r="8"/>'
            f'<text class="name" x="{x(mean[0]) + 13}" y="{y(mean[1]) + 4:g}">{name}</text>\n'
        )
        words.append(f"{name}: mean {mean[0]:.1%} learned, {mean[1]:.1%} kept")
    return svg("seeds", "Three seeds of each method", "; ".join(words), width, height, parts)


def alone(drawing: str) -> str:
    """A drawing as a file of its own: with the report's colours, light and dark, and a ground."""
    style = "\n".join(RULES.findall(stylesheet()))
    box = drawing.split('viewBox="', 1)[1].split('"', 1)[0]
    _, _, width, height = map(float, box.split())
    pad = 16
    framed = f'viewBox="{-pad} {-pad} {width + 2 * pad:g} {height + 2 * pad:g}"'
    start = drawing.replace(f'viewBox="{box}"', f'xmlns="http://www.w3.org/2000/svg" {framed}', 1)
    head, rest = start.split("\n", 1)
    ground = f'<rect x="{-pad}" y="{-pad}" width="100%" height="100%" fill="var(--paper)"/>'
    return f"{head}\n<style>\n{style}\n</style>\n{ground}\n{rest}"


if __name__ == "__main__":
    main()
