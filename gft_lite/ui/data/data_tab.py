"""Data: a file in, the truth about its rows, what the model will see, and what its groups earn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from gft_lite.data import FORMATS, read_report
from gft_lite.rewards import REWARDS
from gft_lite.types import ConfigError, GftError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.cli_client import ask
from gft_lite.ui.data import datasets
from gft_lite.ui.data.data_view import dry_run_view, examples_view, report_view
from gft_lite.ui.errors import guarded, sentence
from gft_lite.ui.html import empty, failure, heading, panel, styled, text
from gft_lite.ui.web_settings import check_place

FIELDS = {
    "prompt": "Question",
    "expert": "Good answer (expert)",
    "teachers": "Other answers (teachers)",
    "answer": "Final answer, to check with",
}
AS_FOUND = "as recognised"
SHOWN_ROWS = 5
MOST_HELD_OUT = 100  # unless a person asks for more
NOTHING = empty(
    "No file chosen yet",
    "Drop a file above: JSONL, JSON, CSV, Parquet or Excel, with a question and a good answer in "
    "each row. Or choose the demo to see what this page says about a file.",
)


@dataclass(frozen=True)
class DataTab:
    """What others hook on: the files to choose from, and the button that makes one ready."""

    chosen: gr.Dropdown
    use: gr.Button
    held_out: gr.Number
    reward: gr.Dropdown
    make_ready: Callable[..., str]


def choices(app_state: AppState) -> list[tuple[str, str]]:
    """(title, name) of every data file."""
    return [
        (f"{data.title} ({data.name})" if data.name != datasets.DEMO else data.title, data.name)
        for data in datasets.every(app_state.workspace)
    ]


def reward_choices() -> list[tuple[str, str]]:
    """(name and sentence, name) of every reward that a browser may choose."""
    return [(f"{name}: {reward.about}", name) for name, reward in REWARDS.items()]


def build(app_state: AppState) -> DataTab:
    """The tab."""
    panel(heading("Your data", "Every row is read and checked here, before a GPU minute is spent."))
    with gr.Row():
        with gr.Column(min_width=300):
            file = gr.File(
                label="Drop a file here, or press to choose one",
                height=150,
                elem_id="upload",
            )
        with gr.Column(min_width=300):
            chosen = gr.Dropdown(
                label="Files of this workspace",
                choices=choices(app_state),
                value=None,
                elem_id="files",
            )
            with gr.Row(equal_height=True):
                hub = gr.Textbox(
                    label="Or a data set of the hub", placeholder="openai/gsm8k:main", scale=3
                )
                take = gr.Button("Look at it", scale=1, min_width=100)
    report = panel(NOTHING, elem_id="data-report")
    with gr.Column(visible=False, elem_id="data-more") as more:
        with gr.Accordion("Something was read wrongly? Say which column is what", open=False):
            form = gr.Dropdown(
                ["auto", *FORMATS], value="auto", label="Format", filterable=True, elem_id="format"
            )
            with gr.Row():
                fields = [
                    gr.Dropdown(
                        [AS_FOUND],
                        value=AS_FOUND,
                        label=label,
                        allow_custom_value=True,
                        min_width=200,
                    )
                    for label in FIELDS.values()
                ]
            again = gr.Button("Read it again", elem_id="read-again")
        reward = gr.Dropdown(
            reward_choices(),
            value="math",
            label="Reward",
            info="How an answer is judged, here and in training.",
            elem_id="reward",
        )
        dry = panel(elem_id="dry-run")
        model = gr.Textbox(
            "tiny",
            label="Model",
            info="Whose chat template is applied; press Enter to apply another.",
            max_lines=1,
        )
        rendered = panel(elem_id="examples")
        with gr.Row(equal_height=True):
            held_out = gr.Number(
                0, label="Rows to hold out and measure with", precision=0, minimum=0, min_width=200
            )
            use = gr.Button("Train on this file", variant="primary", elem_id="use", min_width=200)
    outputs = [report, more, dry, rendered, held_out, *fields]

    def examine(name: str | None, reward: str, model: str) -> Iterator[list[Any]]:
        """Report, dry run and examples, each as soon as it is there."""
        still = [gr.skip()] * len(outputs)
        if not name:
            yield [NOTHING, gr.Column(visible=False), *still[2:]]
            return
        yield [_wait("Reading every row"), gr.Column(visible=False), "", "", *still[4:]]
        try:
            data = datasets.load(app_state.workspace, name)
            where, options = data.location(app_state.workspace), data.options()
            found = read_report(ask(app_state.workspace, "data", "check", where, *options))
        except Exception as error:
            yield [failure(sentence(error)), gr.Column(visible=True), *still[2:]]
            return
        named = [AS_FOUND, *found.recognised.columns]
        lists = [
            gr.Dropdown(choices=named, value=data.columns.get(field, AS_FOUND)) for field in FIELDS
        ]
        found = replace(found, path=data.title)
        shown = [report_view(found), gr.Column(visible=True)]
        aside = min(MOST_HELD_OUT, found.usable // 10)
        yield [*shown, _wait("Scoring experts and teachers"), "", aside, *lists]
        scored = _scored(where, options, reward)
        yield [*still[:2], scored, _wait("Applying the chat template"), *still[4:]]
        yield [*still[:3], _rendered(where, options, model), *still[4:]]

    def _scored(where: str, options: list[str], reward: str) -> str:
        try:
            if reward not in REWARDS:
                raise ConfigError("Choose one of the rewards in the list.")
            asked = ("data", "dry-run", where, *options, f"--reward={reward}")
            return dry_run_view(ask(app_state.workspace, *asked), reward)
        except Exception as error:
            return failure(sentence(error))

    def _rendered(where: str, options: list[str], model: str) -> str:
        try:
            check_place("model.name", model, app_state.workspace)
            asked = ("data", "preview", where, *options, f"--rows={SHOWN_ROWS}", f"--model={model}")
            return examples_view(ask(app_state.workspace, *asked), model)
        except Exception as error:
            return failure(sentence(error))

    def location(name: str) -> tuple[str, list[str]]:
        data = datasets.load(app_state.workspace, name)
        return data.location(app_state.workspace), data.options()

    @guarded
    def rescore(name: str, reward: str) -> Iterator[str]:
        yield _wait("Scoring experts and teachers")
        yield _scored(*location(name), reward)

    @guarded
    def rerender(name: str, model: str) -> Iterator[str]:
        yield _wait("Applying the chat template")
        yield _rendered(*location(name), model)

    def receive(sent: str | None) -> tuple[Any, Any, Any]:
        """The file becomes one of the workspace; what is wrong with it is said in its place."""
        if not sent:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            data = datasets.add_file(app_state.workspace, sent, sent)
        except GftError as error:
            return gr.skip(), failure(str(error)), None
        return gr.Dropdown(choices=choices(app_state), value=data.name), gr.skip(), None

    def receive_hub(name: str) -> tuple[Any, Any]:
        try:
            data = datasets.add_hub(app_state.workspace, name or "")
        except GftError as error:
            return gr.skip(), failure(str(error))
        return gr.Dropdown(choices=choices(app_state), value=data.name), gr.skip()

    @guarded
    def read_as(name: str, form: str, *columns: str) -> None:
        pairs = zip(FIELDS, columns, strict=True)
        said = {f: c for f, c in pairs if c and c != AS_FOUND}
        data = datasets.load(app_state.workspace, name)
        if data.name == datasets.DEMO:
            raise ConfigError("The demo is read as it is; drop a file of your own to map columns.")
        datasets.save(app_state.workspace, replace(data, format=form, columns=said))

    def make_ready(name: str | None, held_out: float) -> str:
        """Write the parts to train on and to measure with; the name of the data file."""
        if not name:
            raise ConfigError("Choose a file first.")
        data = datasets.load(app_state.workspace, name)
        if data.name == datasets.DEMO:
            return data.name
        parts = app_state.workspace.new(app_state.workspace.upload(name), "parts")
        where, options = data.location(app_state.workspace), data.options()
        asked = ("data", "split", where, *options, f"--held-out={int(held_out or 0)}")
        found = ask(app_state.workspace, *asked, f"--out={parts}")
        counts = {"train": found["train_examples"], "held_out": found["held_out_examples"]}
        return datasets.save(app_state.workspace, replace(data, parts=parts.name, **counts)).name

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    looked = [chosen, reward, model]
    file.upload(receive, file, [chosen, report, file], **quiet)
    take.click(receive_hub, hub, [chosen, report], **quiet)
    chosen.change(examine, looked, outputs, trigger_mode="always_last", **quiet)
    again.click(read_as, [chosen, form, *fields], None, **quiet).then(
        examine, looked, outputs, **quiet
    )
    reward.input(rescore, [chosen, reward], dry, **quiet)
    model.submit(rerender, [chosen, model], rendered, **quiet)
    return DataTab(chosen, use, held_out, reward, make_ready)


def _wait(what: str) -> str:
    return styled(f'<p class="waiting" role="status">{text(what)}…</p>')
