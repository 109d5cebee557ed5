"""Number formats of a run, as pure functions.

Weights and activations have the dtype of the model; the adapter is always float32. A GPU without
bfloat16 (T4 and older) uses float16 with a loss scaler.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Mixed = Literal["no", "bf16", "fp16"]


def dtype_for(setting: str, *, cuda: bool, bfloat16: bool) -> torch.dtype:
    """Resolve `model.dtype`.

    Args:
        setting: a name of `DTYPES`, or `auto`.
        cuda: whether the model lives on a CUDA GPU.
        bfloat16: whether that GPU computes in bfloat16 itself.
    """
    if setting != "auto":
        return DTYPES[setting]
    if not cuda:
        return torch.float32
    return torch.bfloat16 if bfloat16 else torch.float16


def dtype_here(setting: str) -> torch.dtype:
    """`dtype_for` on this machine. torch by default counts a bfloat16 that a T4 only emulates."""
    cuda = torch.cuda.is_available()
    return dtype_for(
        setting,
        cuda=cuda,
        bfloat16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
    )


def mixed_precision(device_type: str, dtype: torch.dtype) -> Mixed:
    """Accelerate's name for the autocast of a run; "fp16" brings its loss scaler."""
    if device_type == "cpu" or dtype is torch.float32:
        return "no"
    return "bf16" if dtype is torch.bfloat16 else "fp16"


def float32_adapter(model: Any) -> None:
    """Hold what is trained in float32: an update is far smaller than a 16-bit weight's last bit."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
