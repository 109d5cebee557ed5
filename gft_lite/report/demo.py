"""The report of a demo: base, SFT, DFT and GFT side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gft_lite.report.charts import Line
from gft_lite.report.comparison import comparison_chart, comparison_table
from gft_lite.report.findings import demo_headline, margin
from gft_lite.report.html import facts, grid, notes, page, section, write_page
from gft_lite.report.inside import inside_groups
from gft_lite.report.numbers import number, series
from gft_lite.report.panels import (
    LOSS,
    PANELS,
    accuracy_figure,
    colour,
    label,
    over_seconds,
    panel_figure,
)
from gft_lite.report.record import Record, read_record
from gft_lite.report.run import CURVES_INTRO, INSIDE_INTRO, machine, settings
from gft_lite.report.warnings import warnings
from gft_lite.runs import RunDir
from gft_lite.types import RunError

SETTING = (
    "The embedded demo model can solve one-step word problems, the old skill, and is taught "
    "three-step ones, the target. Every method sees the same prompts in the same order."
)
CAUTION = (
    "One seed is one draw: another seed can change the order. The data holds wrong experts and "
    "wrong teachers on purpose, as real files do."
)


def write_demo_report(folder: Path, out: Path | None = None) -> Path:
    """Write a self-contained HTML page about a demo.

    Args:
        folder: holds demo.json and one run directory a method; runs that are gone are left out.
        out: the file to write; `report.html` in the folder by default.

    Raises:
        RunError: the folder holds no demo, or the file cannot be written.
    """
    demo = _read_demo(folder)
    methods = [str(row.get("method")) for row in demo["rows"] if row.get("method") != "base"]
    records = {
        method: read_record(RunDir(folder / method))
        for method in methods
        if _is_name(method) and (folder / method / "config.yaml").is_file()
    }
    return write_page(out or folder / "report.html", demo_page(demo, records))


def demo_page(demo: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    """The page as a string."""
    rows: Sequence[Mapping[str, Any]] = demo["rows"]
    problems, old_problems = (_problems(records, f) for f in ("target", "old_skill"))
    gft = records.get("gft")
    steps = next((n for row in rows if (n := number(row, "steps"))), 0.0)
    seed, cores = demo.get("seed", "unknown"), demo.get("cores")
    pieces = [f"{steps:.0f} steps", f"seed {seed}", f"{cores} cores" if cores else ""]
    return page(
        title="gft-lite demo",
        kicker=" · ".join(["gft-lite demo", *filter(None, pieces)]),
        headline=demo_headline(rows, problems, old_problems),
        lead=f"{SETTING} {CAUTION}",
        html=[
            section(
                "Side by side",
                [comparison_chart(rows), comparison_table(rows)],
                _precision(rows, problems),
            ),
            section(
                "How it went",
                [grid([*_accuracies(rows, records), *_losses(records)])],
                CURVES_INTRO,
            ),
            section("Inside the GFT run", [_wary(gft), grid(_curves(gft))] if gft else []),
            section("Inside a group", [inside_groups(gft)] if gft else [], INSIDE_INTRO),
            section("How it was run", [_machine(demo, records), *_settings(records)]),
        ],
    )


def _precision(rows: Sequence[Mapping[str, Any]], problems: float | None) -> str:
    found = [v for row in rows if (v := number(row, "target_greedy")) is not None]
    if not problems or not found:
        return ""
    points = 100 * margin(max(found), problems)
    return (
        f"Each target accuracy is measured on {problems:.0f} held-out problems, so differences "
        f"below about {points:.0f} points may be chance."
    )


def _accuracies(rows: Sequence[Mapping[str, Any]], records: Mapping[str, Record]) -> list[str]:
    """Held-out curves; the measured base is the value before the first step."""
    base = next((row for row in rows if row.get("method") == "base"), {})
    at_start = {
        "target": number(base, "target_greedy"),
        "old_skill": number(base, "old_skill_greedy"),
    }

    def lines(field: str, *, seconds: bool = False) -> list[Line]:
        path, before, out = f"{field}.greedy_accuracy", at_start[field], []
        for method, record in records.items():
            points = over_seconds(record, path) if seconds else series(record.evals, path)
            if points and points[0][0] > 0 and before is not None:
                points = ((0.0, before), *points)
            out.append(Line(label(method), points, colour(method)))
        return out

    return [
        accuracy_figure(
            "target",
            "Target over steps",
            "Held-out accuracy on what is taught, greedy answers.",
            lines("target"),
        ),
        accuracy_figure(
            "target-seconds",
            "Target over training time",
            "The same over seconds spent in steps: methods that sample answers pay for it here.",
            lines("target", seconds=True),
            x_name="seconds",
        ),
        accuracy_figure(
            "old-skill",
            "Old skill over steps",
            "Held-out accuracy on what the model could do before; a fall is forgetting.",
            lines("old_skill"),
        ),
    ]


def _losses(records: Mapping[str, Record]) -> list[str]:
    return [
        panel_figure(LOSS, record, prefix=f"{method}-", title=f"Loss of {label(method)}")
        for method, record in records.items()
    ]


def _curves(record: Record) -> list[str]:
    return [panel_figure(panel, record) for panel in PANELS]


def _wary(record: Record) -> str:
    return notes(warnings(record))


def _machine(demo: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    cores = demo.get("cores")
    pairs = [("Processor cores", str(cores))] if cores else []
    some = next(iter(records.values()), None)
    return facts([*pairs, *(machine(some) if some else [])])


def _settings(records: Mapping[str, Record]) -> list[str]:
    return [settings(record, f"Settings of {label(m)}") for m, record in records.items()]


def _problems(records: Mapping[str, Record], field: str) -> float | None:
    counts = [number(record.last_eval, f"{field}.n") for record in records.values()]
    return min((n for n in counts if n), default=None)


def _read_demo(folder: Path) -> dict[str, Any]:
    file = folder / "demo.json"
    try:
        demo = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} holds no demo: it has no demo.json") from None
    except ValueError as error:
        raise RunError(f"{file} cannot be read as JSON ({error}); run the demo again") from None
    rows = demo.get("rows") if isinstance(demo, dict) else None
    if not isinstance(rows, list):
        raise RunError(f"{file} has no list of rows; run the demo again")
    return {**demo, "rows": [row for row in rows if isinstance(row, dict)]}


def _is_name(method: str) -> bool:
    return method.isidentifier()
