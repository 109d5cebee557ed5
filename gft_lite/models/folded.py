"""Sampling with the adapter folded into the weights: one product a layer in place of three.

Only float32 weights are folded. In half precision an update smaller than the rounding of a weight
would vanish, and the answers would come from another policy than the one that learns from them. The
weights are put back afterwards, not subtracted back, so that not a bit of the base changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def folded(model: Any) -> Iterator[None]:
    """Inside, the active adapter of a PEFT model is part of its linear layers' weights.

    Left alone: models without an adapter or with it switched off, quantised layers, and a layer
    that shares its weight with the input embedding. Costs a copy of the folded weights.
    """
    from peft.tuners.lora import LoraLayer

    embedding = model.get_input_embeddings().weight
    kept: list[tuple[nn.Parameter, torch.Tensor]] = []
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    try:
        for layer in layers:
            base = layer.get_base_layer()
            if layer.disable_adapters or not isinstance(base, nn.Linear):
                continue
            if base.weight.dtype != torch.float32 or base.weight is embedding:
                continue
            for parameter in base.parameters(recurse=False):
                kept.append((parameter, parameter.data))
                parameter.data = parameter.data.clone()
            layer.merge()
        yield
    finally:
        for parameter, original in kept:
            parameter.data = original
        for layer in layers:
            layer.merged_adapters.clear()
