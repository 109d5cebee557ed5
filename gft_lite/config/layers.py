"""How a run's configuration is put together.

Layers, later ones win: schema defaults ← presets ← YAML file ← `--set a.b=c`. Unknown keys are
errors that name the nearest known key. Presets and files hold differences only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from gft_lite.assets import PREFIX
from gft_lite.config.methods import METHOD_CONFIGS
from gft_lite.config.presets import laid, nearest, preset_path
from gft_lite.config.schema import RunConfig
from gft_lite.types import ConfigError

# besides syntax: no such date, a number of thousands of digits, nested beyond the stack
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
DEFAULT_METHOD = RunConfig().method.name


def load_preset(name: str) -> dict[str, Any]:
    """The differences a preset makes.

    Raises:
        ConfigError: no such preset.
    """
    return _read_yaml(preset_path(name))


def load_config(
    path: str | os.PathLike[str] | None = None,
    *,
    preset: str | Sequence[str] | None = None,
    overrides: Iterable[str] = (),
) -> RunConfig:
    """Build the resolved configuration from its layers.

    Args:
        path: a YAML file of differences; it may name a `preset:` itself, or a list of them.
        preset: names in place of those of the file: a card, a model, a whole run.
        overrides: `a.b=c` strings, values read as YAML.

    Raises:
        ConfigError: a file, key or value that is wrong.
    """
    from_file = _read_yaml(Path(path)) if path is not None else {}
    named = from_file.pop("preset", None)
    names = _listed(preset or named)
    layers = [load_preset(name) for name in laid(names)]
    layers += [from_file, *(parse_override(text) for text in overrides)]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    shown = f"preset {' + '.join(names)}" if names else "configuration"
    where = str(path) if path is not None else shown
    return config_from_dict(merged, where=where)


def config_from_dict(values: Mapping[str, Any], *, where: str = "configuration") -> RunConfig:
    """Validate plain data; every problem becomes one sentence of a ConfigError."""
    values = dict(values)
    method = values.get("method")
    if isinstance(method, str):
        values["method"] = {"name": method}
    elif isinstance(method, Mapping):
        values["method"] = {"name": DEFAULT_METHOD, **method}
    reward = values.get("reward")
    if isinstance(reward, Mapping) and reward.keys() == {"name"}:
        values["reward"] = reward["name"]
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems: dict[str, str] = {}
        for problem in error.errors():  # a union complains once a member: one sentence a key
            problems.setdefault(_place(problem["loc"]).key, _explain(problem))
        raise ConfigError(f"{where}: {'; '.join(problems.values())}") from None


def changed(
    config: RunConfig, *layers: Mapping[str, Any], where: str = "configuration"
) -> RunConfig:
    """A resolved configuration with further layers of differences on it.

    Raises:
        ConfigError: a key or value that is wrong.
    """
    merged = config.to_dict()
    for layer in layers:
        merged = _merge(merged, layer)
    return config_from_dict(merged, where=where)


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=c` → {"a": {"b": c}}, c read as YAML.

    Raises:
        ConfigError: no `=`, an empty key, or a value that is no YAML.
    """
    key, separator, raw = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"--set {text!r}: write it as section.key=value, e.g. train.steps=20")
    try:
        value: Any = yaml.safe_load(raw)
    except NOT_YAML:
        raise ConfigError(f"--set {text!r:.200}: the value is not valid YAML") from None
    for part in reversed(parts):
        value = {part: value}
    return value


def _listed(presets: object) -> list[Any]:
    if not presets:
        return []
    return list(presets) if isinstance(presets, list | tuple) else [presets]


def _merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if key in ("method", "reward"):
            value = {"name": value} if isinstance(value, str) else value
            below = {"name": below} if isinstance(below, str) else below
            if key == "method" and isinstance(below, Mapping):
                below = {"name": DEFAULT_METHOD, **below}
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                # another choice starts from its own defaults, not with its predecessor's options
                another = "name" in value and value["name"] != below.get("name")
                below = None if another or "parts" in value or "file" in value else below
        if key == "stages" and isinstance(value, Mapping):
            value = _merged_stages(below, value)
        if key == "data" and isinstance(value, Mapping) and isinstance(below, Mapping):
            another = not str(value.get("path", PREFIX)).startswith(PREFIX)
            below = _without_embedded(below) if another else below
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _merged_stages(below: Any, changes: Mapping[str, Any]) -> list[Any]:
    """`stages.2.train.steps=5` changes the second of the stages below."""
    stages = list(below) if isinstance(below, (list, tuple)) else []
    for name, change in changes.items():
        if not (str(name).isdecimal() and 1 <= int(name) <= len(stages)):
            raise ConfigError(
                f"stages.{name}: there is no such stage; "
                + (f"they are numbered 1 to {len(stages)}" if stages else "no stages are listed")
            )
        place = int(name) - 1
        stage = stages[place]
        stage = {"method": stage} if isinstance(stage, str) else stage
        both = isinstance(stage, Mapping) and isinstance(change, Mapping)
        stages[place] = _merge(stage, change) if both else change
    return stages


def _without_embedded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Held-out files of the embedded data go when the training file is replaced by another."""
    return {key: value for key, value in data.items() if not str(value).startswith(PREFIX)}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error})") from None
    try:
        values = yaml.safe_load(text)
    except NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML; check indentation and colons") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        found = type(values).__name__
        raise ConfigError(f"{path}: expected sections like `train:`, found a {found}")
    return values


def _explain(problem: Mapping[str, Any]) -> str:
    kind, loc, given = problem["type"], problem["loc"], problem["input"]
    place = _place(loc)
    key = place.key
    if kind == "extra_forbidden":
        return f"unknown key {key!r}{nearest(str(loc[-1]), _known_keys(loc[:-1]))}"
    if kind == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    if kind.startswith("union_tag"):
        name = given.get("name") if isinstance(given, Mapping) else given
        return f"unknown method {name!r}{nearest(str(name), sorted(METHOD_CONFIGS))}"
    if kind in ("model_type", "model_attributes_type"):
        return f"{key}: expected keys below it, as in `{key}: {{key: value}}` (got {given!r:.200})"
    return f"{key}: {_plain(place.choice or str(problem['msg']))} (got {given!r:.200})"


class _Place(NamedTuple):
    """Where a problem is, as a key of the file. `choice` says, in the words of the schema, what may
    stand there if that is one of several plain types."""

    key: str
    choice: str


def _place(loc: tuple[Any, ...]) -> _Place:
    """The key of a pydantic location.

    A location also holds two things that are no keys: the name of the method, and the member of a
    union of plain types that was tried.
    """
    keys: list[str] = []
    expected: Any = RunConfig
    about = ""
    for part in loc:
        if part in METHOD_CONFIGS and keys == ["method"]:
            expected = METHOD_CONFIGS[part]
            continue
        keys.append(str(part))
        if isinstance(expected, type) and issubclass(expected, BaseModel):
            field = expected.model_fields.get(str(part))
            expected = field.annotation if field else None
            about = (field.description or "") if field else ""
        else:
            expected = get_args(expected)[1] if get_origin(expected) is dict else None
        if _is_choice(expected):
            return _Place(".".join(keys), about)
    return _Place(".".join(keys), "")


def _is_choice(expected: Any) -> bool:
    """Whether one of several plain types is expected; sections and None are no such types."""
    members = get_args(expected)
    union = get_origin(expected) in (Union, UnionType) and type(None) not in members
    return union and not any(isinstance(m, type) and issubclass(m, BaseModel) for m in members)


def _plain(sentence: str) -> str:
    """The sentence as a part of another one."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in loc:
        if part in METHOD_CONFIGS:
            model = METHOD_CONFIGS[str(part)]
            continue
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]
