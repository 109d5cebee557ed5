"""Compare: base and up to four adapters side by side, on a prompt or a file, and mixes of two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import AS_TRAINED, scoring_rewards
from gft_lite.ui.compare.controller import (
    MAX_ADAPTERS,
    ColumnForm,
    CompareController,
    FileForm,
    MixForm,
    Page,
    PromptForm,
)
from gft_lite.ui.compare.model_client import ModelProcess
from gft_lite.ui.compare.model_picker import NO_ADAPTERS, ModelPicker
from gft_lite.ui.form import QUIET, Form, Updates, Values
from gft_lite.ui.html import empty, heading, panel

LOG = "model-process.log"
INTRO = "The same questions to the base model and to its adapters, side by side."
PROMPT_EMPTY = empty(
    "Answers appear here side by side",
    "Choose the adapters, type a prompt, and press Answer.",
)
FILE_EMPTY = empty(
    "Scores appear here",
    "Choose or drop a file of questions with answers that the runs were not trained on, and press "
    "Score.",
)
MIX_EMPTY = empty(
    "A mix is one adapter made of two",
    "Choose two adapters, move the slider, score the mix on the file chosen under “A file”, and "
    "save it if it is better than both.",
)


@dataclass(frozen=True)
class Result:
    """The place of a result: markup, its Stop button, and a download button if it has a file."""

    html: gr.HTML
    stop: gr.Button
    download: gr.DownloadButton | None = None

    def on_click(
        self, button: gr.Button, request: Callable[[Values], Iterator[Page]], inputs: set[Any]
    ) -> Any:
        """Show the pages of a request on a click; Stop is active until the last one."""

        def show(values: Values) -> Iterator[Updates]:
            for html, file in request(values):
                updates = {self.html: html, self.stop: gr.Button(interactive=True)}
                if self.download:
                    updates[self.download] = gr.DownloadButton(value=file, visible=bool(file))
                yield updates
            yield {self.stop: gr.Button(interactive=False)}

        outputs = {self.html, self.stop} | ({self.download} if self.download else set())
        return button.click(show, inputs, outputs, **QUIET)


def build(app_state: AppState) -> None:
    """Build the tab."""
    process = ModelProcess(app_state.workspace.root, LOG)
    controller = CompareController(app_state, process)
    panel(heading("Compare", INTRO))
    with gr.Row():
        base = gr.Dropdown(label="Base model", choices=[], scale=1, min_width=240)
        adapters = gr.CheckboxGroup(
            label=f"Adapters, up to {MAX_ADAPTERS}", choices=[], scale=2, min_width=320
        )
    note = panel(NO_ADAPTERS)
    with gr.Tabs():
        with gr.Tab("A prompt"):
            prompt = _prompt_form()
            answer, stop_answer = _buttons("Answer")
            answers = Result(panel(PROMPT_EMPTY), stop_answer)
        with gr.Tab("A file"):
            file = _file_form()
            score, stop_score = _buttons("Score")
            scores = Result(panel(FILE_EMPTY), stop_score, _download())
        with gr.Tab("Mix two adapters"):
            mix = _mix_form()
            with gr.Row():
                try_mix = gr.Button("Score the mix", variant="primary", scale=3, min_width=160)
                save_mix = gr.Button("Save the mix", scale=2, min_width=140)
                stop_mix = gr.Button("Stop", variant="stop", interactive=False, min_width=100)
            mixed = Result(panel(MIX_EMPTY), stop_mix, _download())
    columns = Form(ColumnForm, {"base": base, "adapters": adapters})
    picker = ModelPicker(app_state, columns, file, mix, note)
    picker.bind()
    answers.on_click(
        answer,
        lambda values: controller.answer(columns.read(values), prompt.read(values)),
        columns.inputs | prompt.inputs,
    )
    scores.on_click(
        score,
        lambda values: controller.score(columns.read(values), file.read(values)),
        columns.inputs | file.inputs,
    )
    mixed.on_click(
        try_mix,
        lambda values: controller.try_mix(
            columns.read(values), mix.read(values), file.read(values)
        ),
        columns.inputs | mix.inputs | file.inputs,
    )
    mixed.on_click(
        save_mix,
        lambda values: controller.save_mix(columns.read(values), mix.read(values)),
        columns.inputs | mix.inputs,
    ).then(picker.refresh, picker.inputs, picker.outputs, **QUIET)
    for stop in (stop_answer, stop_score, stop_mix):
        stop.click(process.stop, queue=False, **QUIET)


def _prompt_form() -> Form[PromptForm]:
    prompt = gr.Textbox(label="Prompt", lines=3, max_lines=12, placeholder="Ask something …")
    with gr.Accordion("More: expected answer, reward, length", open=False):
        with gr.Row():
            expected = gr.Textbox(
                label="Expected answer",
                info="If you give it, every answer is scored against it.",
                min_width=220,
            )
            reward = _reward()
        with gr.Row():
            max_tokens = _max_tokens()
            sampled = gr.Checkbox(
                label="Sample the answers",
                info="Off: each model gives its most likely answer.",
                min_width=220,
            )
    return Form(
        PromptForm,
        {
            "prompt": prompt,
            "expected": expected,
            "reward": reward,
            "max_tokens": max_tokens,
            "sampled": sampled,
        },
    )


def _file_form() -> Form[FileForm]:
    with gr.Row():
        known = gr.Dropdown(label="Questions with answers", choices=[], min_width=240)
        retention = gr.Dropdown(
            label="Old skill", info="What must not be forgotten.", choices=[], min_width=240
        )
    uploaded = gr.File(label="Or drop a file of your own", height=150)
    with gr.Accordion("More: reward, number of prompts, samples, length", open=False):
        with gr.Row():
            reward = _reward()
            prompts = gr.Number(
                label="Prompts",
                info="At most so many of each file, from its start.",
                value=50,
                precision=0,
                minimum=1,
                min_width=160,
            )
        with gr.Row():
            k = gr.Slider(
                0,
                16,
                4,
                step=1,
                label="Samples per prompt",
                min_width=220,
                info="For mean@k and pass@k; 0: only the most likely answer.",
            )
            max_tokens = _max_tokens()
    return Form(
        FileForm,
        {
            "uploaded": uploaded,
            "known": known,
            "retention": retention,
            "reward": reward,
            "prompts": prompts,
            "k": k,
            "max_tokens": max_tokens,
        },
    )


def _mix_form() -> Form[MixForm]:
    with gr.Row():
        first = gr.Dropdown(label="First adapter", choices=[], min_width=240)
        second = gr.Dropdown(label="Second adapter", choices=[], min_width=240)
    share = gr.Slider(
        0,
        100,
        50,
        step=5,
        label="Share of the second, in percent",
        info="0: only the first · 100: only the second",
    )
    return Form(MixForm, {"first": first, "second": second, "share": share})


def _buttons(name: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row():
        start = gr.Button(name, variant="primary", scale=3, min_width=160)
        stop = gr.Button("Stop", variant="stop", interactive=False, min_width=100)
    return start, stop


def _download() -> gr.DownloadButton:
    return gr.DownloadButton("Download this comparison", visible=False)


def _reward() -> gr.Dropdown:
    return gr.Dropdown(label="Reward", choices=scoring_rewards(), value=AS_TRAINED, min_width=240)


def _max_tokens() -> gr.Slider:
    return gr.Slider(16, 1024, 192, step=16, label="Longest answer, in tokens", min_width=220)
