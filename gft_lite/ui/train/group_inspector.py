"""The group inspector: every answer and token of a stored step, and the effect of another τ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr

from gft_lite.report.groups import LEGEND, Look, group_article, numbers
from gft_lite.report.html import Markup, render
from gft_lite.report.numbers import figure, look, number, percent
from gft_lite.report.record import responses
from gft_lite.runs import RunDir
from gft_lite.types import RunError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.errors import guarded
from gft_lite.ui.form import QUIET, Form, Updates, Values
from gft_lite.ui.html import empty, failure, heading, panel

Group = Mapping[str, Any]

NO_GROUPS = empty(
    "No group to look at yet",
    "Groups are stored with every step: choose a run that has trained for at least one step.",
)
INTRO = (
    "Several answers to one prompt, each with its reward, compared with the mean of its group. "
    "Choose a step and a group; rest the pointer on a token for its numbers."
)
COLOURS = [("Probability", "probability"), ("Weight", "weight")]
PAPER_TAU = 0.1


@dataclass(frozen=True)
class GroupForm:
    """The chosen run, step and group, and how tokens are coloured.

    what_if: whether tokens show the weights that `tau` would give them.
    """

    name: str | None
    step: float
    group: float
    colour: str
    tau: float
    what_if: bool


@dataclass(frozen=True)
class GroupInspector:
    """The inspector's components and handlers."""

    app_state: AppState
    form: Form[GroupForm]
    controls: gr.Column
    view: gr.HTML

    @property
    def outputs(self) -> set[Any]:
        """All components that `updates` changes."""
        sliders = {self.form["step"], self.form["group"], self.form["tau"]}
        return {*sliders, self.controls, self.view}

    def show(self, values: Values) -> Updates:
        """The chosen group."""
        form = self.form.read(values)
        if not form.name:
            return {self.view: NO_GROUPS}
        return self._shown(RunDir(self.app_state.workspace.run(form.name)), form)

    def updates(
        self, run: RunDir, steps: Sequence[int], config: Mapping[str, Any], another: bool
    ) -> Updates:
        """What changes when a run has new steps, or when another run is chosen.

        Args:
            run: the run.
            steps: its steps with stored groups.
            config: its configuration.
            another: whether it was not shown before; its last step is shown then.
        """
        if not steps:
            return {self.controls: gr.Column(visible=False), self.view: NO_GROUPS}
        updates: Updates = {self.controls: gr.Column(visible=True)}
        last = max(steps[0] + 1, steps[-1])
        if not another:
            return updates | {self.form["step"]: gr.Slider(minimum=steps[0], maximum=last)}
        tau = tau_of(config)
        form = GroupForm(run.path.name, steps[-1], 1, "probability", tau, False)
        return {
            **updates,
            self.form["step"]: gr.Slider(minimum=steps[0], maximum=last, value=steps[-1]),
            self.form["tau"]: gr.Slider(value=tau),
            **self._shown(run, form),
        }

    def _shown(self, run: RunDir, form: GroupForm) -> Updates:
        group, html = group_view(run, form)
        return {self.view: html} | ({} if group is None else {self.form["group"]: group})


def build_inspector(app_state: AppState, runs: gr.Radio) -> GroupInspector:
    """Build the inspector of the run that is chosen in `runs`."""
    with gr.Column(visible=False, elem_id="inspector") as controls:
        panel(heading("", INTRO))
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
                value=PAPER_TAU,
                step=0.01,
                label="Another τ",
                info="Tokens below this probability would be rectified: weighted by it.",
                min_width=300,
                elem_id="inspect-tau",
            )
            colour = gr.Radio(COLOURS, value="probability", label="Colour tokens by", min_width=240)
            what_if = gr.Checkbox(
                False, label="Show the weights of this τ", min_width=240, elem_id="what-if"
            )
    view = panel(NO_GROUPS, elem_id="group-view")
    form = Form(
        GroupForm,
        {
            "name": runs,
            "step": step,
            "group": group,
            "colour": colour,
            "tau": tau,
            "what_if": what_if,
        },
    )
    inspector = GroupInspector(app_state, form, controls, view)
    gr.on(
        [step.change, group.change, tau.input, colour.change, what_if.change],
        guarded(inspector.show),
        form.inputs,
        {group, view},
        trigger_mode="always_last",
        **QUIET,
    )
    return inspector


def group_view(run: RunDir, form: GroupForm) -> tuple[gr.Slider | None, Markup]:
    """(the group slider, the group as markup), of the stored step nearest to the chosen one."""
    steps = run.group_steps()
    if not steps:
        return None, NO_GROUPS
    step = min(steps, key=lambda stored: abs(stored - int(form.step)))
    try:
        groups = [group for group in run.read_groups(step) if responses(group)]
    except RunError as error:
        return None, failure(str(error))
    if not groups:
        return None, NO_GROUPS
    place = min(max(1, int(form.group)), len(groups))
    colour: Literal["probability", "weight"]
    colour = "weight" if form.colour == "weight" else "probability"
    look_of_tokens = Look(colour, form.tau if form.what_if else None)
    counts = rectified_counts(groups, place, form.tau)
    html = render(
        "ui/group.html",
        legend=Markup(LEGEND),
        counts=counts,
        tau=figure(form.tau),
        share=percent(counts["step_below"] / max(1, counts["step_tokens"])),
        group=Markup(group_article(step, groups[place - 1], look_of_tokens)),
    )
    return gr.Slider(maximum=max(2, len(groups)), value=place), html


def rectified_counts(groups: Sequence[Group], place: int, tau: float) -> dict[str, int]:
    """Trained tokens, and those that τ would rectify, of the group at `place` and of the step."""
    group_tokens, group_below = _below(groups[place - 1 : place], tau)
    step_tokens, step_below = _below(groups, tau)
    return {
        "group_tokens": group_tokens,
        "group_below": group_below,
        "step_tokens": step_tokens,
        "step_below": step_below,
    }


def _below(groups: Sequence[Group], tau: float) -> tuple[int, int]:
    """(trained tokens, those with a probability below τ)"""
    probs = [p for g in groups for r in responses(g) for p in numbers(r, "probs") if p is not None]
    return len(probs), sum(p < tau for p in probs)


def tau_of(config: Mapping[str, Any]) -> float:
    """The τ of a run; the paper's for another method than GFT."""
    tau = number(config, "method.tau") if look(config, "method.name") == "gft" else None
    return PAPER_TAU if tau is None else min(1.0, tau)
