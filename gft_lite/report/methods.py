"""The report of methods side by side: of a demo, or of a comparison on a user's file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gft_lite.report.charts import Line, Pair, dot_chart, line_chart
from gft_lite.report.findings import margin, methods_headline, warnings
from gft_lite.report.groups import inside_groups
from gft_lite.report.html import facts, grid, notes, page, section, table, text, write_page
from gft_lite.report.html import figure as html_figure
from gft_lite.report.numbers import at_k, duration, figure, number, percent, power, series
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
from gft_lite.runs import RunDir
from gft_lite.types import RunError

Row = Mapping[str, Any]


def _columns(k: int, temperature: object) -> tuple[str, ...]:
    return (
        "Method",
        "Target, greedy",
        at_k("mean", k, temperature),
        at_k("pass", k, temperature),
        "Old skill",
        "KL, nats/token",
        "Steps",
        "Training",
        "Trained tokens",
        "Peak memory",
        "Learning rate",
    )


def _reading(k: int) -> tuple[tuple[str, str], ...]:
    return (
        ("Target, old skill", "Share of held-out problems that the greedy answer gets right."),
        (f"mean@{k}", f"Average over {k} sampled answers a problem."),
        (f"pass@{k}", f"At least one of the {k} is right."),
        ("KL", "How far the model moved on the responses of the base model."),
        ("Training", "Time in optimizer steps, sampling included."),
        ("Trained tokens", "Response tokens that went through the loss."),
        ("Bold", "The highest share among the trained methods."),
    )


def comparison_chart(rows: Sequence[Row], k: int) -> str:
    """What every method learned and kept, in one picture."""
    pairs = [
        Pair(
            label(str(row.get("method", ""))),
            colour(str(row.get("method", ""))),
            number(row, "target_greedy"),
            number(row, "old_skill_greedy"),
        )
        for row in rows
    ]
    title = "Learned and kept"
    chart = dot_chart("pairs", title, pairs)
    caption = "Further right is better for both: the target is what was taught, the old skill is "
    caption += "what the model could do before."
    if not chart:
        return ""
    return f'<div class="beside">\n{html_figure(title, chart, caption)}{facts(_reading(k))}</div>\n'


def comparison_table(rows: Sequence[Row], k: int, temperature: object = None) -> str:
    """All final figures, and what each column means."""
    if not rows:
        return ""
    shown = [_cells(row, rows, k) for row in rows]
    return table("Final figures of every method", _columns(k, temperature), shown)


def _cells(row: Row, rows: Sequence[Row], k: int) -> list[str]:
    method = str(row.get("method", ""))
    sampled = (f"target_mean_at_{k}", f"target_pass_at_{k}")
    tokens, peak = number(row, "trained_tokens"), number(row, "peak_memory_gib")
    trained = method != "base"
    steps = number(row, "steps")
    tried = row.get("learning_rates_tried")
    rates = [power(number({"v": v}, "v")) for v in tried] if isinstance(tried, list) else []
    rate = text(power(number(row, "learning_rate"))) if trained else "–"
    return [
        f'<span class="key {colour(method)}"></span>{text(label(method))}'
        + (f" <small>{text(row['options'])}</small>" if row.get("options") else ""),
        _share(row, "target_greedy", rows) + _interval(row),
        *(_share(row, key, rows) for key in (*sampled, "old_skill_greedy")),
        _three_decimals(number(row, "kl_nats_per_token")),
        f"{steps:.0f}" if trained and steps is not None else "–",
        text(duration(number(row, "seconds"))) if trained else "–",
        f"{tokens:,.0f}" if trained and tokens is not None else "–",
        f"{peak:.1f}\u00a0GiB" if peak is not None else "–",
        rate + (f"<small>tried {text(', '.join(rates))}</small>" if rates and trained else ""),
    ]


def _share(row: Row, key: str, rows: Sequence[Row]) -> str:
    """A share; bold where no trained method has a higher one."""
    value = number(row, key)
    trained = [number(r, key) for r in rows if r.get("method") != "base"]
    best = max((v for v in trained if v is not None), default=None)
    is_best = value is not None and value == best and row.get("method") != "base"
    return f"<b>{percent(value)}</b>" if is_best else percent(value)


def _interval(row: Row) -> str:
    around = row.get("target_interval")
    if not isinstance(around, list) or len(around) != 2:
        return ""
    low, high = (number({"v": value}, "v") for value in around)
    return f"<small>{percent(low)} to {percent(high)}</small>"


def _three_decimals(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}"


METHODS_DOCUMENT = "methods.json"
DOCUMENTS = ("demo.json", METHODS_DOCUMENT)


def methods_document(folder: Path) -> Path | None:
    """The file of results of a demo or a comparison; None if the folder is neither."""
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
    document = _read(folder)
    runs = {
        str(row.get("method")): str(row.get("run") or row.get("method"))
        for row in document["rows"]
        if row.get("method") != "base"
    }
    records = {
        method: read_record(RunDir(folder / name))
        for method, name in runs.items()
        if _is_name(name) and (folder / name / "config.yaml").is_file()
    }
    return write_page(out or folder / "report.html", methods_page(document, records))


def methods_page(document: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    """The page as a string."""
    rows: Sequence[Mapping[str, Any]] = document["rows"]
    problems, old_problems = (_problems(records, f) for f in ("target", "old_skill"))
    shown_method = "gft" if "gft" in records else next(iter(records), "")
    record = records.get(shown_method)
    title, k = str(document.get("title", "gft-lite demo")), int(number(document, "k") or 8)
    t = document.get("temperature")
    steps = next((n for row in rows if (n := number(row, "steps"))), 0.0)
    seed, cores = document.get("seed", "unknown"), document.get("cores")
    pieces = [f"{steps:.0f} steps", f"seed {seed}", f"{cores} cores" if cores else ""]
    return page(
        title=title,
        kicker=" · ".join([title, *filter(None, pieces)]),
        headline=methods_headline(rows, problems, old_problems),
        lead=str(document.get("lead", "")),
        html=[
            section(
                "Side by side",
                [
                    comparison_chart(rows, k),
                    comparison_table(rows, k, t),
                    notes(_remarks(document)),
                ],
                _precision(rows, problems),
            ),
            section(
                "How it went",
                [grid([*_accuracies(rows, records), _entropies(records), *_losses(records)])],
                CURVES_INTRO,
            ),
            section(
                f"Inside the {label(shown_method)} run",
                [notes(warnings(record)), grid(_curves(record))] if record else [],
            ),
            section("Inside a group", [inside_groups(record)] if record else [], INSIDE_INTRO),
            section("How it was run", [_machine(document, records), *_settings(records)]),
        ],
    )


def _remarks(document: Mapping[str, Any]) -> list[str]:
    """What was equal, what was not, and how the learning rates were chosen."""
    equal = document.get("equal")
    sentences = (
        [*equal, document.get("rates")] if isinstance(equal, list) else [document.get("rates")]
    )
    return [sentence for sentence in sentences if isinstance(sentence, str)]


def _precision(rows: Sequence[Mapping[str, Any]], problems: float | None) -> str:
    accuracies = [v for row in rows if (v := number(row, "target_greedy")) is not None]
    if not problems or not accuracies:
        return ""
    points = 100 * margin(max(accuracies), problems)
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


def _machine(document: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    cores = document.get("cores")
    pairs = [("Processor cores", str(cores))] if cores else []
    record = next(iter(records.values()), None)
    return facts([*pairs, *(machine(record) if record else [])])


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
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} cannot be read as JSON ({error}); run it again") from None
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise RunError(f"{file} has no list of rows; run it again")
    return {**document, "rows": [row for row in rows if isinstance(row, dict)]}


def _is_name(name: str) -> bool:
    return re.fullmatch(r"\w[\w.+-]*", name) is not None
