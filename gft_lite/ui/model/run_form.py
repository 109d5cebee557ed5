"""What was chosen on the page → a run's configuration, and the command line that does the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gft_lite.config import REGISTRY, RunConfig, load_config
from gft_lite.config.methods import DEFAULT_METHOD
from gft_lite.report.numbers import look
from gft_lite.types import ConfigError


def method_choices() -> list[tuple[str, str]]:
    """(label and description, name) of every registered method, the default one first."""
    names = sorted(REGISTRY, key=lambda name: name != DEFAULT_METHOD)
    return [(f"{REGISTRY[name].label}: {REGISTRY[name].description}", name) for name in names]


@dataclass(frozen=True)
class Setting:
    """One field of the page: the key it sets and the words beside it."""

    key: str
    label: str
    info: str
    whole: bool = True
    least: float = 0
    only: str = ""  # the one method that has it


SETTINGS = (
    Setting("train.steps", "Steps", "One step is one update of the adapter.", least=1),
    Setting("train.prompts_per_step", "Prompts a step", "Each with a group of its own.", least=1),
    Setting("group.self", "Self responses per prompt", "Sampled from the model as it is."),
    Setting("group.teacher", "Teacher answers a prompt", "At most; where the file has some."),
    Setting("group.max_new_tokens", "Longest answer, tokens", "Longer ones are cut.", least=1),
    Setting("train.learning_rate", "Learning rate", "Of the adapter, at its peak.", whole=False),
    Setting(
        "method.tau",
        "τ",
        "Tokens below this probability count by it only; 0 is off.",
        whole=False,
        only="gft",
    ),
)


@dataclass(frozen=True)
class Choice:
    """What stands in the fields. `data` are the `data.` settings of the chosen file, `values` one
    value for each of SETTINGS, `adapter` a folder to continue from, `more` further YAML."""

    presets: tuple[str, ...]
    model: str
    adapter: str | None
    method: str
    reward: str
    data: tuple[str, ...]
    values: tuple[float | None, ...]
    more: str = ""


def overrides(choice: Choice) -> list[str]:
    """What differs from the preset, as `--set` takes it.

    Raises:
        ConfigError: a field is empty or the YAML is none.
    """
    base = load_config(preset=choice.presets).to_dict()
    chosen = {"model.name": choice.model.strip(), "method.name": choice.method}
    chosen["reward"] = choice.reward
    out = [f"{key}={json.dumps(v)}" for key, v in chosen.items() if look(base, key) != v]
    if choice.adapter:
        out.append(f"model.adapter={json.dumps(choice.adapter)}")
    embedded = look(base, "data.path")
    if not (choice.data and choice.data[0] == f"data.path={embedded}"):
        out += choice.data
    for setting, value in zip(SETTINGS, choice.values, strict=True):
        if setting.only and setting.only != choice.method:
            continue
        if value is None:
            raise ConfigError(f"{setting.label} is empty: give a number")
        number = int(value) if setting.whole else float(value)
        if look(base, setting.key) != number or (setting.only and choice.method != "gft"):
            out.append(f"{setting.key}={number}")
    return [*out, *flattened(choice.more)]


def configured(choice: Choice) -> RunConfig:
    """The configuration of the run. ConfigError where something is wrong with it."""
    return load_config(preset=choice.presets, overrides=overrides(choice))


def command_line(choice: Choice) -> str:
    """The command that trains the same run."""
    parts = ["gft-lite train", *(f"--preset {shlex.quote(name)}" for name in choice.presets)]
    parts += [f"--set {shlex.quote(text)}" for text in overrides(choice)]
    return " \\\n  ".join(parts)


def flattened(more: str) -> list[str]:
    """YAML settings as `--set` takes them.

    Raises:
        ConfigError: no YAML, or no mapping.
    """
    try:
        values = yaml.safe_load(more or "")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"More settings{where}: this is not valid YAML; check indentation and colons"
        ) from None
    if values is None:
        return []
    if not isinstance(values, Mapping):
        raise ConfigError("More settings: write sections, such as `train:`, with keys below them")
    return [f"{key}={json.dumps(value, default=str)}" for key, value in _leaves(values)]


def _leaves(tree: Mapping[Any, Any], before: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{before}{key}"
        whole = name in ("reward", "data.columns")
        nested = isinstance(value, Mapping) and value and not whole
        out += _leaves(value, f"{name}.") if nested else [(name, value)]
    return out
