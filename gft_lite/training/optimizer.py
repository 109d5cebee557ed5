"""The optimizer of the adapter and its learning-rate schedule."""

from __future__ import annotations

import math
from typing import Any

import torch

from gft_lite.config import TrainConfig


def make_optimizer(
    parameters: list[torch.nn.Parameter], train: TrainConfig, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW, or one of bitsandbytes' 8-bit versions of it."""
    kind = optimizer_kind(train.optimizer, device.type)
    options: dict[str, Any] = {"lr": train.learning_rate, "weight_decay": train.weight_decay}
    if kind == "adamw":
        return torch.optim.AdamW(parameters, **options)
    import bitsandbytes

    optimizers = {
        "adamw_8bit": bitsandbytes.optim.AdamW8bit,
        "paged_adamw_8bit": bitsandbytes.optim.PagedAdamW8bit,
    }
    return optimizers[kind](parameters, **options)


def optimizer_kind(setting: str, device_type: str) -> str:
    """Resolve `train.optimizer`: "auto" is 8-bit and paged on CUDA, which saves GPU memory."""
    if setting != "auto":
        return setting
    return "paged_adamw_8bit" if device_type == "cuda" else "adamw"


def learning_rate(step: int, train: TrainConfig, trained_tokens: int = 0) -> float:
    """The rate of a 0-based step: linear warm-up, then constant, linear or cosine to zero.

    Args:
        step: steps taken so far.
        train: steps, token budget and shape.
        trained_tokens: response tokens trained on so far. With a token budget, the schedule
            follows the larger of the two fractions, so that it reaches zero at the end that comes
            first. A resumed run restores both and gets the same rates.
    """
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    progress = (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    if train.max_tokens:
        progress = max(progress, min(1.0, trained_tokens / train.max_tokens))
    factor = {
        "constant": 1.0,
        "linear": 1 - progress,
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
    }[train.schedule]
    return train.learning_rate * factor
