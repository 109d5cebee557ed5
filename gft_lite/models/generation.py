"""Batched generation with a causal language model: left padding, explicit sampling settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gft_lite.models.base import Sampling


@torch.no_grad()
def generate_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_ids: Sequence[int],
    pad_id: int,
    device: torch.device,
) -> list[list[int]]:
    """One response a prompt, each up to and including its first stop token.

    Returns Python integers, because `generate` may return an inference-mode tensor.
    """
    from transformers import GenerationConfig

    width = max(len(p) for p in prompts)
    # left padding: every prompt ends in the last column, where generation continues
    ids = torch.tensor([[pad_id] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    do_sample = sampling.temperature > 0
    options = {"temperature": sampling.temperature, "top_p": sampling.top_p} if do_sample else {}
    out = model.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        generation_config=GenerationConfig(
            do_sample=do_sample,
            top_k=sampling.top_k if do_sample else None,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=list(stop_ids),
            **options,
        ),
        pad_token_id=pad_id,  # by name: Unsloth would put the model's own eos over the config's
    )
    stops = set(stop_ids)
    # rows that finish early are padded to the longest: (B, width + new) → lists of new tokens
    return [_until_stop(row, stops) for row in out[:, width:].tolist()]


def _until_stop(ids: list[int], stops: set[int]) -> list[int]:
    for i, token in enumerate(ids):
        if token in stops:
            return ids[: i + 1]
    return ids
