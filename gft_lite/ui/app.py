"""The page, and how it is served: loopback unless a password is set, nothing sent anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

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
from gft_lite.ui.html import panel
from gft_lite.ui.model import model_tab
from gft_lite.ui.request_guard import FREE_FAILURES, LOOPBACK, RequestGuard
from gft_lite.ui.train import train_tab
from gft_lite.ui.uploads import clear_leftovers, hourly_removal

UPLOAD_BYTES = 2 * 2**30
REQUEST_BYTES = UPLOAD_BYTES + 2**20  # an upload with what stands around it
MASTHEAD = (
    '<div class="gft masthead"><b>gft-lite</b>'
    "<span>Group Fine-Tuning on the one GPU you own</span></div>"
)


def build_app(app_state: AppState) -> gr.Blocks:
    """The page with all its tabs."""
    with gr.Blocks(
        title="gft-lite", analytics_enabled=False, delete_cache=(3600, 24 * 3600)
    ) as page:
        panel(MASTHEAD)
        with gr.Tabs() as tabs:
            with gr.Tab("Start", id="start"):
                start = start_tab.build(app_state)
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
        _lead(app_state, tabs, start, data, model, train)

        lists = [data.chosen, model.data, model.adapter]

        def arrive() -> list[Any]:
            """A page that is opened while something trains opens on it; its lists are current."""
            training = any(job.state in BUSY for job in app_state.jobs.list())
            tab = gr.Tabs(selected="train") if training else gr.skip()
            return [tab, *current_lists(), *train.show(None)]

        def current_lists() -> list[Any]:
            """What other pages and runs have added since."""
            return [
                gr.Dropdown(choices=data_tab.choices(app_state)),
                gr.Dropdown(choices=model_tab.ready_choices(app_state)),
                gr.Dropdown(choices=model_tab.adapter_choices(app_state)),
            ]

        page.load(
            guarded(arrive),
            outputs=[tabs, *lists, *train.outputs],
            show_progress="hidden",
            api_visibility="private",
        )
        gr.on(
            [tabs.change, data.chosen.focus],
            current_lists,
            outputs=lists,
            show_progress="hidden",
            api_visibility="private",
        )
    return page


def _lead(
    app_state: AppState,
    tabs: gr.Tabs,
    start: start_tab.StartTab,
    data: data_tab.DataTab,
    model: model_tab.ModelTab,
    train: train_tab.TrainTab,
) -> None:
    """The ways from one tab to the next."""
    shown = [tabs, *train.outputs]
    hidden: dict[str, Any] = {"api_visibility": "private"}

    @guarded
    def try_it() -> list[Any]:
        run = app_state.jobs.start(start_tab.try_config())
        return [gr.Tabs(selected="train"), *train.show(run.path.name)]

    @guarded
    def start_run(*fields: Any) -> list[Any]:
        return [gr.Tabs(selected="train"), *train.show(model.start_run(*fields))]

    @guarded
    def use(name: str | None, held_out: float, reward: str) -> list[Any]:
        ready = data.make_ready(name, held_out)
        choices = model_tab.ready_choices(app_state)
        return [gr.Tabs(selected="model"), gr.Dropdown(choices=choices, value=ready), reward]

    start.try_it.click(try_it, None, shown, **hidden)
    start.own_data.click(lambda: gr.Tabs(selected="data"), None, tabs, **hidden)
    data.use.click(
        use, [data.chosen, data.held_out, data.reward], [tabs, model.data, model.reward], **hidden
    )
    model.start.click(start_run, model.fields, shown, **hidden)


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
    """Serve the page until it is interrupted, or in the background where `block` is false.

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
        raise ConfigError(f"{host}: cannot be served there ({error}); choose another --port") from (
            None
        )
    return page


def check_exposure(
    host: str,
    share: bool,
    auth: tuple[str, str] | None,
    allow_hosts: Sequence[str] = (),
) -> None:
    """Refuse to show a workspace to others without a password.

    Raises:
        ConfigError: says which option is missing.
    """
    if (host not in LOOPBACK or share or allow_hosts) and auth is None:
        what = "--share" if share else "--allow-host" if allow_hosts else f"--host {host}"
        raise ConfigError(
            f"{what} lets others reach this app: set a password with --auth USER:PASSWORD"
        )


def read_auth(text: str | None) -> tuple[str, str] | None:
    """`USER:PASSWORD` in two.

    Raises:
        ConfigError: one of them is missing.
    """
    if text is None:
        return None
    user, _, password = text.partition(":")
    if not (user and password):
        raise ConfigError("--auth: write it as USER:PASSWORD, neither of them empty")
    return user, password
