"""Proximal SFT (arXiv 2508.17784): PPO's clipped surrogate on demonstrations with A = 1.

    L = −min(r, clip(r, 1 − ε_low, 1 + ε_high))        r = π / π_old

Deviation, numbered:
1. π_old is the policy before the updates of one rollout, so with one update a rollout r is 1 and
   the gradient is SFT's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gft_lite.config import PsftMethod
from gft_lite.methods.base import LossInputs, Method


def psft_loss(logps: Tensor, old_logps: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """Per token; both log-probs (B, T) in nats."""
    # with A = 1 the minimum is r below 1 − ε_low, so only the upper bound limits a step
    ratio = (logps - old_logps.detach()).exp()
    return -torch.minimum(ratio, ratio.clamp(1 - clip_low, 1 + clip_high))


def _loss(config: PsftMethod, inputs: LossInputs) -> Tensor:
    old = inputs.logps.detach() if inputs.old_logps is None else inputs.old_logps
    return psft_loss(inputs.logps, old, config.clip_low, config.clip_high)


PSFT = Method(loss=_loss, needs_old=True)
