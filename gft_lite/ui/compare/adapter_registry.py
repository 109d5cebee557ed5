"""What can be compared and exported: adapters of finished runs, and mixes, with their bases.

A run that is not offered is named with the reason. Names that come back from a browser are looked
up again here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.config import ModelConfig, RunConfig
from gft_lite.runs import BUSY, RunDir
from gft_lite.types import GftError, RunError
from gft_lite.ui.app_state import AppState

MIX = "mix"
RECORD = "gft_lite.json"
TINY = ModelConfig()


@dataclass(frozen=True)
class Adapter:
    """One adapter of the workspace; `key` is what a browser holds. config: of its run, if any."""

    key: str
    name: str
    about: str
    path: Path
    model: ModelConfig
    config: RunConfig | None = None

    @property
    def label(self) -> str:
        """For a list."""
        return f"{self.name} · {self.about}" if self.about else self.name

    @property
    def record(self) -> dict[str, Any]:
        """What was written beside its weights; empty where nothing was."""
        return read_record(self.path / "adapter") or read_record(self.path) or {}


@dataclass(frozen=True)
class AdapterRegistry:
    """Adapters that can be used, those of runs first, newest first; a sentence about each run that
    cannot be."""

    adapters: tuple[Adapter, ...]
    others: tuple[str, ...]

    def on(self, base: str) -> tuple[Adapter, ...]:
        """Those trained on a base."""
        return tuple(a for a in self.adapters if base_key(a.model) == base)

    def bases(self) -> dict[str, ModelConfig]:
        """Every base there is an adapter for, and the embedded one; by what a browser holds."""
        return {base_key(m): m for m in (*(a.model for a in self.adapters), TINY)}

    def find(self, key: str) -> Adapter:
        """The adapter a browser means.

        Raises:
            RunError: there is none, or no longer.
        """
        for adapter in self.adapters:
            if adapter.key == key:
                return adapter
        raise RunError("that adapter is not in this workspace any more; choose one from the list")


def find_adapters(app_state: AppState) -> AdapterRegistry:
    """The adapters of a workspace."""
    found: list[Adapter] = []
    others: list[str] = []
    for job in app_state.jobs.list():
        try:
            found.append(_of_run(job.name, job.run, job.state))
        except GftError as error:
            others.append(str(error))
    return AdapterRegistry((*found, *_mixes(app_state)), tuple(others))


def base_key(model: ModelConfig) -> str:
    """Name and revision: adapters that share both are trained on the same base."""
    return model.name + (f" @ {model.revision}" if model.revision else "")


def base_label(model: ModelConfig) -> str:
    """For a list."""
    return (
        f"{base_key(model)} (embedded demo model)" if model.name == TINY.name else base_key(model)
    )


def elsewhere(found: AdapterRegistry, base: str) -> tuple[str, ...]:
    """Sentences about adapters of other bases, and about runs without one."""
    away = [a for a in found.adapters if base_key(a.model) != base]
    return (
        *(f"{a.name} was trained on {base_key(a.model)}: choose that base to use it" for a in away),
        *found.others,
    )


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record beside an adapter's weights, or None where there is no readable one."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _of_run(name: str, run: RunDir, state: str) -> Adapter:
    """RunError, as a whole sentence, where the run has no adapter to use."""
    if state in (*BUSY, "queued", "created"):
        raise RunError(f"{name} is not finished yet ({state})")
    if not (run.adapter_dir / "adapter_config.json").is_file():
        raise RunError(f"{name} ended before it had an adapter ({state}): resume it in Train")
    try:
        config = run.config()
    except GftError:
        raise RunError(f"{name} cannot be used: its settings cannot be read") from None
    model = harmless(config.model)
    status = run.status()
    about = f"{config.method.name}, {status.get('step', config.train.steps)} steps"
    if state != "finished":
        about += f", {state}"
    return Adapter(f"runs/{name}", name, about, run.path, model, config)


def _mixes(app_state: AppState) -> list[Adapter]:
    found = []
    folders = app_state.workspace.exports_dir.glob(f"{MIX}-*")
    for folder in sorted(folders, key=lambda path: -path.stat().st_mtime):
        record = read_record(folder)
        base = (record or {}).get("base")
        if record and isinstance(base, dict) and isinstance(base.get("name"), str):
            model = ModelConfig(name=base["name"], revision=base.get("revision"))
            about = parts_of(record)
            found.append(Adapter(f"exports/{folder.name}", folder.name, about, folder, model))
    return found


def parts_of(record: dict[str, Any]) -> str:
    """What a mix is made of, in words."""
    stages: Sequence[dict[str, Any]] = record.get("stages") or [{}]
    parts = stages[-1].get("parts") or []
    return " + ".join(f"{100 * part['weight']:.0f} % {part['adapter']}" for part in parts)


def harmless(model: ModelConfig) -> ModelConfig:
    """The base alone; code that comes with a model is never run for a browser."""
    changes = {"adapter": None, "reference": "base", "trust_remote_code": False}
    return model.model_copy(update=changes)
