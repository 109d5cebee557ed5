"""Which settings of a configuration a browser may choose.

A setting is free, free after a check, or only for the command line. Numbers, switches and fixed
choices of `OPEN_SECTIONS` are free. Every other setting needs an entry in `RULES`; a setting
without one must keep its default. So a new field of the schema is closed until it gets a rule.
The rules hold for a configuration and for each of its stages, as resolved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from gft_lite.assets import PREFIX
from gft_lite.config import EMBEDDED_MODEL, RunConfig, stages_of
from gft_lite.config.section import Section
from gft_lite.rewards import REWARDS, read_spec
from gft_lite.types import ConfigError, InputError
from gft_lite.ui.workspace import Workspace

OPEN_SECTIONS = ("lora", "group", "method", "train", "eval")
REVISION = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)*")

Rule = Callable[[str, Any, Workspace], None]


class Setting(NamedTuple):
    """One leaf of the schema with its value in a configuration."""

    key: str
    value: Any
    default: Any
    annotation: Any


def check_settings(config: RunConfig, workspace: Workspace) -> None:
    """Reject a configuration with a setting that a browser may not choose.

    Raises:
        ConfigError: a path outside the workspace, or a setting that is only for the command line.
        RewardError: a reward from a Python file, or an unknown one.
    """
    _check_run(config, workspace)
    for number, stage in enumerate(stages_of(config), 1):
        try:
            _check_run(stage.config, workspace)
        except InputError as error:
            raise type(error)(f"stages.{number}: {error}") from None


def check_place(key: str, path: str | None, workspace: Workspace) -> None:
    """Reject a model or a data file that is not embedded and lies outside the workspace.

    The name of a hub repository is a relative path, and the worker starts relative paths at the
    workspace, so such a name passes unless a link of that name leads out.

    Raises:
        ConfigError: names the key.
    """
    if path is None or path == EMBEDDED_MODEL or path.startswith(PREFIX):
        return
    if not workspace.contains(path):
        raise ConfigError(
            f"{key}: {path} lies outside the workspace; upload the file, or name a model or data "
            "set of the hub as owner/name"
        )


def settings_of(section: Section, prefix: str = "") -> Iterator[Setting]:
    """Every leaf of a configuration, with its key as in the YAML file."""
    for name, field in type(section).model_fields.items():
        key, value = f"{prefix}{field.alias or name}", getattr(section, name)
        if isinstance(value, Section):
            yield from settings_of(value, f"{key}.")
        else:
            default = field.get_default(call_default_factory=True)
            yield Setting(key, value, default, field.annotation)


def rule_of(setting: Setting) -> Rule:
    """The rule for a setting."""
    in_open_section = setting.key.partition(".")[0] in OPEN_SECTIONS
    if setting.key not in RULES and in_open_section and _is_plain(setting.annotation):
        return _free
    return RULES.get(setting.key, _command_line_only)


def _check_run(config: RunConfig, workspace: Workspace) -> None:
    for setting in settings_of(config):
        rule = rule_of(setting)
        if rule is not _command_line_only or setting.value != setting.default:
            rule(setting.key, setting.value, workspace)


def _is_plain(annotation: Any) -> bool:
    """Whether its values are only numbers, switches, fixed choices or nothing."""
    if get_origin(annotation) is Literal:
        return True
    members = get_args(annotation)
    if members and get_origin(annotation) in (tuple, list, dict):
        return False
    if members:
        return all(_is_plain(member) for member in members)
    return annotation in (int, float, bool, NoneType)


def _free(key: str, value: Any, workspace: Workspace) -> None:
    """Accept any value of the schema."""


def _command_line_only(key: str, value: Any, workspace: Workspace) -> None:
    raise ConfigError(f"{key} can only be set from the command line; leave it out here")


def _check_adapter(key: str, path: str | None, workspace: Workspace) -> None:
    if path is not None and not workspace.contains(path):
        raise ConfigError(f"{key}: only adapters of this workspace can be continued here")


def _check_revision(key: str, name: str | None, workspace: Workspace) -> None:
    if name is not None and (not REVISION.fullmatch(name) or ".." in name):
        raise ConfigError(f"{key}: {name!r} is not the name of a branch, tag or commit")


def _check_reward(key: str, spec: Any, workspace: Workspace) -> None:
    read_spec(spec, REWARDS, allow_custom=False)


RULES: dict[str, Rule] = {
    "model.name": check_place,
    "model.revision": _check_revision,
    "model.backend": _free,
    "model.dtype": _free,
    "model.load_in_4bit": _free,
    "model.adapter": _check_adapter,
    "model.reference": _free,
    "model.gradient_checkpointing": _free,
    "model.trust_remote_code": _command_line_only,  # runs code that comes with a model
    "lora.targets": _free,  # names of modules
    "data.path": check_place,
    "data.format": _free,  # a name, looked up
    "data.columns": _free,  # names of columns
    "data.split": _free,  # a name, compared with the existing splits
    "data.limit": _free,
    "data.skip_bad_rows": _free,
    "data.system_prompt": _free,  # text
    "data.max_prompt_tokens": _free,
    "data.eval_path": check_place,
    "data.retention_path": check_place,
    "reward": _check_reward,
    "stages": _free,  # each is checked like a run
}
