"""`gft-lite ui`: the web app."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port. Default: the first free one from 7860."),
    ] = None,
    workspace: Annotated[
        Path | None, typer.Option(help="Folder for runs and uploads. Default: ~/.gft-lite.")
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD", envvar="GFT_LITE_AUTH", help="Protect the app with a password."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name under which a reverse proxy serves the app; may be repeated.",
        ),
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            "--share", help="Make the app reachable from outside through Gradio's tunnel."
        ),
    ] = False,
) -> None:
    """Start the web app: data, training, comparison and export in a browser."""
    from gft_lite.ui import app
    from gft_lite.ui.app_state import open_app_state

    password = app.read_auth(auth)
    names = allow_host or []
    app.check_exposure(host, share, password, names)
    app_state = open_app_state(str(workspace) if workspace else None)
    os.chdir(app_state.workspace.root)  # relative names mean the same here as in a run
    app.serve(app_state, host=host, port=port, auth=password, share=share, allow_hosts=names)
