"""Runs: start, queue, stop, resume, and their curves while they train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.ui.shell import Shell


@dataclass(frozen=True)
class TrainTab:
    """What others hook on."""

    shell: Shell
    runs: gr.Radio

    def choose(self, name: str) -> Any:
        """The list of runs as it is now, with this one chosen."""
        return gr.Radio(choices=choices(self.shell), value=name)


def choices(shell: Shell) -> list[tuple[str, str]]:
    """(what a person reads, name) of every run."""
    return [(f"{job.name} · {job.state}", job.name) for job in shell.jobs.list()]


def build(shell: Shell) -> TrainTab:
    """The tab."""
    runs = gr.Radio(label="Runs", choices=choices(shell))
    return TrainTab(shell, runs)
