"""The first screen: a run that needs nothing, and the way for one's own data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.config import RunConfig, load_config
from gft_lite.ui.said import guarded
from gft_lite.ui.shell import Shell
from gft_lite.ui.train_tab import TrainTab

TRY_PRESET = "tiny-cpu"
TRY = ("train.steps=40", "eval.every=10", "eval.examples=100", "train.checkpoint_every=10")


def try_config() -> RunConfig:
    """The run behind the first button: the embedded model, some two minutes on two CPU cores."""
    return load_config(preset=TRY_PRESET, overrides=TRY)


@dataclass(frozen=True)
class StartTab:
    """What others hook on."""

    shell: Shell
    try_it: gr.Button

    def leads_to(self, tabs: gr.Tabs, train: TrainTab) -> None:
        """The button starts the run and shows it."""

        @guarded
        def begin() -> list[Any]:
            run = self.shell.jobs.start(try_config())
            return [gr.Tabs(selected="train"), *train.show(run.path.name)]

        self.try_it.click(begin, outputs=[tabs, *train.outputs], api_visibility="private")


def build(shell: Shell) -> StartTab:
    """The first screen."""
    gr.HTML(
        '<div class="gft hero"><h2>Fine-tune a language model, and see what it learned from</h2>'
        "<p>Bring questions with good answers. The model answers them too; every answer earns a "
        "reward, and what is better than its group is learned.</p></div>"
    )
    try_it = gr.Button("Try it: 2 minutes, no GPU", variant="primary", size="lg")
    return StartTab(shell, try_it)
