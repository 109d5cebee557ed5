"""Data: choose a file; see its report, what its demonstrations earn, and what the model reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from gft_lite.data import FORMATS, read_report
from gft_lite.rewards import REWARDS
from gft_lite.types import ConfigError, GftError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.cli_client import run_json
from gft_lite.ui.data import datasets
from gft_lite.ui.data.data_view import dry_run_view, examples_view, report_view
from gft_lite.ui.data.datasets import DataSet
from gft_lite.ui.errors import guarded, sentence
from gft_lite.ui.form import QUIET, Form, Updates, Values
from gft_lite.ui.html import empty, failure, heading, panel, waiting
from gft_lite.ui.web_settings import check_place

ROLES = {
    "prompt": "Question",
    "expert": "Good answer (expert)",
    "teachers": "Other answers (teachers)",
    "answer": "Final answer, to check with",
}
AS_RECOGNISED = "as recognised"
EXAMPLE_ROWS = 5
MAX_HELD_OUT = 100  # the suggestion for large files
NOTHING = empty(
    "No file chosen yet",
    "Drop a file above: JSONL, JSON, CSV, Parquet or Excel, with a question and a good answer in "
    "each row. Or choose the demo to see what this page shows about a file.",
)


@dataclass(frozen=True)
class DataForm:
    """The values of the tab's fields. columns: role → column, or `AS_RECOGNISED`."""

    name: str | None
    reward: str
    model: str
    held_out: float | None
    format: str
    columns: Mapping[str, str | None]


@dataclass(frozen=True)
class DataTab:
    """The tab's components and handlers."""

    app_state: AppState
    form: Form[DataForm]
    report: gr.HTML
    details: gr.Column
    dry_run: gr.HTML
    examples: gr.HTML
    upload: gr.File
    use: gr.Button

    def examine(self, values: Values) -> Iterator[Updates]:
        """Report, dry run and examples, each as soon as it is ready."""
        form = self.form.read(values)
        hidden = gr.Column(visible=False)
        if not form.name:
            yield {self.report: NOTHING, self.details: hidden}
            return
        yield {
            self.report: waiting("Reading every row"),
            self.details: hidden,
            self.dry_run: "",
            self.examples: "",
        }
        try:
            data = datasets.load(self.app_state.workspace, form.name)
            report = read_report(self._data_command("check", data))
        except Exception as error:
            yield {self.report: failure(sentence(error)), self.details: gr.Column(visible=True)}
            return
        columns = [AS_RECOGNISED, *report.recognised.columns]
        yield {
            self.report: report_view(replace(report, path=data.title)),
            self.details: gr.Column(visible=True),
            self.dry_run: waiting("Scoring experts and teachers"),
            self.form["held_out"]: min(MAX_HELD_OUT, report.usable // 10),
            **{
                field: gr.Dropdown(choices=columns, value=data.columns.get(role, AS_RECOGNISED))
                for role, field in self.form["columns"].items()
            },
        }
        yield {
            self.dry_run: self._scored(data, form.reward),
            self.examples: waiting("Applying the chat template"),
        }
        yield {self.examples: self._rendered(data, form.model)}

    def rescore(self, values: Values) -> Iterator[Updates]:
        """The dry run with another reward."""
        form = self.form.read(values)
        yield {self.dry_run: waiting("Scoring experts and teachers")}
        yield {self.dry_run: self._scored(self._chosen(form), form.reward)}

    def rerender(self, values: Values) -> Iterator[Updates]:
        """The examples with the chat template of another model."""
        form = self.form.read(values)
        yield {self.examples: waiting("Applying the chat template")}
        yield {self.examples: self._rendered(self._chosen(form), form.model)}

    def receive_file(self, upload: str | None) -> Updates:
        """Add an uploaded file to the workspace and choose it."""
        if not upload:
            return gr.skip()
        return self._added(lambda: datasets.add_file(self.app_state.workspace, upload, upload))

    def receive_hub(self, hub_name: str | None) -> Updates:
        """Add a data set of the hub and choose it."""
        return self._added(lambda: datasets.add_hub(self.app_state.workspace, hub_name or ""))

    def save_mapping(self, values: Values) -> None:
        """Keep how the file is to be read.

        Raises:
            ConfigError: it is the demo, which has a fixed mapping.
        """
        form = self.form.read(values)
        data = self._chosen(form)
        if data.name == datasets.DEMO:
            raise ConfigError("The demo is read as it is; drop a file of your own to map columns.")
        columns = {
            role: column
            for role, column in form.columns.items()
            if column and column != AS_RECOGNISED
        }
        datasets.save(self.app_state.workspace, replace(data, format=form.format, columns=columns))

    def make_ready(self, form: DataForm) -> str:
        """Write the parts to train on and to evaluate on.

        Returns:
            The name of the data file.

        Raises:
            ConfigError: no file is chosen.
        """
        if not form.name:
            raise ConfigError("Choose a file first.")
        data = self._chosen(form)
        if data.name == datasets.DEMO:
            return data.name
        workspace = self.app_state.workspace
        parts = workspace.new(workspace.upload(data.name), "parts")
        options = (f"--held-out={int(form.held_out or 0)}", f"--out={parts}")
        split = self._data_command("split", data, *options)
        ready = replace(
            data,
            parts=parts.name,
            train=split["train_examples"],
            held_out=split["held_out_examples"],
        )
        return datasets.save(workspace, ready).name

    def _chosen(self, form: DataForm) -> DataSet:
        return datasets.load(self.app_state.workspace, form.name or "")

    def _data_command(self, command: str, data: DataSet, *options: str) -> Any:
        workspace = self.app_state.workspace
        location = data.location(workspace)
        return run_json(workspace, "data", command, location, *data.options(), *options)

    def _scored(self, data: DataSet, reward: str) -> str:
        try:
            if reward not in REWARDS:
                raise ConfigError("Choose one of the rewards in the list.")
            document = self._data_command("dry-run", data, f"--reward={reward}")
            return dry_run_view(document, reward)
        except Exception as error:
            return failure(sentence(error))

    def _rendered(self, data: DataSet, model: str) -> str:
        try:
            check_place("model.name", model, self.app_state.workspace)
            options = (f"--rows={EXAMPLE_ROWS}", f"--model={model}")
            return examples_view(self._data_command("preview", data, *options), model)
        except Exception as error:
            return failure(sentence(error))

    def _added(self, add: Callable[[], DataSet]) -> Updates:
        try:
            data = add()
        except GftError as error:
            return {self.report: failure(str(error)), self.upload: None}
        files = gr.Dropdown(choices=file_choices(self.app_state), value=data.name)
        return {self.form["name"]: files, self.upload: None}


def file_choices(app_state: AppState) -> list[tuple[str, str]]:
    """(title, name) of every data file."""
    return [
        (data.title if data.name == datasets.DEMO else f"{data.title} ({data.name})", data.name)
        for data in datasets.list_data(app_state.workspace)
    ]


def reward_choices() -> list[tuple[str, str]]:
    """(name and description, name) of every reward that a browser may choose."""
    return [(f"{name}: {reward.about}", name) for name, reward in REWARDS.items()]


def build(app_state: AppState) -> DataTab:
    """Build the tab."""
    panel(heading("Your data", "Every row is read and checked here, before a GPU minute is spent."))
    with gr.Row():
        with gr.Column(min_width=300):
            upload = gr.File(
                label="Drop a file here, or press to choose one", height=150, elem_id="upload"
            )
        with gr.Column(min_width=300):
            name = gr.Dropdown(
                label="Files of this workspace",
                choices=file_choices(app_state),
                value=None,
                elem_id="files",
            )
            with gr.Row(equal_height=True):
                hub_name = gr.Textbox(
                    label="Or a data set of the hub", placeholder="openai/gsm8k:main", scale=3
                )
                read_hub = gr.Button("Read it", scale=1, min_width=100)
    report = panel(NOTHING, elem_id="data-report")
    with gr.Column(visible=False, elem_id="data-more") as details:
        with gr.Accordion("Is something read wrongly? Map the columns yourself", open=False):
            format_field = gr.Dropdown(
                ["auto", *FORMATS], value="auto", label="Format", filterable=True, elem_id="format"
            )
            with gr.Row():
                columns = {
                    role: gr.Dropdown(
                        [AS_RECOGNISED],
                        value=AS_RECOGNISED,
                        label=label,
                        allow_custom_value=True,
                        min_width=200,
                    )
                    for role, label in ROLES.items()
                }
            read_again = gr.Button("Read it again", elem_id="read-again")
        reward = gr.Dropdown(
            reward_choices(),
            value="math",
            label="Reward",
            info="How an answer is scored, here and in training.",
            elem_id="reward",
        )
        dry_run = panel(elem_id="dry-run")
        model = gr.Textbox(
            "tiny",
            label="Model",
            info="Its chat template is applied. Press Enter to apply another.",
            max_lines=1,
        )
        examples = panel(elem_id="examples")
        with gr.Row(equal_height=True):
            held_out = gr.Number(
                0, label="Rows to hold out for evaluation", precision=0, minimum=0, min_width=200
            )
            use = gr.Button("Train on this file", variant="primary", elem_id="use", min_width=200)
    form = Form(
        DataForm,
        {
            "name": name,
            "reward": reward,
            "model": model,
            "held_out": held_out,
            "format": format_field,
            "columns": columns,
        },
    )
    tab = DataTab(app_state, form, report, details, dry_run, examples, upload, use)
    shown = {report, details, dry_run, examples, held_out, *columns.values()}
    added = {name, report, upload}
    upload.upload(tab.receive_file, upload, added, **QUIET)
    read_hub.click(tab.receive_hub, hub_name, added, **QUIET)
    name.change(tab.examine, form.inputs, shown, trigger_mode="always_last", **QUIET)
    read_again.click(guarded(tab.save_mapping), form.inputs, None, **QUIET).then(
        tab.examine, form.inputs, shown, **QUIET
    )
    reward.input(guarded(tab.rescore), form.inputs, dry_run, **QUIET)
    model.submit(guarded(tab.rerender), form.inputs, examples, **QUIET)
    return tab
