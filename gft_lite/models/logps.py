"""Per-token log-probs from hidden states, in chunks: the (N, V) logits never exist at once.

`chunked_logps` computes values. `one_pass` computes, from the same logits, also the gradient of a
loss with respect to the hidden states. The derivative of a token's loss is known as soon as its
log-prob is, so a backward pass needs no stored logits and no second forward pass. With p the
softmax of the logits z, y the target and q the reference's distribution,

    ∂ log p_y / ∂z = 1[y] − p        ∂ KL(q ‖ p) / ∂z = p − q
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gft_lite.config.constants import CHUNK_ELEMENTS

LogitsOf = Callable[[Tensor], Tensor]
"""(n, H) → (n, V), head and any capping or scaling included."""

TokenLoss = Callable[[slice, Tensor, Tensor | None], Tensor]
"""(rows, their logps (n,), their ref_kl (n,) or None) → loss of each of these tokens, (n,)."""


class FlatStats(NamedTuple):
    """Per response token, (N,) float32 nats; see `models.base.TokenStats`."""

    logps: Tensor
    entropy: Tensor
    ref_kl: Tensor | None


class OnePass(NamedTuple):
    """Per response token, never with gradient; float32, and (N,) where no shape is given.

    slope: ∂loss/∂logps. loss: unscaled. hidden_grad: (N, H), of Σ scale·loss, dtype of the states.
    """

    logps: Tensor
    entropy: Tensor
    slope: Tensor
    loss: Tensor
    hidden_grad: Tensor


def chunked_logps(
    hidden: Tensor,
    targets: Tensor,
    logits_of: LogitsOf,
    vocab_size: int,
    chunk_elements: int = CHUNK_ELEMENTS,
    *,
    ref_states: Tensor | None = None,
) -> FlatStats:
    """Log-probability of each target, and entropy of its distribution.

    Differentiable where grad mode is on, but then every chunk's logits stay alive.

    Args:
        hidden: (N, H) final hidden states of the predicting positions.
        targets: (N,) token ids.
        logits_of: the head.
        vocab_size: V, decides how many rows make a chunk.
        chunk_elements: most logits held at once without gradient.
        ref_states: (N, H) hidden states of the reference policy, for the full-vocabulary KL.
    """
    logps, entropy, ref_kl = [], [], []
    for rows in _chunks(hidden, vocab_size, chunk_elements):
        log_probs = _log_softmax(logits_of(hidden[rows]))  # (n, H) → (n, V)
        logps.append(_at(log_probs, targets[rows]))
        # a diagnostic; with gradient it would keep another (n, V) tensor alive
        with torch.no_grad():
            entropy.append(-_dot(log_probs.exp(), log_probs))
        if ref_states is not None:
            with torch.no_grad():
                ref = _log_softmax(logits_of(ref_states[rows]))
            ref_kl.append(_dot(ref.exp(), ref - log_probs))
    return FlatStats(torch.cat(logps), torch.cat(entropy), torch.cat(ref_kl) if ref_kl else None)


@torch.no_grad()
def one_pass(
    hidden: Tensor,
    targets: Tensor,
    logits_of: LogitsOf,
    vocab_size: int,
    loss: TokenLoss,
    scale: Tensor,
    chunk_elements: int = CHUNK_ELEMENTS,
    *,
    ref_states: Tensor | None = None,
) -> OnePass:
    """Value and gradient of Σ scale·loss, one chunk of logits alive at a time.

    Trainable weights inside `logits_of` get their gradient added here; those before `hidden` get
    theirs from `hidden.backward(result.hidden_grad)`.

    Args:
        hidden, targets, logits_of, vocab_size, chunk_elements, ref_states: see `chunked_logps`.
        loss: a function of each token's own log-prob (and KL) alone.
        scale: (N,) how much each token's loss counts; a loss scaler's factor belongs in it.
    """

    def chunk(rows: slice) -> OnePass:
        # a leaf of its own: backward stops here, and the graph of the chunk is freed at once
        states = hidden[rows].detach().requires_grad_()  # (n, H)
        with torch.enable_grad():
            logits = logits_of(states)  # (n, V)
        log_probs = _log_softmax(logits)
        probs = log_probs.exp()  # (n, V), overwritten by the gradient below
        logps, entropy = _at(log_probs, targets[rows]), -_dot(probs, log_probs)
        ref_kl = None
        if ref_states is not None:
            ref = _log_softmax(logits_of(ref_states[rows]))
            ref_probs = ref.exp()
            ref_kl = _dot(ref_probs, ref.sub_(log_probs))
        per_token, slope, kl_slope = _slopes(loss, rows, logps, ref_kl)
        pull, kl_pull = slope * scale[rows], kl_slope * scale[rows]
        # pull·(1[y] − p) + kl_pull·(p − q), written over p
        grad = probs.mul_((kl_pull - pull).unsqueeze(-1))  # (n, V)
        grad.scatter_add_(-1, targets[rows].unsqueeze(-1), pull.unsqueeze(-1))
        if ref_states is not None:
            grad.sub_(ref_probs.mul_(kl_pull.unsqueeze(-1)))
        logits.backward(grad.to(logits.dtype))
        assert states.grad is not None
        # every field (n,), the gradient (n, H)
        return OnePass(logps, entropy, slope, per_token, states.grad)

    chunks = [chunk(rows) for rows in _chunks(hidden, vocab_size, chunk_elements)]
    return OnePass(*map(torch.cat, zip(*chunks, strict=True)))  # (n, …) → (N, …)


def _slopes(
    loss: TokenLoss, rows: slice, logps: Tensor, ref_kl: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(n,) each: the loss, and its derivatives by `logps` and by `ref_kl` (zero without one)."""
    # leaves of a tiny graph over n numbers, so that any loss function is differentiated by autograd
    leaves = [x.requires_grad_() for x in (logps.clone(), ref_kl) if x is not None]
    with torch.enable_grad():
        per_token = loss(rows, leaves[0], leaves[1] if ref_kl is not None else None)
        slopes = torch.autograd.grad(per_token.sum(), leaves)
    return (
        per_token.detach(),
        slopes[0],
        slopes[1] if ref_kl is not None else torch.zeros_like(logps),
    )


def _chunks(hidden: Tensor, vocab_size: int, chunk_elements: int) -> Iterator[slice]:
    rows = max(1, chunk_elements // vocab_size)
    for start in range(0, hidden.shape[0], rows):
        yield slice(start, start + rows)


def _log_softmax(logits: Tensor) -> Tensor:
    """In float32 at least: in 16 bits log-probs have two or three digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def _at(log_probs: Tensor, targets: Tensor) -> Tensor:
    return log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Σ over the vocabulary without a third (n, V) tensor."""
    return torch.einsum("nv,nv->n", one, other)
