"""Group fine-tuning (arXiv 2604.14258): a group-normalised advantage and a rectified coefficient.

    L = −A · C(π) · log π        C(π) = sg(π) where π < τ, else 1               (eq. 21 and eq. 5)

Deviations from the paper and from its public code (repository ZJU-OmniAI/GFT), numbered:
1. At π = τ the coefficient is 1 (eq. 5). The code (`compute_gft_loss`) keeps 1 only for π > τ.
2. Eqs. 6, 17 and 22 of the paper have one more factor 1/π, which the gradient of eq. 21 does not
   have. The loss follows eq. 21, as the code does.
3. A group of one has advantage 0 (`gft_lite.advantages`). In the paper (appendix B.3) it becomes
   SFT; in the code (`compute_grpo_outcome_advantage`) its advantage is its reward.
4. The trainer divides by the token count of the whole optimizer step. The code (`update_policy` of
   its actor) averages the token means of micro-batches, so its gradient depends on how responses
   are batched: by 4 to 33 % on the embedded model (benchmarks/reduction.py).
5. A demonstration longer than `group.max_new_tokens` is left out of its group and counted. The code
   (`build_dataprop_from_gen_batch`) cuts it at the limit, its end-of-text token included.
6. If a prompt has more teacher responses than the group takes, they are drawn at random at every
   visit (`group.choose`). The code always takes the first ones.
7. One optimizer step a rollout by default (`train.updates_per_rollout`). The released script takes
   four.
8. An optional k3 KL to the reference policy, off by default.
9. An option to leave self responses unrectified, off by default (docs/decisions/0012).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gft_lite.config import GftMethod
from gft_lite.methods.base import LossInputs, Method, per_token
from gft_lite.methods.kl import k3
from gft_lite.types import Source


def rectified_coefficient(logps: Tensor, tau: float | Tensor) -> Tensor:
    """C(π) of eq. 5, same shape as `logps`; no gradient flows through it."""
    # detached: C(π) is a weight of the gradient, not a term of the loss
    probs = logps.detach().exp()
    return torch.where(probs < tau, probs, torch.ones_like(probs))


def gft_loss(logps: Tensor, advantages: Tensor, tau: float | Tensor) -> Tensor:
    """−A·C(π)·log π, per token (eq. 21).

    Args:
        logps: (B, T) log-probabilities of response tokens, nats.
        advantages: (B,) or (B, T), dimensionless.
        tau: probability threshold of eq. 5, one for all or one a token.

    Returns:
        (B, T) loss, not reduced.
    """
    return -per_token(advantages, logps) * rectified_coefficient(logps, tau) * logps


def _tau(config: GftMethod, source: Source) -> float:
    return 0.0 if config.rectify == "demonstrations" and source == "self" else config.tau


def _loss(config: GftMethod, inputs: LossInputs) -> Tensor:
    tau: float | Tensor = config.tau
    # one τ a token: self responses can be left unrectified
    if inputs.own is not None:
        tau = torch.where(inputs.own, _tau(config, "self"), _tau(config, "expert"))
    loss = gft_loss(inputs.logps, inputs.advantages, tau)
    if config.kl_coef and inputs.ref_logps is not None:
        loss = loss + config.kl_coef * k3(inputs.logps, inputs.ref_logps)
    return loss


GFT = Method(
    loss=_loss,
    tau=_tau,
    needs_reference=lambda config: config.kl_coef > 0,
)
