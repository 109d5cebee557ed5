"""The variants of a comparison, and whether a folder already holds the same plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.config import RunConfig, changed
from gft_lite.preflight.inputs import validate_inputs
from gft_lite.types import ConfigError, InputError, RunError


@dataclass(frozen=True)
class Variant:
    """One line of the table.

    name: of its row and its folders.
    changes: differences over the common configuration.
    rates: learning rates to train with; the best of several is taken. None: the common one.
    tried: rates that were compared for it before, elsewhere.
    """

    name: str
    changes: Mapping[str, Any]
    rates: tuple[float, ...] = ()
    tried: tuple[float, ...] = ()

    @property
    def options(self) -> str:
        """The method's options that are not its defaults, as in `rectify=demonstrations`."""
        method = self.changes.get("method")
        options = dict(method) if isinstance(method, Mapping) else {}
        return ", ".join(f"{key}={value}" for key, value in options.items() if key != "name")

    def configs(self, common: RunConfig) -> dict[str, RunConfig]:
        """Its runs, by the name of their folder."""
        shared = changed(common, self.changes, where=self.name)
        if not self.rates:
            return {self.name: shared}
        names = {
            rate: self.name if len(self.rates) == 1 else f"{self.name}-lr-{rate:g}"
            for rate in self.rates
        }
        return {
            names[rate]: changed(shared, {"train": {"learning_rate": rate}}, where=self.name)
            for rate in self.rates
        }


def is_of(file: Path, plan: Mapping[str, Any]) -> bool:
    """Whether the plan in a folder is this one; false if the folder has none.

    Raises:
        RunError: it holds another one.
    """
    if not file.is_file():
        return False
    recorded = json.loads(file.read_text(encoding="utf-8"))
    plan = json.loads(json.dumps(plan))  # tuples are lists there
    if recorded == plan:
        return True
    raise RunError(
        f"{file.parent} already holds another comparison, which differs in "
        f"{_first_difference(recorded, plan)}; nothing was overwritten. Choose another --out"
    )


def _first_difference(one: Any, other: Any, where: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            if one.get(key) != other.get(key):
                inner = f"{where}.{key}" if where and where != "common" else str(key)
                return _first_difference(one.get(key), other.get(key), inner)
    return where


def check(config: RunConfig, name: str) -> None:
    """Refuse what could not be trained or measured, before anything begins."""
    if config.stages:
        raise ConfigError("stages: methods are compared one by one; leave stages out")
    try:
        validate_inputs(config, allow_custom_reward=True).scorer.close()
    except InputError as error:
        raise type(error)(f"{name}: {error}") from None
