"""The first screen: a run that needs nothing, and the way for one's own data."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from gft_lite.config import RunConfig, load_config
from gft_lite.ui.app_state import AppState
from gft_lite.ui.html import card, panel, styled

TRY_PRESET = "tiny-cpu"
TRY = ("train.steps=40", "eval.every=10", "eval.examples=100", "train.checkpoint_every=10")
HERO = styled(
    '<div class="hero"><h1>Teach a model from good answers, and see what it learned from</h1>'
    "<p>Bring questions with good answers. The model answers them too; every answer earns a "
    "reward, and it learns what is better than its group and away from what is worse.</p></div>"
)
STEPS = styled(
    '<div class="cards">',
    card(
        "1 · Data",
        ["Drop a file. Every row is read, checked and scored before a GPU minute is spent."],
    ),
    card(
        "2 · Model & method",
        ["Choose a preset. You see the exact settings and the command that will run."],
    ),
    card(
        "3 · Train",
        ["Watch reward, accuracy and drift live. Look into any group, token by token."],
    ),
    card("4 · Compare", ["Base and adapters side by side, on your questions, with their scores."]),
    card("5 · Export", ["Take the adapter, a merged model, or go on with another trainer."]),
    "</div>",
)


def try_config() -> RunConfig:
    """The run behind the first button: the embedded model, some two minutes on two CPU cores."""
    return load_config(preset=TRY_PRESET, overrides=TRY)


@dataclass(frozen=True)
class StartTab:
    """What others hook on."""

    try_it: gr.Button
    own_data: gr.Button


def build(app_state: AppState) -> StartTab:
    """The first screen."""
    panel(HERO)
    with gr.Row(elem_classes="first-buttons"):
        try_it = gr.Button("Try it: 2 minutes, no GPU", variant="primary", size="lg", elem_id="try")
        own_data = gr.Button("Bring your own file", size="lg", elem_id="own-data")
    panel(STEPS)
    return StartTab(try_it, own_data)
