"""Anchored SFT (arXiv 2509.23753): DFT, held to the reference by a full-vocabulary KL.

L = −sg(π)·log π + λ·KL(π_ref ‖ π)        the KL at every response position
"""

from __future__ import annotations

from torch import Tensor

from gft_lite.config import AsftMethod
from gft_lite.methods.base import LossInputs, Method
from gft_lite.methods.dft import ALL_TOKENS, dft_loss


def asft_loss(logps: Tensor, ref_kl: Tensor, kl_coef: float) -> Tensor:
    """Per token; `ref_kl` (B, T) in nats is KL(π_ref ‖ π) of the next-token distribution."""
    return dft_loss(logps) + kl_coef * ref_kl


def _loss(config: AsftMethod, inputs: LossInputs) -> Tensor:
    assert inputs.ref_kl is not None
    return asft_loss(inputs.logps, inputs.ref_kl, config.kl_coef)


ASFT = Method(loss=_loss, tau=lambda config, source: ALL_TOKENS, needs_ref_kl=True)
