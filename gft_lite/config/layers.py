"""How a run's configuration is put together.

Layers, later ones win: schema defaults ← presets ← YAML file ← `--set a.b=c`. Unknown keys are
errors that name the nearest known key. Presets and files hold differences only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from gft_lite.config.methods import section_class
from gft_lite.config.presets import laid, nearest, preset_path
from gft_lite.config.schema import RunConfig
from gft_lite.types import ConfigError

# besides syntax: no such date, a number of thousands of digits, nested beyond the stack
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


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
        merged = RunConfig.merge(merged, layer)
    shown = f"preset {' + '.join(names)}" if names else "configuration"
    return config_from_dict(merged, where=str(path) if path is not None else shown)


def config_from_dict(values: Mapping[str, Any], *, where: str = "configuration") -> RunConfig:
    """Validate plain data; every problem becomes one sentence of a ConfigError."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems: dict[str, str] = {}
        for problem in error.errors():  # one for each member of a union: one sentence a key
            problems.setdefault(*_explain(problem, values))
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
        merged = RunConfig.merge(merged, layer)
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
        kind = type(values).__name__
        raise ConfigError(f"{path}: expected sections like `train:`, found a {kind}")
    return values


def _explain(problem: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, str]:
    """(key, sentence) of a problem that pydantic found in `values`."""
    keys, section, description = _locate(problem["loc"], values)
    key, given = ".".join(keys), problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            fields = section.model_fields.items()
            known = [field.alias or name for name, field in fields]
            return key, f"unknown key {key!r}{nearest(keys[-1], known)}"
        case "value_error":
            return key, str(problem["msg"]).removeprefix("Value error, ")
        case "model_type" | "model_attributes_type":
            shape = f"expected keys below it, as in `{key}: {{key: value}}`"
            return key, f"{key}: {shape} (got {given!r:.200})"
    # pydantic reports each member of a union of plain types: the field's description says it once
    is_union = len(keys) < len(problem["loc"])
    sentence = description if is_union and description else str(problem["msg"])
    sentence = sentence[:1].lower() + sentence[1:].rstrip(".")
    return key, f"{key}: {sentence} (got {given!r:.200})"


def _locate(
    loc: tuple[Any, ...], values: Mapping[str, Any]
) -> tuple[list[str], type[BaseModel], str]:
    """(keys of the file, the section they end in, the description of the last field).

    A pydantic location ends with the tried member of a union, which is no key of the file.
    """
    keys: list[str] = []
    section: type[BaseModel] = RunConfig
    description = ""
    for part in loc:
        if not (isinstance(values, Mapping) and part in values):
            break
        if keys == ["method"]:
            section = section_class(values)
        values = values[part]
        keys.append(str(part))
        by_key = {field.alias or name: field for name, field in section.model_fields.items()}
        if (field := by_key.get(str(part))) is None:
            continue
        description = field.description or ""
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            section = field.annotation
    return keys, section, description
