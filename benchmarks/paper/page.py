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

from gft_lite.report.charts import Line, line_chart
from gft_lite.report.dots import Pair, dot_chart
from gft_lite.report.numbers import short_percent
from gft_lite.significance import t_interval

Row = dict[str, Any]
BASE = {"target_greedy": 0.025, "old_skill_greedy": 0.995}  # gft_lite/assets/build.json
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
        "cost": cost_table(book),
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
    """What was learned, kept and spent, one line a variant."""
    lines = [
        "| | rate | seeds | target greedy | mean@8 | pass@8 | old skill | KL to base "
        "| trained tokens | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for variant in variants:
        rows = [r for r in book.of(variant.name) if seeds is None or r["seed"] in seeds]
        if not rows:
            lines.append(f"| {variant.label} | | 0 | not run | | | | | | |")
            continue
        cells = [
            variant.label,
            f"{rows[0]['learning_rate']:g}",
            str(len(rows)),
            *(
                share(rows, figure)
                for figure in (
                    "target_greedy",
                    "target_mean_at_8",
                    "target_pass_at_8",
                    "old_skill_greedy",
                )
            ),
            with_interval([r["kl_nats_per_token"] for r in rows], 2),
            f"{statistics.fmean(r['trained_tokens'] for r in rows) / 1000:.0f} k",
            f"{statistics.fmean(r['train_cpu_seconds'] for r in rows):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tau_table(book: Book) -> str:
    """The sweep over τ, seed 0."""
    lines = ["| τ | target greedy | old skill | rectified fraction |", "|---|---|---|---|"]
    for tau, row in tau_rows(book):
        rectified = mean_rectified(row)
        lines.append(
            f"| {tau:g} | {100 * row['target_greedy']:.1f} | {100 * row['old_skill_greedy']:.1f} "
            f"| {'' if rectified is None else f'{100 * rectified:.1f} %'} |"
        )
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


def cost_table(book: Book) -> str:
    """Tokens and seconds to a given accuracy on the way, seed 0."""
    goals = (0.5, 0.7, 0.9)
    lines = [
        "| | " + " | ".join(f"CPU s (tokens) to {100 * g:.0f} %" for g in goals)
        + " | old skill then kept |",
        "|---|" + "---|" * (len(goals) + 1),
    ]  # fmt: skip
    for name in (*(v.name for v in METHODS), "sft-long", "dft-long"):
        rows = [r for r in book.of(name) if r["seed"] == 0]
        if not rows:
            continue
        points = path_of(rows[0])
        cells, kept = [], None
        for goal in goals:
            reached = next((p for p in points if p["target"] >= goal), None)
            cells.append(
                f"{reached['cpu_seconds']:.0f} ({reached['trained_tokens'] / 1000:.0f} k)"
                if reached
                else "–"
            )
            kept = reached["old_skill"] if reached else kept
        cells.append("–" if kept is None else f"{100 * kept:.0f} %")
        lines.append(f"| {VARIANTS[name].label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
    taus = tau_rows(book)
    mixes = [(int(v.label[0]), row) for v in COMPOSITIONS for row in book.of(v.name)[:1]]
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
        "tau": share_chart(
            "tau",
            "GFT over τ",
            [
                line("target", "c-1", {t: r["target_greedy"] for t, r in taus}),
                line("old skill", "c-2", {t: r["old_skill_greedy"] for t, r in taus}),
                line("rectified", "c-3", {t: m for t, r in taus if (m := mean_rectified(r))}),
            ],
            "τ",
        ),
        "composition": share_chart(
            "composition",
            "GFT over the demonstrations in a group of four",
            [
                line("target", "c-1", {d: r["target_greedy"] for d, r in mixes}),
                line("old skill", "c-2", {d: r["old_skill_greedy"] for d, r in mixes}),
            ],
            "demonstrations of 4 responses",
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
        "wrong": grid_chart(
            book, "wrong", {0: "-clean", 20: "", 40: "-wrong-40"}, "% of the experts wrong"
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
            "cpu_seconds": p["cpu_seconds"],
            "trained_tokens": p["trained_tokens"],
            "target": p["target_quick"],
            "old_skill": p["old_skill_quick"],
        }
        for p in row["curve"]
    ]
    end = {
        "cpu_seconds": row["train_cpu_seconds"],
        "trained_tokens": row["trained_tokens"],
        "target": row["target_greedy"],
        "old_skill": row["old_skill_greedy"],
    }
    return [*points, end]


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


def with_interval(values: Sequence[float], digits: int) -> str:
    """Mean ± half-width of the 95 % interval over seeds; the mean alone below three seeds."""
    mean = f"{statistics.fmean(values):.{digits}f}"
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
