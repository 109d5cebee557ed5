"""What a method is: a per-token loss and a declaration of what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class LossInputs:
    """Everything a loss may look at; every tensor broadcasts to `logps`.

    logps: log-probability of each response token under the current policy, nats, any shape.
    advantages: the response's advantage, at each of its tokens.
    ref_logps: the same tokens under the reference policy, where the method asks for it.
    old_logps: the same tokens under the policy that sampled them, where the method asks for it.
    """

    logps: Tensor
    advantages: Tensor
    ref_logps: Tensor | None = None
    old_logps: Tensor | None = None


def _never(_config: Any) -> bool:
    return False


@dataclass(frozen=True)
class Method:
    """An objective and its needs. `config` is the method's own section of the configuration, which
    also says what it trains on.

    loss: (config, inputs) → per-token loss, shape of `inputs.logps`.
    tau: probability below which a token's weight is rectified: 0 none, above 1 all (for the log).
    needs_reference: the loss reads `ref_logps` (and is then not zero where the advantage is).
    needs_old: the loss reads `old_logps`.
    """

    loss: Callable[[Any, LossInputs], Tensor]
    tau: Callable[[Any], float]
    needs_reference: Callable[[Any], bool] = _never
    needs_old: bool = False


def per_token(advantages: Tensor, logps: Tensor) -> Tensor:
    """Give one advantage a response (B,) the token dimension of `logps` (B, T)."""
    return advantages.unsqueeze(-1) if advantages.ndim == logps.ndim - 1 else advantages
