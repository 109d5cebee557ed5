"""The model in memory: base and adapters of the last request that used them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gft_lite.adapters import adapter_folder
from gft_lite.adapters.compare import Identity, LoadedAdapters, load_adapters
from gft_lite.config import ModelConfig
from gft_lite.models.fingerprint import WEIGHTS

Say = Callable[..., None]  # sends an event: its kind, then its fields


@dataclass(frozen=True)
class ModelSpec:
    """A base and its adapters, in order."""

    model: ModelConfig
    adapters: tuple[Path, ...]

    @classmethod
    def of(cls, model: dict[str, Any], adapters: Sequence[str]) -> ModelSpec:
        """Parse the fields of a request."""
        return cls(ModelConfig(**model), tuple(Path(path) for path in adapters))

    def state(self) -> tuple[object, ...]:
        """Differs between specs, and after a run has written its adapter again."""
        files = [adapter_folder(path) / WEIGHTS for path in self.adapters]
        return (self.model, self.adapters, tuple(file.stat().st_mtime_ns for file in files))


class ModelCache:
    """Holds at most one base with its adapters."""

    def __init__(self) -> None:
        self._loaded: LoadedAdapters | None = None
        self._state: object = None

    def load(self, spec: ModelSpec) -> LoadedAdapters:
        """The base with its adapters, from memory if they are those of the last request."""
        if self._loaded is None or self._state != spec.state():
            self.drop()  # two bases may not fit into memory
            self._loaded = load_adapters(spec.model, spec.adapters)
            self._state = spec.state()
        return self._loaded

    def drop(self) -> None:
        """Free the memory."""
        self._loaded = self._state = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def identity_fields(identity: Identity) -> dict[str, Any]:
    """What the app shows of a column; folders stay in this process."""
    fields = asdict(identity)
    fields.pop("adapter")
    return fields
