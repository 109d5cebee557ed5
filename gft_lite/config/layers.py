"""How a run's configuration is put together.

Layers, later ones win: schema defaults ← preset ← YAML file ← `--set a.b=c`. Unknown keys are
errors that name the nearest known key. Presets and files hold differences only.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from gft_lite.config.schema import METHOD_CONFIGS, RunConfig
from gft_lite.types import ConfigError

PACKAGE = Path(__file__).parent.parent


def preset_dir() -> Path:
    """Where presets lie: inside an installed wheel, or beside the package in a checkout."""
    inside = PACKAGE / "presets"
    return inside if inside.is_dir() else PACKAGE.parent / "presets"


def preset_names() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(path.stem for path in preset_dir().glob("*.yaml"))


def load_preset(name: str) -> dict[str, Any]:
    """The differences a preset makes.

    Raises:
        ConfigError: no such preset.
    """
    if name not in preset_names():
        raise ConfigError(
            f"unknown preset {name!r}{_nearest(name, preset_names())}; "
            "`gft-lite presets` lists them"
        )
    return _read_yaml(preset_dir() / f"{name}.yaml")


def load_config(
    path: str | os.PathLike[str] | None = None,
    *,
    preset: str | None = None,
    overrides: Iterable[str] = (),
) -> RunConfig:
    """Build the resolved configuration from its layers.

    Args:
        path: a YAML file of differences; it may name a `preset:` itself.
        preset: a preset name.
        overrides: `a.b=c` strings, values read as YAML.

    Raises:
        ConfigError: a file, key or value that is wrong.
    """
    from_file = _read_yaml(Path(path)) if path is not None else {}
    preset = preset or from_file.pop("preset", None)
    layers = [load_preset(preset)] if preset else []
    layers += [from_file, *(parse_override(text) for text in overrides)]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    where = str(path) if path is not None else (f"preset {preset}" if preset else "configuration")
    return config_from_dict(merged, where=where)


def config_from_dict(values: Mapping[str, Any], *, where: str = "configuration") -> RunConfig:
    """Validate plain data; every problem becomes one sentence of a ConfigError."""
    values = dict(values)
    method = values.get("method")
    if isinstance(method, str):
        values["method"] = {"name": method}
    elif isinstance(method, Mapping) and "name" not in method:
        values["method"] = {"name": "gft", **method}
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise ConfigError(f"{where}: {problems}") from None


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
    except yaml.YAMLError:
        raise ConfigError(f"--set {text!r}: the value is not valid YAML") from None
    for part in reversed(parts):
        value = {part: value}
    return value


def _merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if key in ("method", "reward"):
            value = {"name": value} if isinstance(value, str) else value
            below = {"name": below} if isinstance(below, str) else below
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                # another choice starts from its own defaults, not with its predecessor's options
                another = "name" in value and value["name"] != below.get("name")
                below = None if another or "parts" in value or "file" in value else below
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error})") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
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
    # the second place of a method's location is the name of the method, which is no key
    loc = [str(p) for i, p in enumerate(problem["loc"]) if not (i == 1 and p in METHOD_CONFIGS)]
    key = ".".join(loc)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1])
        return f"unknown key {key!r}{_nearest(loc[-1], known)}"
    if problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"].startswith("union_tag"):
        names = sorted(METHOD_CONFIGS)
        given = problem["input"].get("name") if isinstance(problem["input"], Mapping) else None
        return f"unknown method {given!r}{_nearest(str(given), names)}"
    return f"{key}: {problem['msg'].lower()} (got {problem['input']!r})"


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


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(known)})"
