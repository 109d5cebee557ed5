"""Files that columns can be scored on, and the reward that scores them."""

from __future__ import annotations

from pathlib import Path

from gft_lite.assets import PREFIX
from gft_lite.rewards import REWARDS, Spec
from gft_lite.types import ConfigError, DataError
from gft_lite.ui.app_state import AppState
from gft_lite.ui.compare.adapter_registry import Adapter, AdapterRegistry
from gft_lite.ui.data import datasets

AS_TRAINED = "as trained"
HELD_OUT, OLD_SKILL = f"{PREFIX}target_test", f"{PREFIX}old_skill_test"
EMBEDDED = {
    HELD_OUT: "Demo: held-out problems",
    OLD_SKILL: "Demo: the old skill",
    f"{PREFIX}target_train": "Demo: training problems",
}


def known_files(app_state: AppState, found: AdapterRegistry) -> dict[str, str]:
    """Path → label: held-out files of runs, data made ready in Data, and the demo's own."""
    files: dict[str, str] = {}
    for adapter in found.adapters:
        data = adapter.config.data if adapter.config else None
        if data:
            _add(files, data.eval_path, f"Held out of {adapter.name}")
            _add(files, data.retention_path, f"Old skill of {adapter.name}")
    for one in datasets.every(app_state.workspace):
        if one.parts:
            parts = app_state.workspace.upload(one.name) / one.parts
            _add(files, str(parts / "held_out.jsonl"), f"{one.title}: held-out part")
            _add(files, str(parts / "train.jsonl"), f"{one.title}: training part")
    return files | EMBEDDED


def _add(files: dict[str, str], path: str | None, label: str) -> None:
    if path and not path.startswith(PREFIX) and Path(path).is_file():
        files.setdefault(path, label)


def usual_files(adapters: tuple[Adapter, ...]) -> tuple[str, str | None]:
    """The held-out file and the old skill's of the newest run among these; the demo's else."""
    for adapter in adapters:
        data = adapter.config.data if adapter.config else None
        if data and data.eval_path:
            return data.eval_path, data.retention_path
    return HELD_OUT, OLD_SKILL


def chosen_file(
    app_state: AppState, found: AdapterRegistry, uploaded: str | None, known: str | None
) -> str:
    """The path to score on: what was just dropped, or one of the known files.

    Raises:
        DataError: neither.
    """
    if uploaded:
        return uploaded
    if known and known in known_files(app_state, found):
        return known
    raise DataError("choose a file of questions with answers, or drop one")


def reward_choices() -> list[tuple[str, str]]:
    """For a list."""
    rewards = [(f"{name} · {reward.about}", name) for name, reward in REWARDS.items()]
    return [("As the run was trained", AS_TRAINED), *rewards]


def reward_of(choice: str, adapters: tuple[Adapter, ...]) -> Spec:
    """The reward that a browser means: by name, or that of the first run among the chosen.

    Raises:
        ConfigError: no reward of that name.
    """
    if choice in REWARDS:
        return choice
    if choice != AS_TRAINED:
        raise ConfigError("choose a reward from the list")
    for adapter in adapters:
        if adapter.config:
            return adapter.config.reward
    return "math"
