"""The page and its server: only on this machine unless a password is set; no telemetry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gft_lite.report.html import render
from gft_lite.runs import BUSY
from gft_lite.types import ConfigError

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
from starlette.middleware import Middleware

from gft_lite.ui import api, start_tab, theme
from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare import compare_tab
from gft_lite.ui.data import data_tab
from gft_lite.ui.errors import guarded
from gft_lite.ui.export import export_tab
from gft_lite.ui.form import QUIET, Updates, Values
from gft_lite.ui.html import panel
from gft_lite.ui.model import model_tab
from gft_lite.ui.request_guard import FREE_FAILURES, LOOPBACK, RequestGuard
from gft_lite.ui.train import train_tab
from gft_lite.ui.uploads import clear_leftovers, hourly_removal

UPLOAD_BYTES = 2 * 2**30
REQUEST_BYTES = UPLOAD_BYTES + 2**20  # an upload with its form fields


def build_app(app_state: AppState) -> gr.Blocks:
    """Build the page with all its tabs."""
    with gr.Blocks(
        title="gft-lite", analytics_enabled=False, delete_cache=(3600, 24 * 3600)
    ) as page:
        panel(render("ui/masthead.html"))
        with gr.Tabs() as tabs:
            with gr.Tab("Start", id="start"):
                start = start_tab.build()
            with gr.Tab("Data", id="data"):
                data = data_tab.build(app_state)
            with gr.Tab("Model & method", id="model"):
                model = model_tab.build(app_state)
            with gr.Tab("Train", id="train"):
                train = train_tab.build(app_state)
            with gr.Tab("Compare", id="compare"):
                compare_tab.build(app_state)
            with gr.Tab("Export", id="export"):
                export_tab.build(app_state)
        api.expose(app_state)
        navigation = Navigation(app_state, tabs, start, data, model, train)
        navigation.bind(page)
    return page


@dataclass(frozen=True)
class Navigation:
    """The ways from one tab to another, and lists that follow the workspace."""

    app_state: AppState
    tabs: gr.Tabs
    start: start_tab.StartTab
    data: data_tab.DataTab
    model: model_tab.ModelTab
    train: train_tab.TrainTab

    def bind(self, page: gr.Blocks) -> None:
        """Bind the events of the page that is being built."""
        hidden: dict[str, Any] = {"api_visibility": "private"}
        lists = {self.data.form["name"], self.model.form["data"], self.model.form["adapter"]}
        train_page = {self.tabs, *self.train.outputs}
        page.load(guarded(self.open_page), None, lists | train_page, **QUIET)
        gr.on(
            [self.tabs.change, self.data.form["name"].focus],
            self.current_lists,
            outputs=lists,
            **QUIET,
        )
        self.start.try_it.click(guarded(self.start_demo), None, train_page, **hidden)
        self.start.own_data.click(lambda: gr.Tabs(selected="data"), None, self.tabs, **hidden)
        self.data.use.click(
            guarded(self.use_data),
            self.data.form.inputs,
            {self.tabs, self.model.form["data"], self.model.form["reward"]},
            **hidden,
        )
        self.model.start.click(
            guarded(self.start_run), self.model.form.inputs, train_page, **hidden
        )

    def open_page(self) -> Updates:
        """A new page shows current lists, and the Train tab if a run is training."""
        updates = {**self.current_lists(), **self.train.show()}
        if any(job.state in BUSY for job in self.app_state.jobs.list()):
            updates[self.tabs] = gr.Tabs(selected="train")
        return updates

    def current_lists(self) -> Updates:
        """Data files and adapters, with those that other pages and runs have added."""
        return {
            self.data.form["name"]: gr.Dropdown(choices=data_tab.file_choices(self.app_state)),
            self.model.form["data"]: gr.Dropdown(choices=model_tab.ready_choices(self.app_state)),
            self.model.form["adapter"]: gr.Dropdown(
                choices=model_tab.adapter_choices(self.app_state)
            ),
        }

    def start_demo(self) -> Updates:
        """Start the run of the first button."""
        return self._show_run(self.app_state.jobs.start(start_tab.demo_config()).path.name)

    def start_run(self, values: Values) -> Updates:
        """Start the run of the Model tab."""
        return self._show_run(self.model.start_run(values))

    def use_data(self, values: Values) -> Updates:
        """Prepare the chosen file and go on to the Model tab."""
        form = self.data.form.read(values)
        name = self.data.make_ready(form)
        choices = model_tab.ready_choices(self.app_state)
        return {
            self.tabs: gr.Tabs(selected="model"),
            self.model.form["data"]: gr.Dropdown(choices=choices, value=name),
            self.model.form["reward"]: form.reward,
        }

    def _show_run(self, name: str) -> Updates:
        return {self.tabs: gr.Tabs(selected="train"), **self.train.show(name)}


def serve(
    app_state: AppState,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    auth: tuple[str, str] | None = None,
    share: bool = False,
    allow_hosts: Sequence[str] = (),
    block: bool = True,
) -> gr.Blocks:
    """Serve the page until it is interrupted, or in the background if `block` is false.

    Raises:
        ConfigError: a host that others reach, --share or --allow-host without a password; a port
            in use.
    """
    check_exposure(host, share, auth, allow_hosts)
    page = build_app(app_state)
    guard = Middleware(
        RequestGuard,
        hosts=(*LOOPBACK, *allow_hosts) if host in LOOPBACK else None,
        share_url=lambda: page.share_url,
        password=auth is not None,
        most_bytes=REQUEST_BYTES,
    )
    lock = clear_leftovers(app_state.workspace)
    lifespan = hourly_removal(app_state.workspace.tmp_dir, lock)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            auth=auth,
            auth_message=f"After {FREE_FAILURES} failed logins each further one has to wait.",
            share=share,
            theme=theme.theme(),
            head=theme.HEAD,
            max_file_size=UPLOAD_BYTES,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            show_error=False,
            prevent_thread_lock=not block,
            app_kwargs={"middleware": [guard], "lifespan": lifespan},
        )
    except OSError as error:
        raise ConfigError(
            f"{host}: the app cannot listen there ({error}); choose another --port"
        ) from None
    return page


def check_exposure(
    host: str,
    share: bool,
    auth: tuple[str, str] | None,
    allow_hosts: Sequence[str] = (),
) -> None:
    """Refuse to serve a workspace to others without a password.

    Raises:
        ConfigError: an option makes the app reachable by others and no password is set.
    """
    if (host not in LOOPBACK or share or allow_hosts) and auth is None:
        what = "--share" if share else "--allow-host" if allow_hosts else f"--host {host}"
        raise ConfigError(
            f"{what} lets others reach this app: set a password with --auth USER:PASSWORD"
        )


def read_auth(text: str | None) -> tuple[str, str] | None:
    """(user, password) of `USER:PASSWORD`.

    Raises:
        ConfigError: the user or the password is missing.
    """
    if text is None:
        return None
    user, _, password = text.partition(":")
    if not (user and password):
        raise ConfigError("--auth: write it as USER:PASSWORD, neither of them empty")
    return user, password
