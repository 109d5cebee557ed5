"""The report of one run, stages of a pipeline included."""

from __future__ import annotations

from pathlib import Path

from gft_lite.memory import GIB
from gft_lite.report.charts import Line
from gft_lite.report.findings import message, run_headline, warnings
from gft_lite.report.groups import inside_groups
from gft_lite.report.html import (
    details,
    facts,
    grid,
    notes,
    page,
    pre,
    section,
    table,
    text,
    tiles,
    write_page,
)
from gft_lite.report.numbers import (
    MISSING,
    at_k,
    duration,
    figure,
    look,
    number,
    percent,
    power,
    series,
    total,
)
from gft_lite.report.panels import LOSS, MEMORY, PANELS, TIME, accuracy_figure, label, panel_figure
from gft_lite.report.record import Record, read_record
from gft_lite.runs import RunDir, damaged_groups, stage_number

CURVES_INTRO = (
    "One value a step. In long runs the strong line is a running mean and the faint one behind it "
    "the single steps."
)
INSIDE_INTRO = (
    "What a step is made of: several answers to one prompt, each rewarded, each compared with the "
    "mean of its group."
)
STAGES_INTRO = (
    "Each stage continues the adapter of the one before; figures are those at its end. The KL is "
    "measured to the reference of the stage."
)


def write_run_report(run: RunDir, out: Path | None = None) -> Path:
    """Write a self-contained HTML page about a run, in whatever state it is.

    Args:
        run: the run directory; it is only read.
        out: the file to write; `report.html` in the run directory by default.

    Raises:
        RunError: the file cannot be written.
    """
    record = read_record(run)
    return write_page(out or run.path / "report.html", run_page(record))


def run_page(record: Record) -> str:
    """The page as a string."""
    reason = message(record)
    return page(
        title=f"{record.name} · gft-lite",
        kicker=f"gft-lite run · {record.name} · {' → '.join(map(label, record.methods))}",
        headline=run_headline(record),
        lead=_lead(record),
        html=[
            notes([f"The run ended early: {reason}"]) if reason else "",
            tiles(_headline_figures(record)),
            section("Worth a look", [notes([*warnings(record), *damaged_groups(record.run)])]),
            section("Stages", [stage_table(record)], STAGES_INTRO),
            section("Curves", [run_curves(record)], CURVES_INTRO),
            section("Inside a group", [inside_groups(record)], INSIDE_INTRO),
            section(
                "How it was run",
                [
                    facts(machine(record)),
                    settings(record),
                    *(settings(stage, f"Settings of {stage.name}") for stage in record.stages),
                ],
            ),
        ],
    )


def machine(record: Record) -> list[tuple[str, str]]:
    """Where and with what the run was computed, from its `started` events."""
    if not record.starts:
        return []
    last = record.starts[-1]
    versions = last.get("versions")
    shown = versions if isinstance(versions, dict) else {}
    pairs = [
        ("Device", last.get("device")),
        ("Precision", last.get("dtype")),
        ("Backend", _with_reason(last.get("backend"), last.get("backend_reason"))),
        ("Memory", _memory(record)),
        ("Trainable parameters", _count(last.get("trainable_parameters"))),
        ("Training examples", _count(last.get("examples"))),
        ("Rows left out", _count(last.get("examples_left_out"))),
        ("Bad rows dropped", _count(last.get("bad_rows_dropped"))),
        ("Python", last.get("python")),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in shown.items())),
        ("Started", _times(len(record.starts)) if not record.stages else None),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "", "0")]


def settings(record: Record, title: str = "Settings") -> str:
    """The resolved configuration, folded."""
    return details(title, pre(record.config_yaml)) if record.config_yaml.strip() else ""


def _headline_figures(record: Record) -> list[tuple[str, str, str]]:
    last, first = record.last_eval, record.first_eval
    k, temperature = number(last, "target.k"), number(last, "target.temperature")
    problems = number(last, "target.n")
    out = []
    for name, path, before in (
        ("Held out, greedy", "target.greedy_accuracy", first),
        (at_k("mean", k or 0, temperature), "target.mean_at_k", {}),
        (at_k("pass", k or 0, temperature), "target.pass_at_k", {}),
        ("Old skill, greedy", "old_skill.greedy_accuracy", first),
    ):
        value, was = number(last, path), number(before, path)
        remark = f"{percent(was)} before" if was is not None else ""
        if not remark and problems and path == "target.greedy_accuracy":
            remark = f"of {problems:.0f} problems"
        out += [(name, percent(value), remark)] if value is not None else []
    if (entropy := number(last, "entropy_nats_per_token")) is not None:
        was = number(first, "entropy_nats_per_token")
        remark = f", {figure(was)} before" if was is not None else ""
        out.append(("Entropy", figure(entropy), f"nats per token{remark}"))
    if (moved := number(last, "drift.kl_nats_per_token")) is not None:
        out.append(("KL from the base", figure(moved), "nats per token"))
    if record.steps and (reward := number(record.steps[-1], "reward_self")) is not None:
        out.append(("Own reward, last step", figure(reward), ""))
    rate = number(record.config, "train.learning_rate")
    if rate is not None and not record.stages:
        out.append(("Learning rate", power(rate), ""))
    if (peak := _peak_gib(record)) is not None:
        out.append(("Peak memory", f"{peak:.1f}\u00a0GiB", ""))
    return out


def _lead(record: Record) -> str:
    started = record.starts[-1] if record.starts else {}
    model, device, dtype = (
        look(record.config, "model.name"),
        started.get("device"),
        started.get("dtype"),
    )
    spent = f"{duration(record.seconds)} of training" if record.steps else ""
    where = ", ".join(str(part) for part in (device, dtype) if part)
    return " · ".join(part for part in (str(model or ""), spent, where) if part)


def run_curves(record: Record, *, prefix: str = "") -> str:
    """Every curve of a run as a grid; `prefix` keeps ids apart where several share a document."""
    panels = (LOSS, *PANELS, TIME, MEMORY)
    drawn = [panel_figure(panel, record, prefix=prefix) for panel in panels]
    return grid([accuracy_curve(record, prefix), *drawn])


def accuracy_curve(record: Record, prefix: str = "") -> str:
    """Held-out accuracy of target and old skill over the steps; nothing where not measured."""
    lines = [
        Line(name, series(record.evals, f"{field}.greedy_accuracy"), css)
        for name, field, css in (("target", "target", "c-1"), ("old skill", "old_skill", "c-2"))
    ]
    counted = [
        f"{n:.0f} of the {name}"
        for name, field in (("target", "target"), ("old skill", "old_skill"))
        if (n := number(record.last_eval, f"{field}.n"))
    ]
    meaning = "Share of problems, never trained on, that the greedy answer gets right"
    meaning += f": {', '.join(counted)}." if counted else "."
    return accuracy_figure(f"{prefix}accuracy", "Held-out accuracy", meaning, lines)


def _memory(record: Record) -> str | None:
    """The forecast beside what was measured, where both speak of the same."""
    tensors = number(record.starts[-1], "forecast.tensors")
    measured = _peak_gib(record)
    if tensors is None or measured is None:
        return None
    expected = f"forecast {tensors / GIB:.2f}\u00a0GiB of tensors"
    if str(record.starts[-1].get("device")).startswith("cuda"):
        return f"{expected}, measured {measured:.2f}\u00a0GiB at the peak"
    return (
        f"{expected}; the process held {measured:.2f}\u00a0GiB with Python and its libraries, "
        "which is no measure of the forecast"
    )


def _peak_gib(record: Record) -> float | None:
    peaks = [value for _, value in series(record.steps, "peak_memory_gib")]
    return max(peaks, default=None)


def _times(starts: int) -> str | None:
    return f"{starts} times, resumed from a checkpoint" if starts > 1 else None


def _count(value: object) -> str | None:
    return f"{value:,}" if isinstance(value, int) else None


def _with_reason(value: object, reason: object) -> str | None:
    return f"{value} ({reason})" if value and reason else str(value) if value else None


STAGE_COLUMNS = (
    "Stage",
    "Reference",
    "Steps",
    "Learning rate",
    "Target, greedy",
    "mean@k",
    "pass@k",
    "Old skill",
    "KL, nats/token",
    "Trained tokens",
    "Training",
)


def stage_table(record: Record) -> str:
    """One line a stage that has begun; nothing for a run without stages."""
    if not record.stages:
        return ""
    return table(
        "The stages of this run", STAGE_COLUMNS, [_stage_cells(stage) for stage in record.stages]
    )


def _stage_cells(stage: Record) -> list[str]:
    last, done = stage.last_eval, stage.state == "finished"
    moved = number(last, "drift.kl_nats_per_token")
    state = "" if done else f"<small>{text(stage.state)}</small>"
    return [
        f"{stage_number(stage.run.path)} {text(label(stage.method))}{state}",
        text(str(look(stage.config, "model.reference") or MISSING)),
        str(len(stage.steps)),
        power(number(stage.config, "train.learning_rate")),
        percent(number(last, "target.greedy_accuracy")),
        percent(number(last, "target.mean_at_k")),
        percent(number(last, "target.pass_at_k")),
        percent(number(last, "old_skill.greedy_accuracy")),
        MISSING if moved is None else f"{moved:z.3f}",
        f"{total(stage.steps, 'trained_tokens'):,.0f}",
        duration(stage.seconds),
    ]
