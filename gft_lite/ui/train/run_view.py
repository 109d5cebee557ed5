"""Markup of a run: its progress, its warnings and its curves."""

from __future__ import annotations

from collections.abc import Sequence

from gft_lite.report.findings import message
from gft_lite.report.html import Markup, render
from gft_lite.report.numbers import duration, look, number, percent
from gft_lite.report.panels import LOSS, MEMORY, PANELS, TIME, label, panel_figure
from gft_lite.report.run import accuracy_curve, machine
from gft_lite.ui.html import empty
from gft_lite.ui.queue import Job, Jobs
from gft_lite.ui.train.event_tail import RunSnapshot

# After the accuracy; the loss follows the first one.
FIRST_PANELS = ("reward", "kl", "entropy", "rectified")
MARKS = {
    "running": "●",
    "starting": "◔",
    "queued": "◷",
    "finished": "✓",
    "stopped": "■",
    "failed": "✕",
    "interrupted": "◌",
    "damaged": "⚠",
    "created": "○",
}
STATE_WORDS = {
    "created": "not started",
    "queued": "waiting",
    "starting": "loading the model",
    "running": "training",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
    "damaged": "damaged",
}
NO_RUNS = empty(
    "No runs yet",
    "Press “Try it” on the first tab, or bring a file under Data and start from Model & method.",
)


def run_label(job: Job) -> str:
    """A run in one line of the list."""
    step, steps = number(job.status, "step") or 0, number(job.status, "steps")
    progress = f" · {step:.0f} of {steps:.0f}" if steps else ""
    return f"{MARKS[job.state]} {job.name} · {STATE_WORDS[job.state]}{progress}"


def run_head(snapshot: RunSnapshot, jobs: Jobs) -> Markup:
    """Name, state and progress of a run, and its message if it ended early."""
    record, state = snapshot.record, snapshot.job.state
    step, steps = number(record.status, "step") or 0, number(record.config, "train.steps") or 1
    model = look(record.config, "model.name")
    return render(
        "ui/run_head.html",
        kicker=f"{label(record.method)} on {'the demo model' if model == 'tiny' else model}",
        name=snapshot.job.name,
        state=state,
        mark=MARKS[state],
        state_words=STATE_WORDS[state],
        share=step / steps,
        progress=f"Step {step:.0f} of {steps:.0f}",
        remarks=_remarks(snapshot, jobs),
        message=message(record) if state != "running" else "",
    )


def _remarks(snapshot: RunSnapshot, jobs: Jobs) -> list[str]:
    record, state, remarks = snapshot.record, snapshot.job.state, []
    if state == "queued":
        place = jobs.place(snapshot.job.name)
        remarks.append("next in the queue" if place == 1 else f"number {place} in the queue")
    if state == "running" and snapshot.job.run.stop_file.exists():
        remarks.append("stops after this step and writes a checkpoint")
    elif state == "running" and record.steps and snapshot.seconds_left is not None:
        left = snapshot.seconds_left
        remarks.append(f"about {duration(left)} left" if left else "measuring held-out accuracy")
    elif state == "running" and not record.steps:
        remarks.append("measuring the base model first")
    elif state == "interrupted":
        remarks.append("its process has ended; “Continue” starts from the last checkpoint")
    elif state == "stopped":
        remarks.append("“Continue” starts from the last checkpoint")
    accuracy = number(record.last_eval, "target.greedy_accuracy")
    if accuracy is not None:
        before = number(record.first_eval, "target.greedy_accuracy")
        change = f", {percent(before)} before" if before is not None and record.steps else ""
        remarks.append(f"{percent(accuracy)} of held-out problems right{change}")
    return remarks


def run_warnings(sentences: Sequence[str]) -> Markup:
    """Warnings about a run; empty if there are none."""
    return render("ui/run_warnings.html", warnings=sentences) if sentences else Markup()


def run_curves(snapshot: RunSnapshot) -> Markup:
    """All curves that the run has values for."""
    record = snapshot.record
    panels = {panel.key: panel for panel in PANELS}
    rest = [panel for key, panel in panels.items() if key not in FIRST_PANELS]
    first = [panels["reward"], LOSS, *(panels[key] for key in FIRST_PANELS[1:])]
    ordered = [*first, MEMORY, TIME, *rest]
    figures = [accuracy_curve(record), *(panel_figure(panel, record) for panel in ordered)]
    if any(figures):
        facts = [f"{name} {value}" for name, value in machine(record)[:3]]
        return render("ui/curves.html", figures=[Markup(figure) for figure in figures], facts=facts)
    todo = {
        "queued": "The curves begin when the run before it has ended.",
        "starting": "The model is loading; the curves begin with the first step.",
        "running": "The curves begin with the first step.",
    }
    return empty(
        "No curves yet", todo.get(snapshot.job.state, "This run ended before its first step.")
    )
