"""A run as markup: where it stands, what to be wary of, and its curves."""

from __future__ import annotations

from collections.abc import Sequence

from gft_lite.report.findings import message
from gft_lite.report.html import grid, notes
from gft_lite.report.numbers import duration, look, number, percent
from gft_lite.report.panels import LOSS, MEMORY, PANELS, TIME, label, panel_figure
from gft_lite.report.run import accuracy_curve, machine
from gft_lite.ui.html import MARKS, empty, progress, styled, text
from gft_lite.ui.queue import Job, Jobs
from gft_lite.ui.train.event_tail import Seen

FIRST = ("reward", "kl", "entropy", "rectified")  # behind loss and accuracy, before the others
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


def listed(job: Job) -> str:
    """A run in one line of the list."""
    step, steps = number(job.status, "step") or 0, number(job.status, "steps")
    done = f" · {step:.0f} of {steps:.0f}" if steps else ""
    return f"{MARKS[job.state]} {job.name} · {STATE_WORDS[job.state]}{done}"


def run_head(seen: Seen, jobs: Jobs) -> str:
    """Name, state and progress of a run, with what it said where it ended early."""
    record, state = seen.record, seen.job.state
    step, steps = number(record.status, "step") or 0, number(record.config, "train.steps") or 1
    model = look(record.config, "model.name")
    kicker = f"{label(record.method)} on {'the demo model' if model == 'tiny' else model}"
    words = f"Step {step:.0f} of {steps:.0f}"
    said = message(record)
    return styled(
        f'<p class="kicker">{text(kicker)}</p>'
        f'<h2 class="run-name">{text(seen.job.name)} <span class="state {state}">'
        f"{MARKS[state]} {STATE_WORDS[state]}</span></h2>",
        progress(step / steps, words),
        f'<p class="meta">{text(" · ".join([words, *_about(seen, jobs)]))}</p>',
        f'<p class="said-so">{text(said)}</p>' if said and state != "running" else "",
    )


def _about(seen: Seen, jobs: Jobs) -> list[str]:
    record, state, out = seen.record, seen.job.state, []
    if state == "queued":
        place = jobs.place(seen.job.name)
        out.append("next in the queue" if place == 1 else f"number {place} in the queue")
    if state == "running" and seen.job.run.stop_file.exists():
        out.append("stops after this step and writes a checkpoint")
    elif state == "running" and record.steps and seen.seconds_left is not None:
        left = seen.seconds_left
        out.append(f"about {duration(left)} left" if left else "measuring held-out accuracy")
    elif state == "running" and not record.steps:
        out.append("measuring the base model first")
    elif state == "interrupted":
        out.append("its process is gone; “Continue” goes on from the last checkpoint")
    elif state == "stopped":
        out.append("“Continue” goes on from the last checkpoint")
    target = number(record.last_eval, "target.greedy_accuracy")
    if target is not None:
        before = number(record.first_eval, "target.greedy_accuracy")
        was = f", {percent(before)} before" if before is not None and record.steps else ""
        out.append(f"{percent(target)} of held-out problems right{was}")
    return out


def run_warnings(sentences: Sequence[str]) -> str:
    """What to be wary of; nothing where nothing stands out."""
    return styled("<h3>Worth a look</h3>", notes(sentences)) if sentences else ""


def run_curves(seen: Seen) -> str:
    """All curves that the run has values for."""
    record = seen.record
    panels = {panel.key: panel for panel in PANELS}
    rest = [panel for key, panel in panels.items() if key not in FIRST]
    ordered = [panels["reward"], LOSS, *(panels[key] for key in FIRST[1:]), MEMORY, TIME, *rest]
    drawn = [accuracy_curve(record), *(panel_figure(panel, record) for panel in ordered)]
    if any(drawn):
        facts = " · ".join(f"{name} {value}" for name, value in machine(record)[:3])
        return styled(grid(drawn), f'<p class="meta">{text(facts)}</p>')
    waits = {
        "queued": "The curves begin when the run before it has ended.",
        "starting": "The model is loading; the curves begin with the first step.",
        "running": "The curves begin with the first step.",
    }
    return empty(
        "No curves yet", waits.get(seen.job.state, "This run ended before its first step.")
    )
