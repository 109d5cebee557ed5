"""The model in memory: base and adapters of the last request that used them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gft_lite.adapters import FIXED_PROMPTS, adapter_folder
from gft_lite.adapters.compare import Column, Comparison, compare
from gft_lite.config import ModelConfig
from gft_lite.models import Policy
from gft_lite.models.fingerprint import WEIGHTS
from gft_lite.types import Example, Message

Say = Callable[..., None]  # an event: its kind, then its fields
Fit = Callable[[Sequence[Example], Policy, int], Sequence[Example]]


@dataclass(frozen=True)
class ModelSpec:
    """Which base and which adapters, in order."""

    model: ModelConfig
    adapters: tuple[Path, ...]

    @classmethod
    def of(cls, model: dict[str, Any], adapters: Sequence[str]) -> ModelSpec:
        """From the words of a request."""
        return cls(ModelConfig(**model), tuple(Path(path) for path in adapters))

    def state(self) -> tuple[object, ...]:
        """Changes where the request does, or where a run has written its adapter anew."""
        files = [adapter_folder(path) / WEIGHTS for path in self.adapters]
        return (self.model, self.adapters, tuple(file.stat().st_mtime_ns for file in files))


class ModelCache:
    """At most one base with its adapters; `policy` and `columns` go together."""

    def __init__(self) -> None:
        self.policy: Any = None
        self.found: Comparison | None = None
        self._state: object = None

    def ready(self, wanted: ModelSpec) -> Comparison:
        """Base and adapters in memory, loaded where they are not, and which they are."""
        if self.found is None or self._state != wanted.state():
            anything = Example((Message("user", FIXED_PROMPTS[0]),))
            self.compare(wanted, [anything], None, lambda asked, *_: asked, max_new_tokens=1)
        assert self.found is not None
        return self.found

    def compare(
        self, wanted: ModelSpec, examples: Sequence[Example], scorer: Any, fit: Fit, **how: Any
    ) -> Comparison:
        """`adapters.compare.compare`, whose model stays here."""
        self.drop()

        def keep(asked: Sequence[Example], policy: Policy, tokens: int) -> Sequence[Example]:
            self.policy = policy
            return fit(asked, policy, tokens)

        self.found = compare(wanted.model, wanted.adapters, examples, scorer, fit=keep, **how)
        self._state = wanted.state()
        return self.found

    def drop(self) -> None:
        """Give the memory back."""
        self.policy = self.found = self._state = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def adapter_name(column: Column) -> str | None:
    """The name under which a column's adapter is loaded; None for the bare base."""
    return column.name if column.adapter else None


def identity(column: Column) -> dict[str, Any]:
    """Which model a column is, and the proof."""
    return {
        "name": column.name,
        "adapter_sha256": column.adapter_sha256,
        "max_logit_difference": column.max_logit_difference,
        "mean_logit_difference": column.mean_logit_difference,
    }
