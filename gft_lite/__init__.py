"""gft-lite: Group Fine-Tuning on the one GPU you own.

    from gft_lite import load_config, train, evaluate, load_examples

Names are loaded when they are first used, so that `import gft_lite` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "RunConfig": "gft_lite.config",
    "load_config": "gft_lite.config",
    "load_examples": "gft_lite.data",
    "train": "gft_lite.training.worker",
    "train_iter": "gft_lite.training.worker",
    "RunResult": "gft_lite.training.worker",
    "evaluate": "gft_lite.evaluation.accuracy",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gft_lite' has no attribute {name!r}")
