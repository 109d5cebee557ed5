"""LUFFY (arXiv 2504.14945): policy gradient over a group that holds off-policy demonstrations.

self responses   L = −A·r                    r = π / π_old, not clipped
demonstrations   L = −A·f(π)                 f(x) = x / (x + γ), gradient through f   (eq. 5)

Deviations from its released training script (repository ElliottYan/LUFFY, exp_scripts/train.sh),
numbered:
1. Advantages are divided by the standard deviation of the group. The script turns this off
   (`grpo_use_std=False`).
2. The trainer divides by the token count of the whole optimizer step. The script sums over tokens
   and divides by the padded response length, a constant (`loss_remove_token_mean=True`), so longer
   responses weigh more.
3. No entropy bonus. The script has one of 0.001 (`entropy_coeff`).
4. Demonstrations are as many as `group.expert` and `group.teacher` name. The script has one
   off-policy response of eight (`n_prefix=1`, `n=8`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gft_lite.config import LuffyMethod
from gft_lite.methods.base import LossInputs, Method, per_token


def luffy_loss(
    logps: Tensor, old_logps: Tensor, advantages: Tensor, own: Tensor, gamma: float
) -> Tensor:
    """Per token.

    Args:
        logps, old_logps: (B, T) under the current and the sampling policy, nats.
        advantages: (B,) or (B, T).
        own: bool, broadcastable to (B, T): sampled by the policy itself.
        gamma: shape of f; the smaller, the more unlikely tokens weigh.
    """
    # not detached: the gradient flows through f, which lifts unlikely tokens
    probs = logps.exp()
    shaped = probs / (probs + gamma)
    ratio = (logps - old_logps.detach()).exp()
    return -per_token(advantages, logps) * torch.where(own, ratio, shaped)


def _loss(config: LuffyMethod, inputs: LossInputs) -> Tensor:
    old = inputs.logps.detach() if inputs.old_logps is None else inputs.old_logps
    assert inputs.own is not None
    return luffy_loss(inputs.logps, old, inputs.advantages, inputs.own, config.gamma)


LUFFY = Method(loss=_loss, needs_old=True)
