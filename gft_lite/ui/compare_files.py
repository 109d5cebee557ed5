"""Files that columns can be scored on, and the reward that scores them."""

from __future__ import annotations

from pathlib import Path

from gft_lite.assets import ASSETS, PREFIX
from gft_lite.data.sniff import KIND_OF_SUFFIX
from gft_lite.rewards import REWARDS, Spec
from gft_lite.types import ConfigError, DataError
from gft_lite.ui.chat_adapters import Adapter, Stock
from gft_lite.ui.shell import Shell

AS_TRAINED = "as trained"
HELD_OUT, OLD_SKILL = f"{PREFIX}target_test", f"{PREFIX}old_skill_test"
EMBEDDED = {
    HELD_OUT: "Demo: held-out problems",
    OLD_SKILL: "Demo: the old skill",
    f"{PREFIX}target_train": "Demo: training problems",
}


def known_files(shell: Shell, found: Stock) -> dict[str, str]:
    """Path → label: held-out files of runs, uploads, and the demo's own."""
    files: dict[str, str] = {}
    for adapter in found.adapters:
        data = adapter.config.data if adapter.config else None
        for path, what in (
            (data.eval_path, "held out of") if data else (None, ""),
            (data.retention_path, "old skill of") if data else (None, ""),
        ):
            if path and not path.startswith(PREFIX) and Path(path).is_file():
                files.setdefault(path, f"{Path(path).name} ({what} {adapter.name})")
    for file in sorted(shell.workspace.uploads_dir.glob("*/*")):
        if file.suffix in KIND_OF_SUFFIX and file.is_file() and str(file) not in files:
            files[str(file)] = f"{file.name} ({file.parent.name})"
    files |= {name: label for name, label in EMBEDDED.items() if _there(name)}
    return files


def usual_files(adapters: tuple[Adapter, ...]) -> tuple[str, str | None]:
    """The held-out file and the old skill's of the newest run among these; the demo's else."""
    for adapter in adapters:
        data = adapter.config.data if adapter.config else None
        if data and data.eval_path:
            return data.eval_path, data.retention_path
    return HELD_OUT, OLD_SKILL


def chosen_file(shell: Shell, found: Stock, uploaded: str | None, known: str | None) -> str:
    """The path to score on: what was just dropped, or one of the known files.

    Raises:
        DataError: neither.
    """
    if uploaded:
        return uploaded
    if known and known in known_files(shell, found):
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


def _there(name: str) -> bool:
    return (ASSETS / f"{name.removeprefix(PREFIX)}.jsonl").is_file()
