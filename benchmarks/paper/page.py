"""Draw the figures of docs/results/ and refresh the tables in its README from runs.jsonl.

    python benchmarks/paper/page.py

The sentences of the page are written by hand; only what stands between `<!-- table NAME -->` and
`<!-- end -->` is replaced.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from figures import line, standalone
from run import RESULTS, best_rate, read
from runaway import draws_self_responses, entropies, first_above, signs
from variants import (
    ABLATIONS,
    COMPOSITIONS,
    DEMO_SIZES,
    FROM_WARM,
    METHODS,
    PASS_AT,
    PIPELINES,
    RECTIFY,
    SHORTCUT,
    TAUS,
    VARIANTS,
    WARM,
    Variant,
)

from gft_lite.evaluation.statistics import t_interval
from gft_lite.report.charts import Line, Pair, dot_chart, line_chart
from gft_lite.report.numbers import short_percent

Row = dict[str, Any]
BASE = {"target_greedy": 0.025, "old_skill_greedy": 0.995}  # gft_lite/assets/build.json
MARK = " †"  # a run with a sign of runaway is among those of the line
REACHED = 0.8
COLOURS = {"sft": "c-sft", "dft": "c-dft", "gft": "c-gft", "grpo": "c-grpo", "base": "c-base"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    folder: Path = parser.parse_args().out
    book = Book(read(folder / "runs.jsonl"))
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8")
    for name, svg in drawings(book).items():
        if svg and f"({name}.svg)" in text:
            (folder / f"{name}.svg").write_text(standalone(svg), encoding="utf-8")
    for name, table in tables(book).items():
        mark = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, found = mark.subn(lambda m, new=table: f"{m[1]}\n{new}\n\n{m[2]}", text)
        if found != 1:
            raise SystemExit(f"{page}: wants one place for table {name}, has {found}")
    page.write_text(text, encoding="utf-8")


class Book:
    """The recorded runs, by variant."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def of(self, name: str, *, rate: float | None = None) -> list[Row]:
        """The runs of a variant at its best (or a given) rate, by seed."""
        rate = rate or best_rate(VARIANTS[name], self.rows)
        return sorted(
            (
                row
                for row in self.rows
                if row["kind"] == "train" and row["variant"] == name
                and row["learning_rate"] == rate
            ),
            key=lambda row: row["seed"],
        )  # fmt: skip

    def passes(self, name: str) -> Row | None:
        """pass@k of a variant."""
        return next((r for r in self.rows if r["kind"] == "passes" and r["variant"] == name), None)

    def first(self, name: str, figure: str, *, rate: float | None = None) -> float | None:
        """One figure of the run with seed 0."""
        found = [row for row in self.of(name, rate=rate) if row["seed"] == 0]
        return float(found[0][figure]) if found else None


# --- tables -------------------------------------------------------------------------------------


def tables(book: Book) -> dict[str, str]:
    """Every table of the page, as Markdown."""
    gft = VARIANTS["gft"]
    return {
        "methods": method_table(book, METHODS),
        "differences": difference_table(book),
        "runaway": runaway_table(book),
        "ablation": method_table(book, (VARIANTS["sft-mix"], *ABLATIONS, gft)),
        "rectify": method_table(
            book,
            (gft, RECTIFY[0], VARIANTS["gft-no-mix"], RECTIFY[1], VARIANTS["sft-gft"], RECTIFY[2]),
        ),
        "composition": method_table(book, COMPOSITIONS),
        "tau": tau_table(book),
        "pipelines": method_table(
            book, (VARIANTS["sft"], VARIANTS["grpo"], gft, *PIPELINES), seeds={0}
        ),
        "passes": pass_table(book),
        "reached": reached_table(book),
        "demonstrations": grid(
            book, [(f"{n} demonstrations", suffix_of_size(n)) for n in DEMO_SIZES]
        ),
        "wrong": grid(
            book, [("none wrong", "-clean"), ("20 % wrong", ""), ("40 % wrong", "-wrong-40")]
        ),
        "warm": method_table(book, (WARM, *FROM_WARM)),
        "shortcut": method_table(book, SHORTCUT),
    }


def method_table(book: Book, variants: Iterable[Variant], *, seeds: set[int] | None = None) -> str:
    """What was learned, kept and spent at the end of training, one line a variant."""
    variants = tuple(variants)
    if not any(book.of(variant.name) for variant in variants):
        return "Not run yet."
    lines = [
        "| | rate | seeds | target greedy | mean@8 | old skill | KL to base | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for variant in variants:
        rows = [r for r in book.of(variant.name) if seeds is None or r["seed"] in seeds]
        if not rows:
            lines.append(f"| {variant.label} | | 0 | not run | | | | |")
            continue
        cells = [
            variant.label + mark_of(rows),
            f"{rows[0]['learning_rate']:g}",
            str(len(rows)),
            *(
                share(rows, figure)
                for figure in ("target_greedy", "target_mean_at_8", "old_skill_greedy")
            ),
            with_interval([r["kl_nats_per_token"] for r in rows], 2),
            f"{statistics.fmean(r['train_cpu_seconds'] for r in rows):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tau_table(book: Book) -> str:
    """The sweep over τ, seed 0: target / old skill over the steps."""
    steps = sorted({p["step"] for _, row in tau_rows(book) for p in row["curve"]} - {0})
    lines = [
        "| τ | " + " | ".join(f"step {step}" for step in steps) + " | end | mean@8, end "
        "| rectified fraction |",
        "|---|" + "---|" * (len(steps) + 3),
    ]
    for tau, row in tau_rows(book):
        rectified = mean_rectified(row)
        points = {p["step"]: (percent(p["target"]), percent(p["old_skill"])) for p in path_of(row)}
        cells = [
            f"{tau:g}{mark_of([row])}",
            *(" / ".join(points[step]) for step in steps),
            f"{100 * row['target_greedy']:.1f} / {100 * row['old_skill_greedy']:.1f}",
            f"{100 * row['target_mean_at_8']:.1f}",
            "" if rectified is None else f"{100 * rectified:.1f} %",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tau_rows(book: Book) -> list[tuple[float, Row]]:
    """(τ, run) at GFT's rate with seed 0."""
    named = [(0.0, "no-dcr"), (0.1, "gft"), *((float(v.name[4:]), v.name) for v in TAUS)]
    found = []
    for tau, name in named:
        rows = [r for r in book.of(name, rate=5e-4) if r["seed"] == 0]
        found += [(tau, rows[0])] if rows else []
    return found


def mean_rectified(row: Row) -> float | None:
    """Mean over the run of the share of trained tokens below τ."""
    values = [p["rectified_fraction"] for p in row["curve"] if "rectified_fraction" in p]
    return statistics.fmean(values) if values else None


def pass_table(book: Book) -> str:
    """mean@k beside true pass@k."""
    ks = ("1", "8", "32", "128")
    lines = [
        "| | mean@128 | " + " | ".join(f"pass@{k}" for k in ks) + " |",
        "|---|---|" + "---|" * len(ks),
    ]
    for name in PASS_AT:
        if row := book.passes(name):
            shares = [row["mean_at_128"], *(row["pass_at"][k] for k in ks)]
            lines.append(f"| {label_of(name)} | " + " | ".join(f"{100 * s:.1f}" for s in shares))
            lines[-1] += " |"
    return "\n".join(lines)


def reached_table(book: Book) -> str:
    """The first measurement with enough of the target: its cost and what is kept, by seed."""
    share = f"{100 * REACHED:.0f} %"
    lines = [
        f"| | runs that reach {share} | at step | CPU s | old skill then |",
        "|---|---|---|---|---|",
    ]
    names = (*(v.name for v in (*METHODS, *ABLATIONS, RECTIFY[0])), "sft-long", "dft-long")
    for name in names:
        rows = book.of(name)
        reached = [p for row in rows if (p := first_reached(row))]
        cells = [
            VARIANTS[name].label + mark_of(rows),
            f"{len(reached)} of {len(rows)}",
            *(
                ", ".join(each) or "–"
                for each in (
                    [str(p["step"]) for p in reached],
                    [f"{p['cpu_seconds']:.0f}" for p in reached],
                    [percent(p["old_skill"]) for p in reached],
                )
            ),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference_table(book: Book) -> str:
    """GFT minus each other method, paired by seed."""
    lines = ["| GFT minus | target greedy | old skill |", "|---|---|---|"]
    gft = {row["seed"]: row for row in book.of("gft")}
    for variant in (*METHODS, *ABLATIONS):
        if variant.name == "gft":
            continue
        rows = [row for row in book.of(variant.name) if row["seed"] in gft]
        cells = [
            with_interval([100 * (gft[r["seed"]][figure] - r[figure]) for r in rows], 1, sign="+")
            for figure in ("target_greedy", "old_skill_greedy")
        ]
        lines.append("| " + " | ".join((variant.label + mark_of(rows), *cells)) + " |")
    return "\n".join(lines)


def runaway_table(book: Book) -> str:
    """Every run of the page with a sign of runaway, GFT's own runs, and the rest in one line."""
    lines = [
        "| run | seed | entropy at first | last recorded | first above 0.5 "
        "| target: before, at the end | mean@8 | signs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rest: list[Row] = []
    for variant in VARIANTS.values():
        for row in book.of(variant.name):
            if variant.name == "gft" or signs(row):
                lines.append(runaway_line(variant, row))
            elif draws_self_responses(row):
                rest.append(row)
    highest = max(max(entropies(row).values()) for row in rest)
    lines.append(
        f"| {len(rest)} other runs with self responses | | | highest at any time: {highest:.2f} "
        "| | | | none |"
    )
    return "\n".join(lines)


def runaway_line(variant: Variant, row: Row) -> str:
    """A run's entropy at both ends of what is recorded, and how it ended."""
    recorded = list(entropies(row).items())
    (_, first), (step, last) = recorded[0], recorded[-1]
    above = first_above(row)
    cells = (
        f"{variant.label} (`{variant.name}`)",
        str(row["seed"]),
        f"{first:.2f}",
        f"{last:.2f}",
        f"step {above}" if above else f"not by step {step}",
        f"{percent(row['curve'][-1]['target_quick'])}, {100 * row['target_greedy']:.1f}",
        f"{100 * row['target_mean_at_8']:.1f}",
        signs(row) or "none",
    )
    return "| " + " | ".join(cells) + " |"


def grid(book: Book, columns: Sequence[tuple[str, str]]) -> str:
    """Target / old skill of SFT, DFT and GFT over a changed data file, seed 0."""
    lines = [
        "| target / old skill | " + " | ".join(name for name, _ in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for method in ("sft", "dft", "gft"):
        cells = []
        for _, suffix in columns:
            target, old = (
                book.first(method + suffix, figure, rate=rate_of(method))
                for figure in ("target_greedy", "old_skill_greedy")
            )
            cells.append(
                "not run"
                if target is None or old is None
                else f"{100 * target:.1f} / {100 * old:.1f}"
            )
        lines.append(f"| {label_of(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


# --- figures ------------------------------------------------------------------------------------


def drawings(book: Book) -> dict[str, str]:
    """Every figure of the page, as inline SVG."""
    four = ("sft", "dft", "grpo", "gft")
    return {
        "methods": dot_chart(
            "methods",
            "What each method learned and what it kept",
            [Pair("base", "c-base", BASE["target_greedy"], BASE["old_skill_greedy"])]
            + [
                Pair(
                    v.label,
                    COLOURS.get(v.name, "c-base"),
                    statistics.fmean(r["target_greedy"] for r in rows),
                    statistics.fmean(r["old_skill_greedy"] for r in rows),
                )
                for v in METHODS
                if (rows := book.of(v.name))
            ],
        ),
        "kept": share_chart(
            "kept",
            "Old skill over steps, mean over seeds",
            [line(label_of(n), COLOURS[n], mean_curve(book, n, "old_skill_quick")) for n in four],
        ),
        "learned": share_chart(
            "learned",
            "Target accuracy over steps, mean over seeds",
            [line(label_of(n), COLOURS[n], mean_curve(book, n, "target_quick")) for n in four],
        ),
        "passes": share_chart(
            "passes",
            "pass@k",
            [
                line(
                    label_of(n),
                    COLOURS[n],
                    {math.log2(int(k)): share for k, share in row["pass_at"].items()},
                )
                for n in PASS_AT
                if (row := book.passes(n))
            ],
            "k as a power of two",
        ),
        "cost_seconds": cost_chart(book, "cpu_seconds", "CPU seconds of training", 1),
        "cost_tokens": cost_chart(book, "trained_tokens", "thousand trained tokens", 1000),
        "demonstrations": grid_chart(
            book, "demonstrations", {n: suffix_of_size(n) for n in DEMO_SIZES},
            "expert demonstrations known",
        ),
    }  # fmt: skip


def share_chart(name: str, title: str, lines: Sequence[Line], x_name: str = "step") -> str:
    """Shares between 0 and 100 %, over whatever the x axis counts."""
    return line_chart(name, title, lines, say=short_percent, bounds=(0.0, 1.0), x_name=x_name)


def cost_chart(book: Book, cost: str, x_name: str, unit: int) -> str:
    """Target accuracy against what it cost, seed 0."""
    lines = []
    for name, source in (
        ("sft", "sft-long"),
        ("dft", "dft-long"),
        ("grpo", "grpo"),
        ("gft", "gft"),
    ):
        rows = [r for r in book.of(source) or book.of(name) if r["seed"] == 0]
        if rows:
            points = {p[cost] / unit: p["target"] for p in path_of(rows[0])}
            lines.append(line(label_of(name), COLOURS[name], points))
    return share_chart(
        cost,
        f"Target accuracy against {x_name}",
        lines,
        x_name,
    )


def grid_chart(book: Book, name: str, columns: dict[int, str], x_name: str) -> str:
    """Target accuracy of SFT, DFT and GFT over a changed data file, seed 0."""
    lines = []
    for method in ("sft", "dft", "gft"):
        points = {
            float(x): value
            for x, suffix in columns.items()
            if (value := book.first(method + suffix, "target_greedy", rate=rate_of(method)))
            is not None
        }
        lines.append(line(label_of(method), COLOURS[method], points))
    return share_chart(name, f"Target accuracy over {x_name}", lines, x_name)


# --- parts --------------------------------------------------------------------------------------


def path_of(row: Row) -> list[Row]:
    """Points of a run from its start to its end, as accuracy against cost."""
    points = [
        {
            "step": p["step"],
            "cpu_seconds": p["cpu_seconds"],
            "trained_tokens": p["trained_tokens"],
            "target": p["target_quick"],
            "old_skill": p["old_skill_quick"],
        }
        for p in row["curve"]
    ]
    end = {
        "step": row["steps"],
        "cpu_seconds": row["train_cpu_seconds"],
        "trained_tokens": row["trained_tokens"],
        "target": row["target_greedy"],
        "old_skill": row["old_skill_greedy"],
    }
    return [*points, end]


def first_reached(row: Row) -> Row | None:
    """The first measurement of a run with `REACHED` of the target."""
    return next((point for point in path_of(row) if point["target"] >= REACHED), None)


def mark_of(rows: Iterable[Row]) -> str:
    """What follows a label when a run of its line shows a sign of runaway."""
    return MARK if any(signs(row) for row in rows) else ""


def percent(value: float) -> str:
    return f"{100 * value:.0f}"


def mean_curve(book: Book, name: str, figure: str) -> dict[float, float]:
    """step → mean over seeds of a figure measured on the way; the end from the final figures."""
    rows = book.of(name)
    out: dict[float, float] = {}
    for step in sorted({p["step"] for row in rows for p in row["curve"]}):
        out[step] = statistics.fmean(
            p[figure] for row in rows for p in row["curve"] if p["step"] == step
        )
    if rows:
        final = figure.replace("quick", "greedy")
        out[rows[0]["steps"]] = statistics.fmean(row[final] for row in rows)
    return out


def share(rows: Sequence[Row], figure: str) -> str:
    return with_interval([100 * row[figure] for row in rows], 1)


def with_interval(values: Sequence[float], digits: int, *, sign: str = "") -> str:
    """Mean ± half-width of the 95 % interval over seeds; the mean alone below three seeds."""
    mean = f"{statistics.fmean(values):{sign}.{digits}f}"
    half = t_interval(values)
    return mean if half is None else f"{mean} ± {half:.{digits}f}"


def rate_of(method: str) -> float:
    return 5e-4 if method == "gft" else 1e-3


def suffix_of_size(n: int) -> str:
    return "" if n == DEMO_SIZES[-1] else f"-demos-{n}"


def label_of(name: str) -> str:
    return "base" if name == "base" else VARIANTS[name].label


if __name__ == "__main__":
    main()
