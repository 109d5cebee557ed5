"""Model and method: a preset, a method, the few settings that matter, and exactly what will run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
from gft_lite.report.numbers import look
from gft_lite.rewards import REWARDS
from gft_lite.types import ConfigError, ModelError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.data import datasets
from gft_lite.ui.data.data_tab import reward_choices
from gft_lite.ui.errors import guarded, sentence
from gft_lite.ui.html import failure, heading, panel, styled, text
from gft_lite.ui.model.run_form import (
    SETTINGS,
    Choice,
    command_line,
    configured,
    method_choices,
)
from gft_lite.ui.web_settings import check_settings

NO_GPU_PRESET = "tiny-cpu"
NO_GPU = "no GPU found"
VERDICT_CLASSES = {"fits": "fits", "tight": "tight", "does not fit": "too-large", NO_GPU: "tight"}
VERDICT_MARKS = {"fits": "✓", "tight": "≈", "does not fit": "✕", NO_GPU: "?"}
FRESH = "a fresh adapter"


@dataclass(frozen=True)
class ModelTab:
    """What others hook on: the file to train on, the button, and how a run is started."""

    data: gr.Dropdown
    reward: gr.Dropdown
    adapter: gr.Dropdown
    start: gr.Button
    fields: list[Any]
    start_run: Callable[..., str]


def memory_badge(config: RunConfig, card: Card | None) -> str:
    """What this run will need of the GPU, and whether the card has it, as markup."""
    try:
        found = forecast(config, shape_of(config.model))
    except ModelError as error:
        return styled(f'<p class="memory">{text(f"GPU memory: no forecast. {error}")}</p>')
    needs = f"Needs about {found.total / GIB:.1f}\u00a0GiB of GPU memory"
    verdict: str
    if card:
        verdict = found.verdict(card.gib)
        said = f"{needs}; {card.name} has {card.gib:.1f}\u00a0GiB"
    elif config.model.name == EMBEDDED_MODEL:
        verdict, said = "fits", "The demo model runs on the processor: no GPU is needed"
    else:
        enough = next((gib for gib in CARDS_GIB if found.verdict(gib) == "fits"), None)
        will_do = f"a {enough}\u00a0GB card will do" if enough else "more than 48\u00a0GB"
        verdict, said = NO_GPU, f"{needs}: {will_do}"
    mark = f'<b class="{VERDICT_CLASSES[verdict]}">{VERDICT_MARKS[verdict]} {verdict}</b>'
    return styled(f'<p class="memory" role="status">{mark} {text(said)}.</p>')


def preset_for(card: Card | None) -> str:
    """The preset to begin with: the largest for the card, the demo model without one."""
    fitting = [name for name in card_presets() if card and int(name[:-2]) <= card.gib * 1.1]
    return fitting[-1] if fitting else NO_GPU_PRESET


def ready_choices(app_state: AppState) -> list[tuple[str, str]]:
    """(title, name) of every data file that can be trained on."""
    return [
        (f"{d.title} · {d.train:,} to train on, {d.held_out:,} held out", d.name)
        for d in datasets.every(app_state.workspace)
        if d.ready
    ]


def adapter_choices(app_state: AppState) -> list[tuple[str, str]]:
    """(run, adapter folder) of every run that has one."""
    found = [(j.name, j.run.adapter_dir) for j in app_state.jobs.list() if j.state == "finished"]
    return [(FRESH, ""), *((f"the one of {name}", str(path)) for name, path in found)]


def preset_choices() -> list[tuple[str, str]]:
    """(name and what it is for, name) of every preset."""
    out = []
    for name in preset_names():
        first = preset_path(name).read_text(encoding="utf-8").splitlines()[0]
        out.append((f"{name}: {first.lstrip('# ')}", name))
    return out


def build(app_state: AppState) -> ModelTab:
    """The tab."""
    card = this_card()
    begin = [preset_for(card)]
    first = load_config(preset=begin)
    panel(heading("Model & method", "A preset is a good start; change what you know better."))
    with gr.Row():
        data = gr.Dropdown(
            ready_choices(app_state), value=datasets.DEMO, label="Data", elem_id="train-data"
        )
        preset = gr.Dropdown(
            preset_choices(),
            value=begin,
            multiselect=True,
            label="Presets",
            info="One for your card and one for a model may go together; none is the defaults.",
            elem_id="preset",
        )
    with gr.Row():
        model = gr.Textbox(
            first.model.name,
            label="Model",
            info="owner/model of the hub; “tiny” is the demo model.",
            max_lines=1,
            elem_id="model-name",
        )
        adapter = gr.Dropdown(
            adapter_choices(app_state),
            value="",
            label="Start from",
            info="An earlier run, or nothing.",
        )
        reward = gr.Dropdown(
            reward_choices(), value="math", label="Reward", info="How an answer is judged."
        )
    method = gr.Radio(
        method_choices(),
        value="gft",
        label="Method",
        elem_id="method",
    )
    with gr.Row(elem_classes="settings"):
        values = [
            gr.Number(
                look(first.to_dict(), setting.key),
                label=setting.label,
                info=setting.info,
                precision=0 if setting.whole else None,
                minimum=setting.least,
                min_width=240,
                elem_id=f"set-{setting.key.replace('.', '-')}",
            )
            for setting in SETTINGS
        ]
    with gr.Accordion("More settings", open=False):
        more = gr.Textbox(
            label="In the words of the YAML file",
            placeholder="lora:\n  r: 32\ntrain:\n  schedule: cosine",
            lines=5,
            elem_id="more-settings",
        )
    badge = panel(memory_badge(first, card), elem_id="memory-badge")
    wrong = panel(elem_id="config-wrong")
    start = gr.Button("Start training", variant="primary", size="lg", elem_id="start-run")
    with gr.Accordion("Exactly what will run", open=False, elem_id="exactly"):
        command = gr.Code(
            label="Command line", language="shell", interactive=False, lines=3, max_lines=12
        )
        document = gr.Code(label="YAML", language="yaml", interactive=False, lines=10, max_lines=24)
    fields = [data, preset, model, adapter, method, reward, more, *values]

    def choice(
        data: str,
        presets: list[str],
        model: str,
        adapter: str,
        method: str,
        reward: str,
        more: str,
        *values: float | None,
    ) -> Choice:
        if method not in REGISTRY or reward not in REWARDS:
            raise ConfigError("Choose a method and a reward from their lists.")
        chosen = datasets.load(app_state.workspace, data)
        if not chosen.ready:
            raise ConfigError(
                "This file is not ready: look at it under Data and press “Train on this file”."
            )
        settings = tuple(chosen.settings(app_state.workspace))
        return Choice(
            tuple(presets), model, adapter or None, method, reward, settings, values, more
        )

    def explain(*values: Any) -> tuple[str, str, Any, Any, str]:
        """(memory badge, what is wrong, button, command line, YAML)."""
        try:
            asked = choice(*values)
            config = configured(asked)
            check_settings(config, app_state.workspace)
        except Exception as error:
            off = gr.Button(interactive=False)
            return "", failure(sentence(error)), off, gr.skip(), gr.skip()
        on = gr.Button(interactive=True)
        return memory_badge(config, card), "", on, command_line(asked), config.to_yaml()

    def take_presets(names: list[str]) -> list[Any]:
        base = load_config(preset=names).to_dict()
        known = [look(base, setting.key) for setting in SETTINGS]
        filled = [gr.skip() if value is None else value for value in known]
        reward = base["reward"] if isinstance(base["reward"], str) else gr.skip()
        return [base["model"]["name"], base["method"]["name"], reward, *filled]

    def start_run(*values: Any) -> str:
        """Start the run that the fields describe; its name."""
        return app_state.jobs.start(configured(choice(*values))).path.name

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    told = [badge, wrong, start, command, document]
    for field in fields:
        field.change(explain, fields, told, trigger_mode="always_last", **quiet)
    preset.input(guarded(take_presets), preset, [model, method, reward, *values], **quiet)
    method.change(
        lambda name: gr.Number(visible=name == "gft"),
        method,
        values[[s.key for s in SETTINGS].index("method.tau")],
        **quiet,
    )
    return ModelTab(data, reward, adapter, start, fields, start_run)
