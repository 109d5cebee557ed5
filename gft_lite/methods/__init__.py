"""Training objectives: one a file, each a pure function of per-token log-probs.

A method never reduces and never sees logits. It turns what `LossInputs` holds into a per-token loss
of the same shape; the trainer alone divides, by the token count of the whole optimizer step.

`METHODS` resolves the objectives that `gft_lite.config.methods.REGISTRY` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from gft_lite.config.methods import REGISTRY
from gft_lite.methods.base import LossInputs, Method


class _Objectives(Mapping[str, Method]):
    """Name → objective of every registered method; the module of one is imported when asked for."""

    def __getitem__(self, name: str) -> Method:
        module, _, attribute = REGISTRY[name].objective.partition(":")
        objective = getattr(import_module(module), attribute)
        assert isinstance(objective, Method), REGISTRY[name].objective
        return objective

    def __iter__(self) -> Iterator[str]:
        return iter(REGISTRY)

    def __len__(self) -> int:
        return len(REGISTRY)


METHODS: Mapping[str, Method] = _Objectives()

__all__ = ["METHODS", "LossInputs", "Method"]
