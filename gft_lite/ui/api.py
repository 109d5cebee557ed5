"""What the page does with runs, for programs: call it with `gradio_client`."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gft_lite.config import load_config
from gft_lite.runs import Status
from gft_lite.types import ConfigError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.errors import guarded


def expose(app_state: AppState) -> None:
    """Add /runs, /run, /start_run, /stop_run and /resume_run to the page that is being built."""

    def runs() -> list[dict[str, Any]]:
        """Every run: its name and status."""
        return [{"name": job.name, **_plain(job.status)} for job in app_state.jobs.list()]

    def run(name: str) -> dict[str, Any]:
        """One run: its status, last step and last evaluation."""
        job = app_state.jobs.job(name)
        last: dict[str, Any] = {"step": None, "eval": None}
        last |= {event["type"]: event for event in job.run.events() if event["type"] in last}
        found = {"last_step": last["step"], "last_eval": last["eval"]}
        return {"name": name, **_plain(job.status), **found}

    def start_run(preset: str, settings: list[str]) -> str:
        """Queue a run of a preset with settings such as train.steps=20; its name."""
        if not (isinstance(settings, list) and all(isinstance(text, str) for text in settings)):
            raise ConfigError('settings: give a list of texts such as ["train.steps=20"]')
        return app_state.jobs.start(
            load_config(preset=preset or None, overrides=settings)
        ).path.name

    def stop_run(name: str) -> str:
        """Stop a run after its current step, or take it from the queue; its state."""
        app_state.jobs.stop(name)
        return app_state.jobs.job(name).state

    def resume_run(name: str) -> str:
        """Queue a run that ended early; its state."""
        app_state.jobs.resume(name)
        return app_state.jobs.job(name).state

    for endpoint in (runs, run, start_run, stop_run, resume_run):
        gr.api(guarded(endpoint), api_name=endpoint.__name__, concurrency_limit=4)


def _plain(status: Status) -> dict[str, Any]:
    return {key: value for key, value in status.items() if key != "pid"}
