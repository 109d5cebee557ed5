"""Train: the list of runs, progress and curves of the chosen one, stop and continue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.runs import BUSY
from gft_lite.ui.app_state import AppState
from gft_lite.ui.errors import guarded, sentence
from gft_lite.ui.form import QUIET, Form, Updates, Values
from gft_lite.ui.html import panel
from gft_lite.ui.queue import RESUMABLE
from gft_lite.ui.train.event_tail import EventTails
from gft_lite.ui.train.group_inspector import NO_GROUPS, GroupInspector, build_inspector
from gft_lite.ui.train.run_view import NO_RUNS, run_curves, run_head, run_label, run_warnings

REFRESH_SECONDS = 1.5


@dataclass(frozen=True)
class ShownRuns:
    """What a page shows now; nothing is sent to it until this changes.

    labels: (label, name) of every run. name: the chosen run. version: of its event tail.
    progress: its state, whether it is asked to stop, and its place in the queue.
    has_groups: whether it has stored groups.
    """

    labels: tuple[tuple[str, str], ...] = ()
    name: str = ""
    version: tuple[Any, ...] = ()
    progress: tuple[str, bool, int] = ("", False, 0)
    has_groups: bool = False


@dataclass(frozen=True)
class TrainForm:
    """The chosen run, and what the page shows of it."""

    name: str | None
    shown: ShownRuns | None


@dataclass(frozen=True)
class TrainTab:
    """The tab's components and handlers."""

    app_state: AppState
    tails: EventTails
    form: Form[TrainForm]
    head: gr.HTML
    stop: gr.Button
    resume: gr.Button
    warnings: gr.HTML
    curves: gr.HTML
    inspector: GroupInspector

    @property
    def outputs(self) -> set[Any]:
        """All components that `show` updates."""
        panels = {self.head, self.stop, self.resume, self.warnings, self.curves}
        return {*panels, *self.form.inputs, *self.inspector.outputs}

    def show(self, name: str | None = None) -> Updates:
        """Everything about a run; about the first one of the list if it is not found."""
        return self._updates(name, None)

    def choose(self, values: Values) -> Updates:
        """Everything about the run that was chosen from the list."""
        return self.show(self.form.read(values).name)

    def refresh(self, values: Values) -> Updates:
        """What has changed since the last refresh."""
        form = self.form.read(values)
        try:
            return self._updates(form.name, form.shown)
        except Exception as error:  # the next refresh is seconds away: log, but show no message
            sentence(error)
            return gr.skip()

    def request_stop(self, values: Values) -> None:
        """Stop the chosen run after its step, or take it from the queue."""
        self.app_state.jobs.stop(self.form.read(values).name or "")

    def request_resume(self, values: Values) -> None:
        """Queue the chosen run again; it continues from its last checkpoint."""
        self.app_state.jobs.resume(self.form.read(values).name or "")

    def _updates(self, name: str | None, before: ShownRuns | None) -> Updates:
        """What differs from `before`; everything if that is None."""
        jobs = self.app_state.jobs
        labels = tuple((run_label(job), job.name) for job in jobs.list())
        names = [name for _, name in labels]
        if not names:
            return self._without_runs() if before != ShownRuns() else gr.skip()
        if name not in names:
            name, before = names[0], None
        job = jobs.job(name)
        tail = self.tails.tail(job)
        steps = job.run.group_steps()
        progress = (job.state, job.run.stop_file.exists(), jobs.place(name))
        now = ShownRuns(labels, name, tail.version(job), progress, bool(steps))
        if now == before:
            return gr.skip()
        snapshot = self.tails.snapshot(job)
        updates: Updates = {
            self.head: run_head(snapshot, jobs),
            self.stop: gr.Button(visible=job.state in (*BUSY, "queued")),
            self.resume: gr.Button(visible=job.state in RESUMABLE),
            self.warnings: run_warnings(tail.warnings(job)),
            self.curves: run_curves(snapshot),
            self.form["shown"]: now,
        }
        if before is None:
            updates[self.form["name"]] = gr.Radio(choices=list(labels), value=name)
        elif labels != before.labels:
            updates[self.form["name"]] = gr.Radio(choices=list(labels))
        another = before is None or before.name != name or not before.has_groups
        return updates | self.inspector.updates(job.run, steps, snapshot.record.config, another)

    def _without_runs(self) -> Updates:
        hidden = gr.Button(visible=False)
        return {
            self.form["name"]: gr.Radio(choices=[], value=None),
            self.form["shown"]: ShownRuns(),
            self.head: NO_RUNS,
            self.stop: hidden,
            self.resume: hidden,
            self.warnings: "",
            self.curves: "",
            self.inspector.controls: gr.Column(visible=False),
            self.inspector.view: NO_GROUPS,
        }


def build(app_state: AppState) -> TrainTab:
    """Build the tab."""
    shown = gr.State(None)
    with gr.Row(elem_classes="runs"):
        with gr.Column(scale=1, min_width=260):
            runs = gr.Radio(label="Runs", elem_id="run-list", choices=[])
        with gr.Column(scale=3, min_width=320):
            head = panel(NO_RUNS, elem_id="run-head")
            with gr.Row(elem_classes="actions"):
                stop = gr.Button("Stop", visible=False, elem_id="stop", min_width=120)
                resume = gr.Button(
                    "Continue", visible=False, variant="primary", elem_id="continue", min_width=120
                )
            warnings = panel(elem_id="run-warnings")
            with gr.Tabs():
                with gr.Tab("Curves", id="curves"):
                    curves = panel(elem_id="run-curves")
                with gr.Tab("Inside a group", id="inside"):
                    inspector = build_inspector(app_state, runs)
    form = Form(TrainForm, {"name": runs, "shown": shown})
    tab = TrainTab(app_state, EventTails(), form, head, stop, resume, warnings, curves, inspector)
    gr.Timer(REFRESH_SECONDS).tick(
        tab.refresh, form.inputs, tab.outputs, concurrency_limit=4, trigger_mode="once", **QUIET
    )
    choose = guarded(tab.choose)
    runs.input(choose, form.inputs, tab.outputs, trigger_mode="always_last", **QUIET)
    actions: tuple[tuple[gr.Button, Callable[..., None]], ...] = (
        (stop, tab.request_stop),
        (resume, tab.request_resume),
    )
    for button, action in actions:
        button.click(guarded(action), form.inputs, None, **QUIET).then(
            choose, form.inputs, tab.outputs, **QUIET
        )
    return tab
