"""The group inspector: any stored step, group by group, token by token, and what another τ would
have done to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.report.groups import LEGEND, Look, group_article, numbers
from gft_lite.report.numbers import figure, look, number, percent
from gft_lite.report.record import responses
from gft_lite.runs import RunDir
from gft_lite.types import RunError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.errors import guarded
from gft_lite.ui.html import empty, failure, panel, styled, text

NOTHING = empty(
    "No group to look at yet",
    "Groups are stored with every step: choose a run that has trained for a step or more.",
)
INTRO = (
    "Several answers to one prompt, each rewarded and compared with the mean of its group. Choose "
    "a step and a group; rest the pointer on a token for its figures."
)
COLOURS = [("Probability", "probability"), ("Weight it got", "weight")]


@dataclass(frozen=True)
class Inspector:
    """What others hook on."""

    controls: gr.Column
    step: gr.Slider
    group: gr.Slider
    view: gr.HTML
    tau: gr.Slider


def build(app_state: AppState, runs: gr.Radio) -> Inspector:
    """The inspector of the run that is chosen in `runs`."""
    with gr.Column(visible=False, elem_id="inspector") as controls:
        panel(styled(f'<p class="intro">{text(INTRO)}</p>'))
        with gr.Row():
            step = gr.Slider(
                1, 2, value=1, step=1, label="Step", min_width=240, elem_id="inspect-step"
            )
            group = gr.Slider(
                1, 2, value=1, step=1, label="Group", min_width=240, elem_id="inspect-group"
            )
        with gr.Row():
            tau = gr.Slider(
                0,
                1,
                value=0.1,
                step=0.01,
                label="What if τ were",
                info="Tokens below this probability would count by their probability only.",
                min_width=300,
                elem_id="inspect-tau",
            )
            by = gr.Radio(COLOURS, value="probability", label="Colour tokens by", min_width=240)
            what_if = gr.Checkbox(
                False, label="Show the weights of this τ", min_width=240, elem_id="what-if"
            )
    view = panel(NOTHING, elem_id="group-view")

    @guarded
    def show(name: str | None, at: float, which: float, by: str, tau: float, on: bool) -> Any:
        if not name:
            return gr.skip(), NOTHING
        run = RunDir(app_state.workspace.run(name))
        return group_view(run, int(at), int(which), by, tau, on)

    changed = [step.change, group.change, tau.input, by.change, what_if.change]
    for event in changed:
        event(
            show,
            inputs=[runs, step, group, by, tau, what_if],
            outputs=[group, view],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
    return Inspector(controls, step, group, view, tau)


def group_view(
    run: RunDir, at: int, which: int, by: str = "probability", tau: float = 0.1, on: bool = False
) -> tuple[Any, str]:
    """(the group slider, the group as markup), of the stored step nearest to `at`."""
    stored = run.group_steps()
    if not stored:
        return gr.skip(), NOTHING
    step = min(stored, key=lambda s: abs(s - at))
    try:
        groups = [group for group in run.read_groups(step) if responses(group)]
    except RunError as error:
        return gr.skip(), failure(str(error))
    if not groups:
        return gr.skip(), NOTHING
    place = min(max(1, which), len(groups))
    shown = Look("weight" if by == "weight" else "probability", tau if on else None)
    html = styled(
        LEGEND,
        what_if_line(groups, place, tau),
        group_article(step, groups[place - 1], shown),
    )
    return gr.Slider(maximum=max(2, len(groups)), value=place), html


def moved(
    run: RunDir, stored: list[int], config: Mapping[str, Any], new_run: bool
) -> tuple[Any, Any, Any, Any]:
    """(step, group, tau, view): another run is shown at its last step, the same one only gets
    more steps to choose from."""
    if not stored:
        return gr.skip(), gr.skip(), gr.skip(), NOTHING
    last = max(stored[0] + 1, stored[-1])
    if not new_run:
        return gr.Slider(minimum=stored[0], maximum=last), gr.skip(), gr.skip(), gr.skip()
    tau = tau_of(config)
    group, view = group_view(run, stored[-1], 1, tau=tau)
    step = gr.Slider(minimum=stored[0], maximum=last, value=stored[-1])
    return step, group, gr.Slider(value=tau), view


def what_if_line(groups: Sequence[Mapping[str, Any]], place: int, tau: float) -> str:
    """How many tokens this τ would rectify, in the group shown and in the whole step."""
    here, below_here = _below(groups[place - 1 : place], tau)
    every, below = _below(groups, tau)
    if not every:
        return '<p class="meta">No answer of this step was trained on.</p>'
    return (
        f'<p class="what-if">With τ = <b>{text(figure(tau))}</b>, <b>{below_here:,}</b> of '
        f"{here:,} trained tokens of this group and {below:,} of {every:,} of the step "
        f"({text(percent(below / every))}) would be rectified.</p>"
    )


def _below(groups: Sequence[Mapping[str, Any]], tau: float) -> tuple[int, int]:
    probs = [p for g in groups for r in responses(g) for p in numbers(r, "probs") if p is not None]
    return len(probs), sum(p < tau for p in probs)


def tau_of(config: Mapping[str, Any]) -> float:
    """The τ of a run; the paper's where its method has none."""
    found = number(config, "method.tau") if look(config, "method.name") == "gft" else None
    return 0.1 if found is None else min(1.0, found)
