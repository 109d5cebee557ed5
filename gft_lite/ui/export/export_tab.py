"""Export: adapter, merged model or GGUF to download; model card, TRL program, run report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gft_lite.types import GftError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import AdapterRegistry, find_adapters
from gft_lite.ui.compare.model_client import ModelProcess
from gft_lite.ui.errors import guarded
from gft_lite.ui.export.export_snippet import continue_with_trl
from gft_lite.ui.export.export_write import (
    DTYPES,
    NO_GGUF,
    Exports,
    adapter_facts,
    has_converter,
    kind_choices,
)
from gft_lite.ui.form import QUIET, Form, Updates, Values, on_arrival
from gft_lite.ui.html import empty, heading, panel, remarks

LOG = "export-process.log"
IDLE_SECONDS = 60.0
INTRO = (
    "Download what was trained. Every export answers the same questions as the trained model "
    "before it is kept, and is kept only if the answers are the same."
)
NOTHING_YET = empty(
    "Nothing to export yet",
    "Train a run first: Start → Try it makes one in two minutes. Finished runs and saved mixes are "
    "listed here.",
)


@dataclass(frozen=True)
class ExportForm:
    """The chosen adapter by its key, what to write, and the number format of merged weights."""

    key: str | None
    kind: str
    dtype: str


@dataclass(frozen=True)
class ExportTab:
    """The tab's components and handlers."""

    app_state: AppState
    exports: Exports
    form: Form[ExportForm]
    facts: gr.HTML
    details: gr.Column
    stop: gr.Button
    result: gr.HTML
    download: gr.DownloadButton
    card: gr.Code
    program: gr.Code
    report_section: gr.Accordion
    report: gr.DownloadButton

    @property
    def outputs(self) -> set[Any]:
        """All components that depend on the chosen adapter."""
        panels = {self.facts, self.details, self.program, self.report_section, self.report}
        return panels | {self.form["key"], self.result, self.download, self.card}

    def refresh(self, values: Values) -> Updates:
        """The list as it is now; the choice stays if it is still in the list."""
        registry = find_adapters(self.app_state)
        key = self.form.read(values).key
        choices = [(adapter.label, adapter.key) for adapter in registry.adapters]
        keys = [adapter.key for adapter in registry.adapters]
        if key in keys:
            return {self.form["key"]: gr.Dropdown(choices=choices, value=key)}
        key = keys[0] if keys else None
        field = gr.Dropdown(choices=choices, value=key)
        return {self.form["key"]: field, **self._adapter_updates(registry, key)}

    def choose(self, values: Values) -> Updates:
        """The page of another adapter; results of the last one are hidden."""
        key = self.form.read(values).key
        return self._adapter_updates(find_adapters(self.app_state), key)

    def write(self, values: Values) -> Iterator[Updates]:
        """Write an export; Stop is active until it ends."""
        form = self.form.read(values)
        for page in self.exports.write(form.key, form.kind, form.dtype):
            updates = {
                self.result: gr.HTML(page.html, visible=True),
                self.download: gr.DownloadButton(value=page.file, visible=bool(page.file)),
                self.stop: gr.Button(interactive=True),
            }
            if page.card:
                updates[self.card] = gr.Code(page.card, visible=True)
            yield updates
        yield {self.stop: gr.Button(interactive=False)}

    def show_card(self, key: str | None) -> gr.Code:
        """The model card of the chosen adapter."""
        return gr.Code(self.exports.card(key), visible=True)

    def make_report(self, key: str | None) -> gr.DownloadButton:
        """The report of the chosen run, to download."""
        return gr.DownloadButton(value=self.exports.report(key), visible=True)

    def _adapter_updates(self, registry: AdapterRegistry, key: str | None) -> Updates:
        try:
            adapter = registry.find(key or "")
        except GftError:
            note = NOTHING_YET + remarks(registry.unusable)
            return {self.facts: gr.HTML(note), self.details: gr.Column(visible=False)}
        return {
            self.facts: gr.HTML(adapter_facts(adapter)),
            self.details: gr.Column(visible=True),
            self.program: continue_with_trl(adapter, f"{adapter.name}-adapter"),
            self.result: gr.HTML(visible=False),
            self.download: gr.DownloadButton(visible=False),
            self.card: gr.Code(visible=False),
            self.report: gr.DownloadButton(visible=False),
            self.report_section: gr.Accordion(visible=adapter.config is not None),
        }


def build(app_state: AppState) -> None:
    """Build the tab."""
    process = ModelProcess(app_state.workspace.root, LOG, idle_seconds=IDLE_SECONDS)
    panel(heading("Export", INTRO))
    key = gr.Dropdown(label="Run or mix", choices=[])
    facts = panel(NOTHING_YET)
    with gr.Column(visible=False) as details:
        kind = gr.Radio(label="What to write", choices=kind_choices(), value="adapter")
        if not has_converter():
            panel(remarks([NO_GGUF]))
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
        with gr.Accordion("Continue with reinforcement learning (TRL)", open=False):
            program = gr.Code(label="Program", language="python")
        with gr.Accordion("Report of the run", open=False) as report_section:
            make_report = gr.Button("Make the report", size="sm")
            report = gr.DownloadButton("Download the report", visible=False)
    tab = ExportTab(
        app_state,
        Exports(app_state, process),
        Form(ExportForm, {"key": key, "kind": kind, "dtype": dtype}),
        facts,
        details,
        stop,
        result,
        download,
        card,
        program,
        report_section,
        report,
    )
    on_arrival(guarded(tab.refresh), tab.form.inputs, tab.outputs)
    key.input(guarded(tab.choose), tab.form.inputs, tab.outputs, **QUIET)
    kind.change(lambda kind: gr.Dropdown(visible=kind == "merged"), kind, dtype, **QUIET)
    write.click(tab.write, tab.form.inputs, {result, download, card, stop}, **QUIET)
    stop.click(process.stop, queue=False, **QUIET)
    show_card.click(guarded(tab.show_card), key, card, api_visibility="private")
    make_report.click(guarded(tab.make_report), key, report, api_visibility="private")
