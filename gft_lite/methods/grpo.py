"""Group relative policy optimisation (arXiv 2402.03300, eq. 3) on self responses.

    L = −min(r·A, clip(r, 1 − ε, 1 + ε)·A) + β·k3        r = π / π_old

Deviations, numbered:
1. Tokens are averaged over the whole optimizer step, not per response first: the trainer reduces.
2. No dual clip. The repository volcengine/verl (`compute_policy_loss_vanilla`) also bounds the loss
   at A < 0 by −c·A with c = 3 (arXiv 1912.09729); the paper has no such bound. The two differ only
   at r > c.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gft_lite.config import GrpoMethod
from gft_lite.methods.base import LossInputs, Method, per_token
from gft_lite.methods.kl import k3


def grpo_loss(logps: Tensor, old_logps: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """The clipped surrogate, per token.

    Args:
        logps, old_logps: (B, T) under the current and the sampling policy, nats.
        advantages: (B,) or (B, T).
        clip: half-width ε of the trusted interval of the ratio.
    """
    # r = 1 with gradient when the policy has not moved since it sampled
    ratio = (logps - old_logps.detach()).exp()
    advantages = per_token(advantages, logps)
    # the minimum is pessimistic for both signs of A: clipping never makes a step larger
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def _loss(config: GrpoMethod, inputs: LossInputs) -> Tensor:
    # with one update a rollout the sampling policy is the current one
    old = inputs.logps.detach() if inputs.old_logps is None else inputs.old_logps
    loss = grpo_loss(inputs.logps, old, inputs.advantages, config.clip)
    if config.kl_coef and inputs.ref_logps is not None:
        loss = loss + config.kl_coef * k3(inputs.logps, inputs.ref_logps)
    return loss


GRPO = Method(
    loss=_loss,
    needs_reference=lambda config: config.kl_coef > 0,
    needs_old=True,
)
