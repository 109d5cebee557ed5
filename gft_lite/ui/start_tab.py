"""The first screen: a run that needs nothing, and the way to train on your own data."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from gft_lite.config import RunConfig, load_config
from gft_lite.report.html import render
from gft_lite.ui.html import panel

DEMO_PRESET = "tiny-cpu"
DEMO_SETTINGS = (
    "train.steps=40",
    "eval.every=10",
    "eval.examples=100",
    "train.checkpoint_every=10",
)


@dataclass(frozen=True)
class StartTab:
    """The buttons of the tab."""

    try_it: gr.Button
    own_data: gr.Button


def demo_config() -> RunConfig:
    """The run of the first button: the embedded model, about two minutes on two CPU cores."""
    return load_config(preset=DEMO_PRESET, overrides=DEMO_SETTINGS)


def build() -> StartTab:
    """Build the tab."""
    panel(render("ui/hero.html"))
    with gr.Row(elem_classes="first-buttons"):
        try_it = gr.Button("Try it: 2 minutes, no GPU", variant="primary", size="lg", elem_id="try")
        own_data = gr.Button("Bring your own file", size="lg", elem_id="own-data")
    panel(render("ui/start.html"))
    return StartTab(try_it, own_data)
