"""CHORD (arXiv 2508.11408): on-policy GRPO and off-policy SFT, weighted against each other.

    L = (1 − μ)·GRPO(self responses) + μ·mean[−φ·log p] (expert)
    variant phi: φ = sg(p·(1 − p)), μ constant        variant mu: φ = 1, μ falls by a cosine

Deviations from the code of its authors (repository modelscope/Trinity-RFT), numbered:
1. Experts answer the prompts of the same step. The code (`MixSampleStrategy`) reads them from a
   separate SFT set, as a fixed share of the batch.
2. The two means are over all tokens of self responses and over all tokens of experts in the
   optimizer step. The code (`MIXCHORDPolicyLossFn`) adds token means of micro-batches, weighted by
   their number of responses.
3. In variant mu, μ falls over the whole run. The code counts warm-up and decay in steps
   (`mu_warmup_steps`, `mu_decay_steps`; 0 and 200 for this variant).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gft_lite.config import ChordMethod
from gft_lite.methods.base import LossInputs, Method
from gft_lite.methods.grpo import grpo_loss


def phi_weight(logps: Tensor) -> Tensor:
    """sg(p·(1 − p)): tokens that are settled either way weigh little. Shape of `logps`."""
    # largest at p = 1/2
    probs = logps.detach().exp()
    return probs * (1 - probs)


def cosine_mu(progress: float, start: float, end: float) -> float:
    """μ at a progress from 0 to 1: `start` first, `end` last, half a cosine between."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def chord_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    own: Tensor,
    mu: float,
    clip: float,
    *,
    phi: bool,
) -> Tensor:
    """Per token; (B, T) log-probs in nats, `own` true at tokens the policy sampled."""
    # both losses at every token; `own` chooses one of them below
    expert = -(phi_weight(logps) if phi else 1.0) * logps
    reinforced = grpo_loss(logps, old_logps, advantages, clip)
    return torch.where(own, (1 - mu) * reinforced, mu * expert)


def _loss(config: ChordMethod, inputs: LossInputs) -> Tensor:
    old = inputs.logps.detach() if inputs.old_logps is None else inputs.old_logps
    assert inputs.own is not None
    phi = config.variant == "phi"
    mu = config.mu if phi else cosine_mu(inputs.progress, config.mu_start, config.mu_end)
    return chord_loss(inputs.logps, old, inputs.advantages, inputs.own, mu, config.clip, phi=phi)


CHORD = Method(loss=_loss, needs_old=True, separate_means=True)
