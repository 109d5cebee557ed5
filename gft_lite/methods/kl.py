"""A per-token estimate of KL(policy ‖ reference) from the policy's own samples."""

from __future__ import annotations

from torch import Tensor


def k3(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """exp(r) − r − 1 with r = ref − logp: unbiased on samples of the policy, never negative.

    Source: J. Schulman, "Approximating KL divergence" (2020); used as in arXiv 2402.03300, eq. 4.
    Shapes: both (B, T), nats; so is the result.
    """
    # e^r − 1 ≥ r, so every term is at least 0
    log_ratio = ref_logps - logps
    return log_ratio.exp() - log_ratio - 1
