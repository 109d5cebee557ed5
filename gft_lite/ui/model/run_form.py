"""The values of the Model tab's fields → a run's configuration and the equal command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from gft_lite.config import REGISTRY, RunConfig, load_config
from gft_lite.config.methods import DEFAULT_METHOD
from gft_lite.report.numbers import look
from gft_lite.types import ConfigError

MAX_MORE_DEPTH = 20
MAX_MORE_CHARACTERS = 20_000


def method_choices() -> list[tuple[str, str]]:
    """(label and description, name) of every registered method, the default one first."""
    names = sorted(REGISTRY, key=lambda name: name != DEFAULT_METHOD)
    return [(f"{REGISTRY[name].label}: {REGISTRY[name].description}", name) for name in names]


@dataclass(frozen=True)
class NumberField:
    """One number of the page: the key it sets, its label and help."""

    key: str
    label: str
    help: str
    whole: bool = True
    minimum: float = 0
    method: str = ""  # the one method that has this setting


NUMBERS = (
    NumberField("train.steps", "Steps", "One step is one update of the adapter.", minimum=1),
    NumberField("train.prompts_per_step", "Prompts per step", "One group each.", minimum=1),
    NumberField("group.self", "Self responses per prompt", "Sampled from the model."),
    NumberField("group.teacher", "Teacher answers per prompt", "At most; not every row has some."),
    NumberField(
        "group.max_new_tokens", "Longest answer, tokens", "Longer answers are cut.", minimum=1
    ),
    NumberField("train.learning_rate", "Learning rate", "The peak of the schedule.", whole=False),
    NumberField(
        "method.tau",
        "τ",
        "Tokens below this probability are rectified: weighted by it. 0 is off.",
        whole=False,
        method="gft",
    ),
)


@dataclass(frozen=True)
class RunForm:
    """The values of the fields.

    data: name of the data file. adapter: folder of an adapter to start from, or empty.
    numbers: key of a `NumberField` → value. more: further settings as YAML.
    """

    data: str
    presets: Sequence[str]
    model: str
    adapter: str | None
    method: str
    reward: str
    numbers: Mapping[str, float | None]
    more: str = ""


def overrides(form: RunForm, data_settings: Sequence[str]) -> list[str]:
    """The differences from the presets, as `--set` takes them.

    Args:
        form: the fields.
        data_settings: the `data.` settings of the chosen file.

    Raises:
        ConfigError: a field is empty, or `more` is not a mapping in YAML.
    """
    preset = load_config(preset=form.presets).to_dict()
    settings = {
        "model.name": form.model.strip(),
        "method.name": form.method,
        "reward": form.reward,
    }
    changes = [f"{key}={json.dumps(v)}" for key, v in settings.items() if look(preset, key) != v]
    if form.adapter:
        changes.append(f"model.adapter={json.dumps(form.adapter)}")
    if list(data_settings[:1]) != [f"data.path={look(preset, 'data.path')}"]:
        changes += data_settings
    for field in NUMBERS:
        if field.method and field.method != form.method:
            continue
        value = form.numbers[field.key]
        if value is None:
            raise ConfigError(f"{field.label} is empty: give a number")
        number = int(value) if field.whole else float(value)
        if look(preset, field.key) != number:
            changes.append(f"{field.key}={number}")
    return [*changes, *flattened(form.more)]


def configured(form: RunForm, data_settings: Sequence[str]) -> RunConfig:
    """The configuration of the run.

    Raises:
        ConfigError: a setting is wrong.
    """
    return load_config(preset=form.presets, overrides=overrides(form, data_settings))


def command_line(form: RunForm, data_settings: Sequence[str]) -> str:
    """The command that trains the same run."""
    words = ["gft-lite train", *(f"--preset {shlex.quote(name)}" for name in form.presets)]
    words += [f"--set {shlex.quote(change)}" for change in overrides(form, data_settings)]
    return " \\\n  ".join(words)


def flattened(more: str) -> list[str]:
    """YAML settings as `--set` takes them.

    Raises:
        ConfigError: it is too long, not YAML, has an alias, or is not a mapping.
    """
    if len(more or "") > MAX_MORE_CHARACTERS:
        raise ConfigError(
            f"More settings: the text has {len(more):,} characters, at most "
            f"{MAX_MORE_CHARACTERS:,} are read; put it into a file and use the command line"
        )
    try:
        depth = 0
        for event in yaml.parse(more or "", Loader=yaml.SafeLoader):
            # Aliases multiply memory and depth multiplies time: both end before values are built.
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(
                    "More settings: write the value instead of a YAML alias (`*name`)"
                )
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_MORE_DEPTH:
                raise ConfigError("More settings: the sections are nested too deeply")
        values = yaml.safe_load(more or "")
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"More settings{line}: this is not valid YAML; check indentation and colons"
        ) from None
    if values is None:
        return []
    if not isinstance(values, Mapping):
        raise ConfigError("More settings: write sections, such as `train:`, with keys below them")
    return [f"{key}={json.dumps(value, default=str)}" for key, value in _leaves(values)]


def _leaves(tree: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted key, value); `reward` and `data.columns` are values as a whole."""
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        is_section = isinstance(value, Mapping) and value and name not in ("reward", "data.columns")
        leaves += _leaves(value, f"{name}.") if is_section else [(name, value)]
    return leaves
