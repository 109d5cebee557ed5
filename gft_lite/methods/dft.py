"""Dynamic fine-tuning (arXiv 2508.05629, eq. 9): every token weighted by its own probability."""

from __future__ import annotations

from torch import Tensor

from gft_lite.methods.base import Method


def dft_loss(logps: Tensor) -> Tensor:
    """−sg(π)·log π, per token; `logps` (B, T) in nats."""
    # the weight cancels the 1/π of the gradient of log π
    return -logps.detach().exp() * logps


ALL_TOKENS = 2.0  # above every probability

DFT = Method(
    loss=lambda config, inputs: dft_loss(inputs.logps),
    tau=lambda config, source: ALL_TOKENS,
)
