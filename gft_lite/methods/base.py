"""What a method is: a per-token loss and a declaration of what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gft_lite.types import Source


@dataclass(frozen=True)
class LossInputs:
    """Everything a loss may look at; every tensor broadcasts to `logps`.

    logps: log-probability of each response token under the current policy, nats, any shape.
    advantages: the response's advantage, at each of its tokens.
    own: bool, true at tokens that a policy of this run sampled; None if all or none are.
    ref_logps: the same tokens under the reference policy, if the method asks for it.
    old_logps: the same tokens under the policy that sampled them, if the method asks for it.
    ref_kl: KL(reference ‖ policy) of the whole next-token distribution, if the method asks for it.
    progress: how much of the run is done, from 0 at the first step to 1 at the last.
    """

    logps: Tensor
    advantages: Tensor
    own: Tensor | None = None
    ref_logps: Tensor | None = None
    old_logps: Tensor | None = None
    ref_kl: Tensor | None = None
    progress: float = 0.0


def _never(_config: Any) -> bool:
    return False


@dataclass(frozen=True)
class Method:
    """An objective and its needs. `config` is the method's own section of the configuration, which
    also says what it trains on.

    loss: (config, inputs) → per-token loss, shape of `training.provenance.logps`.
    tau: (config, source) → probability below which a token's weight is rectified: 0 none, above 1
        all (for the log).
    needs_reference: the loss reads `ref_logps` (and is then not zero if the advantage is).
    needs_ref_kl: the loss reads `ref_kl`.
    needs_old: the loss reads `old_logps`.
    separate_means: tokens of demonstrations and of self responses are averaged apart.
    """

    loss: Callable[[Any, LossInputs], Tensor]
    tau: Callable[[Any, Source], float] = lambda config, source: 0.0
    needs_reference: Callable[[Any], bool] = _never
    needs_ref_kl: bool = False
    needs_old: bool = False
    separate_means: bool = False


def per_token(advantages: Tensor, logps: Tensor) -> Tensor:
    """Give one advantage a response (B,) the token dimension of `logps` (B, T)."""
    return advantages.unsqueeze(-1) if advantages.ndim == logps.ndim - 1 else advantages
