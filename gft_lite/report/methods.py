"""The report of methods side by side: of a demo, or of a comparison on a user's file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gft_lite.report.charts import Line, line_chart
from gft_lite.report.comparison import comparison_chart, comparison_table
from gft_lite.report.findings import margin, methods_headline
from gft_lite.report.html import facts, grid, notes, page, section, write_page
from gft_lite.report.html import figure as html_figure
from gft_lite.report.inside import inside_groups
from gft_lite.report.numbers import figure, number, series
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

METHODS_DOCUMENT = "methods.json"
DOCUMENTS = ("demo.json", METHODS_DOCUMENT)


def methods_document(folder: Path) -> Path | None:
    """The file of results of a demo or a comparison, where the folder is one."""
    return next((folder / name for name in DOCUMENTS if (folder / name).is_file()), None)


def write_methods_report(folder: Path, out: Path | None = None) -> Path:
    """Write a self-contained HTML page about a demo or a comparison.

    Args:
        folder: holds demo.json or methods.json and a run directory a method; runs that are gone are
            left out.
        out: the file to write; `report.html` in the folder by default.

    Raises:
        RunError: the folder holds neither, or the file cannot be written.
    """
    found = _read(folder)
    runs = {
        str(row.get("method")): str(row.get("run") or row.get("method"))
        for row in found["rows"]
        if row.get("method") != "base"
    }
    records = {
        method: read_record(RunDir(folder / name))
        for method, name in runs.items()
        if _is_name(name) and (folder / name / "config.yaml").is_file()
    }
    return write_page(out or folder / "report.html", methods_page(found, records))


def methods_page(found: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    """The page as a string."""
    rows: Sequence[Mapping[str, Any]] = found["rows"]
    problems, old_problems = (_problems(records, f) for f in ("target", "old_skill"))
    inside = "gft" if "gft" in records else next(iter(records), "")
    record = records.get(inside)
    title, k = str(found.get("title", "gft-lite demo")), int(number(found, "k") or 8)
    t = found.get("temperature")
    steps = next((n for row in rows if (n := number(row, "steps"))), 0.0)
    seed, cores = found.get("seed", "unknown"), found.get("cores")
    pieces = [f"{steps:.0f} steps", f"seed {seed}", f"{cores} cores" if cores else ""]
    return page(
        title=title,
        kicker=" · ".join([title, *filter(None, pieces)]),
        headline=methods_headline(rows, problems, old_problems),
        lead=str(found.get("lead", "")),
        html=[
            section(
                "Side by side",
                [comparison_chart(rows, k), comparison_table(rows, k, t), notes(_said(found))],
                _precision(rows, problems),
            ),
            section(
                "How it went",
                [grid([*_accuracies(rows, records), _entropies(records), *_losses(records)])],
                CURVES_INTRO,
            ),
            section(
                f"Inside the {label(inside)} run",
                [notes(warnings(record)), grid(_curves(record))] if record else [],
            ),
            section("Inside a group", [inside_groups(record)] if record else [], INSIDE_INTRO),
            section("How it was run", [_machine(found, records), *_settings(records)]),
        ],
    )


def _said(found: Mapping[str, Any]) -> list[str]:
    """What was equal, what was not, and where the learning rates come from."""
    equal = found.get("equal")
    said = [*equal, found.get("rates")] if isinstance(equal, list) else [found.get("rates")]
    return [sentence for sentence in said if isinstance(sentence, str)]


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


def _entropies(records: Mapping[str, Record]) -> str:
    """Entropy of self responses to held-out prompts, the one figure that all methods have."""
    title = "Entropy of self responses"
    lines = [
        Line(label(method), series(record.evals, "entropy_nats_per_token"), colour(method))
        for method, record in records.items()
    ]
    bounds = (0.0, None)
    chart = line_chart("entropies", title, lines, say=figure, bounds=bounds, smooth=False)
    meaning = "Nats per token, on responses that each model samples for held-out prompts."
    return html_figure(title, chart, meaning) if chart else ""


def _losses(records: Mapping[str, Record]) -> list[str]:
    return [
        panel_figure(LOSS, record, prefix=f"{method}-", title=f"Loss of {label(method)}")
        for method, record in records.items()
    ]


def _curves(record: Record) -> list[str]:
    return [panel_figure(panel, record) for panel in PANELS]


def _machine(found: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    cores = found.get("cores")
    pairs = [("Processor cores", str(cores))] if cores else []
    some = next(iter(records.values()), None)
    return facts([*pairs, *(machine(some) if some else [])])


def _settings(records: Mapping[str, Record]) -> list[str]:
    return [settings(record, f"Settings of {label(m)}") for m, record in records.items()]


def _problems(records: Mapping[str, Record], field: str) -> float | None:
    counts = [number(record.last_eval, f"{field}.n") for record in records.values()]
    return min((n for n in counts if n), default=None)


def _read(folder: Path) -> dict[str, Any]:
    file = methods_document(folder)
    if file is None:
        raise RunError(f"{folder} holds no demo and no comparison: no {' or '.join(DOCUMENTS)}")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} cannot be read as JSON ({error}); run it again") from None
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise RunError(f"{file} has no list of rows; run it again")
    return {**found, "rows": [row for row in rows if isinstance(row, dict)]}


def _is_name(name: str) -> bool:
    return re.fullmatch(r"\w[\w.+-]*", name) is not None
