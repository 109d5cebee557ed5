"""Compare: base and up to four adapters side by side, on a prompt or a file, and mixes of two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.context import Context

from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.compare_files import AS_TRAINED, reward_choices
from gft_lite.ui.compare.compare_view import STYLE
from gft_lite.ui.compare.controller import MOST_ADAPTERS, CompareController, FileSettings, Page
from gft_lite.ui.compare.model_client import ModelProcess
from gft_lite.ui.compare.model_picker import NOTHING_YET, ModelPicker
from gft_lite.ui.html import empty, heading, panel

LOG = "model-process.log"
INTRO = "The same questions to the base model and to what was trained, side by side."
PROMPT_EMPTY = empty(
    "Answers will stand here side by side",
    "Choose who answers, type a prompt, and press Answer.",
)
FILE_EMPTY = empty(
    "Figures will stand here",
    "Choose or drop a file of questions with answers that the runs were not trained on, and press "
    "Score.",
)
MIX_EMPTY = empty(
    "A mix is one adapter out of two",
    "Choose two adapters, move the slider, score the mix on the file chosen under “A file”, and "
    "save it where it is better than both.",
)


def build(app_state: AppState) -> None:
    """The tab."""
    process = ModelProcess(app_state.workspace.root, LOG)
    controller = CompareController(app_state, process)
    panel(STYLE + heading("Compare", INTRO))
    with gr.Row():
        base = gr.Dropdown(label="Base model", choices=[], scale=1, min_width=240)
        adapters = gr.CheckboxGroup(
            label=f"Adapters, up to {MOST_ADAPTERS}", choices=[], scale=2, min_width=320
        )
    note = panel(NOTHING_YET)
    with gr.Tabs():
        with gr.Tab("A prompt"):
            asked, ask = _prompt_fields()
            answers = panel(PROMPT_EMPTY)
        with gr.Tab("A file"):
            settings, score = _file_fields()
            figures = panel(FILE_EMPTY)
            page = gr.DownloadButton("Download this comparison", visible=False)
        with gr.Tab("Mix two adapters"):
            parts, (try_mix, save_mix, end_mix) = _mix_fields()
            mixed = panel(MIX_EMPTY)
            mix_page = gr.DownloadButton("Download this comparison", visible=False)
    who = ModelPicker(app_state, base, adapters, note, settings[1], settings[2], *parts[:2])
    _keep_current(who)

    def with_settings(ask_desk: Callable[..., Iterator[Page]]) -> Callable[..., Iterator[Page]]:
        def asking(*fields: Any) -> Iterator[Page]:
            count = len(settings)
            yield from ask_desk(*fields[:-count], FileSettings(*fields[-count:]))

        return asking

    chosen = [base, adapters]
    _ask(ask, controller.answer, [*chosen, *asked], [answers])
    _ask(score, with_settings(controller.score), [*chosen, *settings], [figures, page])
    buttons = (try_mix, end_mix)
    _ask(buttons, with_settings(controller.try_mix), [base, *parts, *settings], [mixed, mix_page])
    _ask((save_mix, end_mix), controller.save_mix, [base, *parts], [mixed]).then(
        who.seen, who.inputs, who.outputs, show_progress="hidden", api_visibility="private"
    )
    for stop in (ask[1], score[1], end_mix):
        stop.click(process.stop, queue=False, show_progress="hidden", api_visibility="private")


def _prompt_fields() -> tuple[list[Any], tuple[gr.Button, gr.Button]]:
    prompt = gr.Textbox(label="Prompt", lines=3, max_lines=12, placeholder="Ask something …")
    with gr.Accordion("More: expected answer, reward, length", open=False):
        with gr.Row():
            expected = gr.Textbox(
                label="Expected answer",
                info="Where you know it, every answer is scored against it.",
                min_width=220,
            )
            reward = _reward()
        with gr.Row():
            longest = _longest()
            drawn = gr.Checkbox(
                label="Draw answers at random",
                info="Off: each model gives its most likely answer.",
                min_width=220,
            )
    return [prompt, expected, reward, longest, drawn], _buttons("Answer")


def _file_fields() -> tuple[list[Any], tuple[gr.Button, gr.Button]]:
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
                info="The first so many of each file.",
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
                label="Samples a prompt",
                min_width=220,
                info="Of mean@k and pass@k; 0: the most likely answer only.",
            )
            longest = _longest()
    settings = [uploaded, known, retention, reward, prompts, k, longest]
    return settings, _buttons("Score")


def _mix_fields() -> tuple[list[Any], tuple[gr.Button, ...]]:
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
    with gr.Row():
        score = gr.Button("Score the mix", variant="primary", scale=3, min_width=160)
        save = gr.Button("Save the mix", scale=2, min_width=140)
        stop = gr.Button("Stop", variant="stop", interactive=False, min_width=100)
    return [first, second, share], (score, save, stop)


def _buttons(name: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row():
        go = gr.Button(name, variant="primary", scale=3, min_width=160)
        stop = gr.Button("Stop", variant="stop", interactive=False, min_width=100)
    return go, stop


def _reward() -> gr.Dropdown:
    return gr.Dropdown(label="Reward", choices=reward_choices(), value=AS_TRAINED, min_width=240)


def _longest() -> gr.Slider:
    return gr.Slider(16, 1024, 192, step=16, label="Longest answer, in tokens", min_width=220)


def _keep_current(who: ModelPicker) -> None:
    """The lists follow the workspace: when the page opens, the tab is shown, the base changes."""
    page, tab = Context.root_block, Context.block
    shown = [page.load] if page else []
    shown += [tab.select] if isinstance(tab, gr.Tab) else []
    how: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on(shown, who.seen, who.inputs, who.outputs, **how)
    who.base.input(who.rebased, who.inputs, who.outputs, **how)
    who.adapters.input(who.parts, [who.base, who.adapters], [who.first, who.second], **how)


def _ask(
    buttons: tuple[gr.Button, gr.Button],
    ask: Callable[..., Iterator[Page]],
    inputs: list[Any],
    outputs: list[Any],
) -> Any:
    """A click asks; Stop can be pressed as long as it is answered."""
    go, stop = buttons

    def asking(*fields: Any) -> Iterator[list[Any]]:
        html = ""
        for html, file in ask(*fields):
            download = [gr.DownloadButton(value=file, visible=bool(file))] * (len(outputs) - 1)
            yield [html, *download, gr.Button(interactive=True)]
        yield [gr.skip()] * len(outputs) + [gr.Button(interactive=False)]

    return go.click(
        asking, inputs, [*outputs, stop], show_progress="hidden", api_visibility="private"
    )
