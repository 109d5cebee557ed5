"""Runs: which there are, where they stand, their curves while they train, and stop and continue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.runs import BUSY
from gft_lite.ui.app_state import AppState
from gft_lite.ui.errors import guarded, sentence
from gft_lite.ui.html import panel
from gft_lite.ui.queue import RESUMABLE
from gft_lite.ui.train import group_inspector
from gft_lite.ui.train.event_tail import Follower
from gft_lite.ui.train.run_view import NO_RUNS, listed, run_curves, run_head, run_warnings

LOOK_SECONDS = 1.5
HIDDEN = {"visible": False, "__type__": "update"}
NOTHING_ELSE = (HIDDEN, HIDDEN, "", "", HIDDEN, *[gr.skip()] * 3, group_inspector.NOTHING)


@dataclass(frozen=True)
class TrainTab:
    """What others hook on: `show(name)` gives `outputs` the values that show a run, or the one
    that matters most where none is named."""

    runs: gr.Radio
    outputs: list[Any]
    show: Callable[[str | None], list[Any]]


def choices(app_state: AppState) -> list[tuple[str, str]]:
    """(what a person reads, name) of every run."""
    return [(listed(job), job.name) for job in app_state.jobs.list()]


def build(app_state: AppState) -> TrainTab:
    """The tab."""
    follower = Follower()
    shown = gr.State(())
    with gr.Row(elem_classes="runs"):
        with gr.Column(scale=1, min_width=260):
            runs = gr.Radio(label="Runs", elem_id="run-list", choices=[])
        with gr.Column(scale=3, min_width=320):
            head = panel(NO_RUNS, elem_id="run-head")
            with gr.Row(elem_classes="actions"):
                stop = gr.Button("Stop", visible=False, elem_id="stop", min_width=120)
                go_on = gr.Button(
                    "Continue", visible=False, variant="primary", elem_id="continue", min_width=120
                )
            wary = panel(elem_id="run-warnings")
            with gr.Tabs():
                with gr.Tab("Curves", id="curves"):
                    curves = panel(elem_id="run-curves")
                with gr.Tab("Inside a group", id="inside"):
                    inspector = group_inspector.build(app_state, runs)
    timer = gr.Timer(LOOK_SECONDS)
    outputs = [runs, head, stop, go_on, wary, curves]
    outputs += [inspector.controls, inspector.step, inspector.group, inspector.tau, inspector.view]
    outputs.append(shown)

    def view(chosen: str | None, before: tuple[Any, ...], anew: bool) -> list[Any]:
        """Everything that has changed since `before`."""
        labels = choices(app_state)
        names = [name for _, name in labels]
        if not names and before == (labels,):
            return [gr.skip()] * len(outputs)
        if not names:
            return [gr.Radio(choices=[], value=None), NO_RUNS, *NOTHING_ELSE, (labels,)]
        if chosen not in names:
            chosen, anew = names[0], True
        job = app_state.jobs.job(chosen)
        version = follower.followed(job).version(job)
        waits = (job.state, job.run.stop_file.exists(), app_state.jobs.place(chosen))
        stored = job.run.group_steps()
        now = (labels, version, waits, bool(stored))
        if now == before:
            return [gr.skip()] * len(outputs)
        if anew:
            listing = gr.Radio(choices=labels, value=chosen)
        else:
            listing = gr.Radio(choices=labels) if before[:1] != (labels,) else gr.skip()
        seen = follower.see(job)
        first = anew or len(before) < 4 or before[1][0] != chosen or not before[3]
        return [
            listing,
            run_head(seen, app_state.jobs),
            gr.Button(visible=job.state in (*BUSY, "queued")),
            gr.Button(visible=job.state in RESUMABLE),
            run_warnings(follower.followed(job).warnings(job)),
            run_curves(seen),
            gr.Column(visible=bool(stored)),
            *group_inspector.moved(job.run, stored, seen.record.config, first),
            now,
        ]

    def look(chosen: str | None, before: tuple[Any, ...]) -> list[Any]:
        try:
            return view(chosen, before, False)
        except Exception as error:  # the next look is near: no toast for each
            sentence(error)
            return [gr.skip()] * len(outputs)

    def choose(chosen: str | None) -> list[Any]:
        return view(chosen, (), True)

    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    timer.tick(look, [runs, shown], outputs, concurrency_limit=4, trigger_mode="once", **hidden)
    runs.input(guarded(choose), runs, outputs, trigger_mode="always_last", **hidden)

    @guarded
    def ask_stop(chosen: str) -> None:
        app_state.jobs.stop(chosen)

    @guarded
    def ask_resume(chosen: str) -> None:
        app_state.jobs.resume(chosen)

    for button, ask in ((stop, ask_stop), (go_on, ask_resume)):
        button.click(ask, runs, None, **hidden).then(guarded(choose), runs, outputs, **hidden)
    return TrainTab(runs, outputs, choose)
