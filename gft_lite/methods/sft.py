"""Supervised fine-tuning: the negative log-likelihood of the expert's tokens."""

from __future__ import annotations

from torch import Tensor

from gft_lite.methods.base import Method


def sft_loss(logps: Tensor) -> Tensor:
    """−log π, per token; `logps` (B, T) in nats."""
    return -logps


SFT = Method(
    loss=lambda config, inputs: sft_loss(inputs.logps),
)
