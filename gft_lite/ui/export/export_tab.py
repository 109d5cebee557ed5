"""Export: adapter, merged model or GGUF to download; model card, what comes next, report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.context import Context

from gft_lite.types import GftError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import find_adapters
from gft_lite.ui.compare.compare_view import STYLE, quiet
from gft_lite.ui.compare.model_client import ModelProcess
from gft_lite.ui.errors import guarded
from gft_lite.ui.export.export_snippet import continue_with_trl
from gft_lite.ui.export.export_write import DTYPES, NO_GGUF, Exports, about, has_converter, offered
from gft_lite.ui.html import empty, heading, panel

LOG = "export-process.log"
IDLE_SECONDS = 60.0
INTRO = (
    "Take an adapter with you. Everything written here is asked the same questions as the trained "
    "model first, and kept only where it answers alike."
)
NOTHING_YET = empty(
    "Nothing to export yet",
    "Train a run first: Start → Try it makes one in two minutes. Finished runs and saved mixes are "
    "listed here.",
)


def build(app_state: AppState) -> None:
    """The tab."""
    process = ModelProcess(app_state.workspace.root, LOG, idle_seconds=IDLE_SECONDS)
    exports = Exports(app_state, process)
    panel(STYLE + heading("Export", INTRO))
    run = gr.Dropdown(label="Run or mix", choices=[])
    facts = panel(NOTHING_YET)
    with gr.Column(visible=False) as there:
        kind = gr.Radio(label="What to write", choices=offered(), value="adapter")
        if not has_converter():
            panel(quiet([NO_GGUF]))
        dtype = gr.Dropdown(
            label="Number format of merged weights",
            info="bfloat16 and float16 take half the space of float32.",
            choices=list(DTYPES),
            value=DTYPES[0],
            visible=False,
        )
        with gr.Row():
            write = gr.Button("Write it", variant="primary", scale=3, min_width=160)
            stop = gr.Button("Stop", variant="stop", interactive=False, min_width=100)
        result = panel(visible=False)
        download = gr.DownloadButton("Download", variant="primary", visible=False)
        with gr.Accordion("Model card", open=False):
            show_card = gr.Button("Show the model card", size="sm")
            card = gr.Code(label="Model card", language="markdown", wrap_lines=True, visible=False)
        with gr.Accordion("Go on with reinforcement learning (TRL)", open=False):
            program = gr.Code(label="Program", language="python")
        with gr.Accordion("Report of the run", open=False) as of_run:
            make_report = gr.Button("Make the report", size="sm")
            report = gr.DownloadButton("Download the report", visible=False)

    def chosen(key: str | None) -> list[Any]:
        """The page for another adapter; what belonged to the last one goes."""
        found = find_adapters(app_state)
        try:
            adapter = found.find(key or "")
        except GftError:
            said = NOTHING_YET + quiet(found.others)
            return [gr.HTML(said), gr.Column(visible=False), *[gr.skip()] * 6]
        return [
            gr.HTML(about(adapter)),
            gr.Column(visible=True),
            continue_with_trl(adapter, f"{adapter.name}-adapter"),
            gr.HTML(visible=False),
            gr.DownloadButton(visible=False),
            gr.Code(visible=False),
            gr.DownloadButton(visible=False),
            gr.Accordion(visible=adapter.config is not None),
        ]

    shown = [facts, there, program, result, download, card, report, of_run]

    def seen(key: str | None) -> list[Any]:
        """The list as it is now; what was chosen stays where it is still there."""
        found = find_adapters(app_state)
        choices = [(a.label, a.key) for a in found.adapters]
        kept = key in [k for _, k in choices]
        now = key if kept else choices[0][1] if choices else None
        same = [gr.skip()] * len(shown)
        return [gr.Dropdown(choices=choices, value=now), *(same if kept else chosen(now))]

    def writing(key: str | None, what: str, numbers: str) -> Iterator[list[Any]]:
        for written in exports.write(key, what, numbers):
            yield [
                gr.HTML(written.html, visible=True),
                gr.DownloadButton(value=written.file, visible=bool(written.file)),
                gr.Code(written.card, visible=True) if written.card else gr.skip(),
                gr.Button(interactive=True),
            ]
        yield [gr.skip(), gr.skip(), gr.skip(), gr.Button(interactive=False)]

    page, tab = Context.root_block, Context.block
    arrivals = [page.load] if page else []
    arrivals += [tab.select] if isinstance(tab, gr.Tab) else []
    how: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on(arrivals, guarded(seen), [run], [run, *shown], **how)
    run.input(guarded(chosen), [run], shown, **how)
    kind.change(lambda what: gr.Dropdown(visible=what == "merged"), [kind], [dtype], **how)
    write.click(writing, [run, kind, dtype], [result, download, card, stop], **how)
    stop.click(process.stop, queue=False, **how)
    show_card.click(
        guarded(lambda key: gr.Code(exports.card(key), visible=True)),
        [run],
        [card],
        api_visibility="private",
    )
    make_report.click(
        guarded(lambda key: gr.DownloadButton(value=exports.report(key), visible=True)),
        [run],
        [report],
        api_visibility="private",
    )
