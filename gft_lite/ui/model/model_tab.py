"""Model and method: presets, a method, the most common settings, and the command that runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from gft_lite.config import (
    EMBEDDED_MODEL,
    REGISTRY,
    RunConfig,
    card_presets,
    load_config,
    preset_names,
    preset_path,
)
from gft_lite.memory import CARDS_GIB, GIB, Card, forecast, shape_of, this_card
from gft_lite.report.html import Markup, render
from gft_lite.report.numbers import look
from gft_lite.rewards import REWARDS
from gft_lite.types import ConfigError, ModelError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.data import datasets
from gft_lite.ui.data.data_tab import reward_choices
from gft_lite.ui.errors import guarded, sentence
from gft_lite.ui.form import QUIET, Form, Updates, Values
from gft_lite.ui.html import failure, heading, panel
from gft_lite.ui.model.run_form import (
    NUMBERS,
    RunForm,
    command_line,
    configured,
    method_choices,
)
from gft_lite.ui.web_settings import check_settings

NO_GPU_PRESET = "tiny-cpu"
NO_GPU = "no GPU found"
VERDICTS = {  # verdict of the forecast → (CSS class, mark)
    "fits": ("fits", "✓"),
    "tight": ("tight", "≈"),
    "does not fit": ("too-large", "✕"),
    NO_GPU: ("tight", "?"),
}
NEW_ADAPTER = "a new adapter"


@dataclass(frozen=True)
class ModelTab:
    """The tab's components and handlers."""

    app_state: AppState
    form: Form[RunForm]
    card: Card | None
    memory: gr.HTML
    problem: gr.HTML
    start: gr.Button
    command: gr.Code
    document: gr.Code

    def explain(self, values: Values) -> Updates:
        """Memory forecast, command line and YAML, or what is wrong with the settings."""
        try:
            form = self.form.read(values)
            settings = self._data_settings(form)
            config = configured(form, settings)
            check_settings(config, self.app_state.workspace)
            command = command_line(form, settings)
        except Exception as error:
            return {
                self.memory: "",
                self.problem: failure(sentence(error)),
                self.start: gr.Button(interactive=False),
            }
        return {
            self.memory: memory_badge(config, self.card),
            self.problem: "",
            self.start: gr.Button(interactive=True),
            self.command: command,
            self.document: config.to_yaml(),
        }

    def apply_presets(self, names: Sequence[str]) -> Updates:
        """Fill the fields with the values of presets; fields that they leave open keep theirs."""
        preset = load_config(preset=names).to_dict()
        updates = {
            self.form["model"]: preset["model"]["name"],
            self.form["method"]: preset["method"]["name"],
        }
        if isinstance(preset["reward"], str):
            updates[self.form["reward"]] = preset["reward"]
        for key, field in self.form["numbers"].items():
            if (value := look(preset, key)) is not None:
                updates[field] = value
        return updates

    def show_numbers(self, method: str) -> Updates:
        """Show the numbers that a method has."""
        return {
            self.form["numbers"][field.key]: gr.Number(visible=field.method in ("", method))
            for field in NUMBERS
        }

    def start_run(self, values: Values) -> str:
        """Queue the run that the fields describe; returns its name.

        Raises:
            ConfigError: a setting is wrong, or only for the command line.
        """
        form = self.form.read(values)
        config = configured(form, self._data_settings(form))
        return self.app_state.jobs.start(config).path.name

    def _data_settings(self, form: RunForm) -> list[str]:
        if form.method not in REGISTRY or form.reward not in REWARDS:
            raise ConfigError("Choose a method and a reward from their lists.")
        data = datasets.load(self.app_state.workspace, form.data)
        if not data.ready:
            raise ConfigError(
                "This file is not ready: choose it under Data and press “Train on this file”."
            )
        return data.settings(self.app_state.workspace)


def memory_badge(config: RunConfig, card: Card | None) -> Markup:
    """The forecast of GPU memory, and whether the card has enough."""
    try:
        memory = forecast(config, shape_of(config.model))
    except ModelError as error:
        reason = f"GPU memory: no forecast. {error}"
        return render("ui/memory.html", verdict="", sentence=reason)
    needs = f"Needs about {memory.total / GIB:.1f}\u00a0GiB of GPU memory"
    verdict: str
    if card:
        verdict = memory.verdict(card.gib)
        words = f"{needs}; {card.name} has {card.gib:.1f}\u00a0GiB."
    elif config.model.name == EMBEDDED_MODEL:
        verdict, words = "fits", "The demo model runs on the processor: no GPU is needed."
    else:
        enough = next((gib for gib in CARDS_GIB if memory.verdict(gib) == "fits"), None)
        size = f"a {enough}\u00a0GB card is enough" if enough else "more than 48\u00a0GB"
        verdict, words = NO_GPU, f"{needs}: {size}."
    css, mark = VERDICTS[verdict]
    return render("ui/memory.html", verdict=verdict, css=css, mark=mark, sentence=words)


def preset_for(card: Card | None) -> str:
    """The preset to begin with: the largest for the card, or the demo model without a card."""
    names = [name for name in card_presets() if card and int(name[:-2]) <= card.gib * 1.1]
    return names[-1] if names else NO_GPU_PRESET


def ready_choices(app_state: AppState) -> list[tuple[str, str]]:
    """(title, name) of every data file that can be trained on."""
    return [
        (f"{data.title} · {data.train:,} to train on, {data.held_out:,} held out", data.name)
        for data in datasets.list_data(app_state.workspace)
        if data.ready
    ]


def adapter_choices(app_state: AppState) -> list[tuple[str, str]]:
    """(label, adapter folder) of every finished run; the first choice is a new adapter."""
    jobs = [job for job in app_state.jobs.list() if job.state == "finished"]
    return [
        (NEW_ADAPTER, ""),
        *((f"the adapter of {job.name}", str(job.run.adapter_dir)) for job in jobs),
    ]


def preset_choices() -> list[tuple[str, str]]:
    """(name and description, name) of every preset."""
    choices = []
    for name in preset_names():
        first_line = preset_path(name).read_text(encoding="utf-8").splitlines()[0]
        choices.append((f"{name}: {first_line.lstrip('# ')}", name))
    return choices


def build(app_state: AppState) -> ModelTab:
    """Build the tab."""
    card = this_card()
    presets = [preset_for(card)]
    preset = load_config(preset=presets)
    panel(heading("Model & method", "A preset is a good start; change what you know better."))
    with gr.Row():
        data = gr.Dropdown(
            ready_choices(app_state), value=datasets.DEMO, label="Data", elem_id="train-data"
        )
        preset_field = gr.Dropdown(
            preset_choices(),
            value=presets,
            multiselect=True,
            label="Presets",
            info="Combine one for your card with one for a model; empty: the defaults.",
            elem_id="preset",
        )
    with gr.Row():
        model = gr.Textbox(
            preset.model.name,
            label="Model",
            info="owner/model of the hub; “tiny” is the demo model.",
            max_lines=1,
            elem_id="model-name",
        )
        adapter = gr.Dropdown(
            adapter_choices(app_state),
            value="",
            label="Start from",
            info="A new adapter, or that of an earlier run.",
        )
        reward = gr.Dropdown(
            reward_choices(), value="math", label="Reward", info="How an answer is scored."
        )
    method = gr.Radio(
        method_choices(),
        value="gft",
        label="Method",
        elem_id="method",
    )
    with gr.Row(elem_classes="settings"):
        numbers = {
            field.key: gr.Number(
                look(preset.to_dict(), field.key),
                label=field.label,
                info=field.help,
                precision=0 if field.whole else None,
                minimum=field.minimum,
                min_width=240,
                elem_id=f"set-{field.key.replace('.', '-')}",
            )
            for field in NUMBERS
        }
    with gr.Accordion("More settings", open=False):
        more = gr.Textbox(
            label="As in the YAML file",
            placeholder="lora:\n  r: 32\ntrain:\n  schedule: cosine",
            lines=5,
            elem_id="more-settings",
        )
    memory = panel(memory_badge(preset, card), elem_id="memory-badge")
    problem = panel(elem_id="config-wrong")
    start = gr.Button("Start training", variant="primary", size="lg", elem_id="start-run")
    with gr.Accordion("Exactly what will run", open=False, elem_id="exactly"):
        command = gr.Code(
            label="Command line", language="shell", interactive=False, lines=3, max_lines=12
        )
        document = gr.Code(label="YAML", language="yaml", interactive=False, lines=10, max_lines=24)
    form = Form(
        RunForm,
        {
            "data": data,
            "presets": preset_field,
            "model": model,
            "adapter": adapter,
            "method": method,
            "reward": reward,
            "numbers": numbers,
            "more": more,
        },
    )
    tab = ModelTab(app_state, form, card, memory, problem, start, command, document)
    shown = {memory, problem, start, command, document}
    changes = [field.change for field in form.inputs]
    gr.on(changes, tab.explain, form.inputs, shown, trigger_mode="always_last", **QUIET)
    filled = {model, method, reward, *numbers.values()}
    preset_field.input(guarded(tab.apply_presets), preset_field, filled, **QUIET)
    method.change(tab.show_numbers, method, set(numbers.values()), **QUIET)
    return tab
