"""What can be compared and exported: adapters of runs, mixes, their bases; files and rewards.

A run without a usable adapter is listed with the reason. Everything that a browser sends back is
looked up again here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.assets import PREFIX
from gft_lite.config import ModelConfig, RunConfig
from gft_lite.rewards import REWARDS, Spec
from gft_lite.runs import BUSY, RunDir
from gft_lite.types import ConfigError, DataError, GftError, RunError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.data.datasets import list_data

MIX = "mix"
RECORD = "gft_lite.json"
TINY = ModelConfig()
AS_TRAINED = "as trained"
HELD_OUT, OLD_SKILL = f"{PREFIX}target_test", f"{PREFIX}old_skill_test"
DEMO_FILES = {
    HELD_OUT: "Demo: held-out problems",
    OLD_SKILL: "Demo: the old skill",
    f"{PREFIX}target_train": "Demo: training problems",
}


@dataclass(frozen=True)
class Adapter:
    """One adapter of the workspace.

    key: identifies it in the browser. name, about: its name and a short description. path: its
    run or folder. model: its base. config: of its run; None for a mix.
    """

    key: str
    name: str
    about: str
    path: Path
    model: ModelConfig
    config: RunConfig | None = None

    @property
    def label(self) -> str:
        """Name and description, for lists."""
        return f"{self.name} · {self.about}" if self.about else self.name

    @property
    def record(self) -> dict[str, Any]:
        """The record beside its weights; empty if there is none."""
        return read_record(self.path / "adapter") or read_record(self.path) or {}


@dataclass(frozen=True)
class AdapterRegistry:
    """The adapters of a workspace.

    adapters: those of runs first, newest first. unusable: a sentence about each run without one.
    """

    adapters: tuple[Adapter, ...]
    unusable: tuple[str, ...]

    def on(self, base: str) -> tuple[Adapter, ...]:
        """The adapters of a base."""
        return tuple(a for a in self.adapters if base_key(a.model) == base)

    def bases(self) -> dict[str, ModelConfig]:
        """Key → model of every base that has an adapter, and of the embedded model."""
        return {base_key(m): m for m in (*(a.model for a in self.adapters), TINY)}

    def find(self, key: str) -> Adapter:
        """The adapter with a key.

        Raises:
            RunError: this workspace does not have it.
        """
        for adapter in self.adapters:
            if adapter.key == key:
                return adapter
        raise RunError("that adapter is not in this workspace any more; choose one from the list")


def find_adapters(app_state: AppState) -> AdapterRegistry:
    """The adapters of a workspace."""
    adapters: list[Adapter] = []
    unusable: list[str] = []
    for job in app_state.jobs.list():
        try:
            adapters.append(_of_run(job.name, job.run, job.state))
        except GftError as error:
            unusable.append(str(error))
    return AdapterRegistry((*adapters, *_mixes(app_state)), tuple(unusable))


def base_key(model: ModelConfig) -> str:
    """Name and revision, which identify a base."""
    return model.name + (f" @ {model.revision}" if model.revision else "")


def base_label(model: ModelConfig) -> str:
    """The base, for lists."""
    key = base_key(model)
    return f"{key} (embedded demo model)" if model.name == TINY.name else key


def other_runs(registry: AdapterRegistry, base: str) -> tuple[str, ...]:
    """A sentence about every adapter of another base, and every run without an adapter."""
    return (
        *(
            f"{adapter.name} was trained on {base_key(adapter.model)}: choose that base to use it"
            for adapter in registry.adapters
            if base_key(adapter.model) != base
        ),
        *registry.unusable,
    )


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record beside an adapter's weights, or None if it cannot be read."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _of_run(name: str, run: RunDir, state: str) -> Adapter:
    """The adapter of a run. RunError, with a whole sentence, if it has no usable one."""
    if state in (*BUSY, "queued", "created"):
        raise RunError(f"{name} is not finished yet ({state})")
    if not (run.adapter_dir / "adapter_config.json").is_file():
        raise RunError(f"{name} ended before it had an adapter ({state}): resume it in Train")
    try:
        config = run.config()
    except GftError:
        raise RunError(f"{name} cannot be used: its settings cannot be read") from None
    model = base_only(config.model)
    status = run.status()
    about = f"{config.method.name}, {status.get('step', config.train.steps)} steps"
    if state != "finished":
        about += f", {state}"
    return Adapter(f"runs/{name}", name, about, run.path, model, config)


def _mixes(app_state: AppState) -> list[Adapter]:
    mixes = []
    folders = app_state.workspace.exports_dir.glob(f"{MIX}-*")
    for folder in sorted(folders, key=lambda path: -path.stat().st_mtime):
        record = read_record(folder)
        base = (record or {}).get("base")
        if record and isinstance(base, dict) and isinstance(base.get("name"), str):
            model = ModelConfig(name=base["name"], revision=base.get("revision"))
            key, about = f"exports/{folder.name}", parts_of(record)
            mixes.append(Adapter(key, folder.name, about, folder, model))
    return mixes


def parts_of(record: dict[str, Any]) -> str:
    """The adapters of a mix and their shares, in words."""
    stages: Sequence[dict[str, Any]] = record.get("stages") or [{}]
    parts = stages[-1].get("parts") or []
    return " + ".join(f"{100 * part['weight']:.0f} % {part['adapter']}" for part in parts)


def base_only(model: ModelConfig) -> ModelConfig:
    """The model without its adapter; code of a model repository is never run for a browser."""
    changes = {"adapter": None, "reference": "base", "trust_remote_code": False}
    return model.model_copy(update=changes)


def known_files(app_state: AppState, registry: AdapterRegistry) -> dict[str, str]:
    """Path → label of held-out files of runs, prepared data files, and the demo's files."""
    files: dict[str, str] = {}
    for adapter in registry.adapters:
        if adapter.config:
            data = adapter.config.data
            _add_file(files, data.eval_path, f"Held out of {adapter.name}")
            _add_file(files, data.retention_path, f"Old skill of {adapter.name}")
    for data_set in list_data(app_state.workspace):
        if data_set.parts:
            parts = app_state.workspace.upload(data_set.name) / data_set.parts
            _add_file(files, str(parts / "held_out.jsonl"), f"{data_set.title}: held-out part")
            _add_file(files, str(parts / "train.jsonl"), f"{data_set.title}: training part")
    return files | DEMO_FILES


def _add_file(files: dict[str, str], path: str | None, label: str) -> None:
    if path and not path.startswith(PREFIX) and Path(path).is_file():
        files.setdefault(path, label)


def default_files(adapters: tuple[Adapter, ...]) -> tuple[str, str | None]:
    """The held-out and retention file of the newest run among the adapters, or the demo's."""
    for adapter in adapters:
        if adapter.config and adapter.config.data.eval_path:
            return adapter.config.data.eval_path, adapter.config.data.retention_path
    return HELD_OUT, OLD_SKILL


def chosen_file(
    app_state: AppState, registry: AdapterRegistry, uploaded: str | None, known: str | None
) -> str:
    """The path to score on: the uploaded file, or one of the known files.

    Raises:
        DataError: neither is given.
    """
    if uploaded:
        return uploaded
    if known and known in known_files(app_state, registry):
        return known
    raise DataError("choose a file of questions with answers, or drop one")


def scoring_rewards() -> list[tuple[str, str]]:
    """(label, name) of the rewards that columns can be scored with."""
    rewards = [(f"{name} · {reward.about}", name) for name, reward in REWARDS.items()]
    return [("As the run was trained", AS_TRAINED), *rewards]


def reward_of(choice: str, adapters: tuple[Adapter, ...]) -> Spec:
    """The chosen reward: by name, or that of the first run among the adapters.

    Raises:
        ConfigError: there is no reward of that name.
    """
    if choice in REWARDS:
        return choice
    if choice != AS_TRAINED:
        raise ConfigError("choose a reward from the list")
    return next((adapter.config.reward for adapter in adapters if adapter.config), "math")
