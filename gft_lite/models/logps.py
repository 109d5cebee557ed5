"""Per-token log-probs from hidden states in chunks: the (B, T, V) logits never exist at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 2**25  # logits alive at once: 128 MiB in float32
LogitsOf = Callable[[Tensor], Tensor]


class FlatStats(NamedTuple):
    """Per response token, (N,) float32 nats; see `models.base.TokenStats`."""

    logps: Tensor
    entropy: Tensor
    ref_kl: Tensor | None


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

    Args:
        hidden: (N, H) final hidden states of the predicting positions.
        targets: (N,) token ids.
        logits_of: (n, H) → (n, V), head and any capping or scaling included.
        vocab_size: V, decides how many rows make a chunk.
        chunk_elements: most logits held at once; more than one chunk is recomputed in backward.
        ref_states: (N, H) hidden states of the reference policy, for the full-vocabulary KL.
    """
    rows = max(1, chunk_elements // vocab_size)
    if hidden.shape[0] <= rows:
        return FlatStats(*_stats(hidden, targets, logits_of, ref_states))
    chunks = []
    for start in range(0, hidden.shape[0], rows):
        part = slice(start, start + rows)
        ref = None if ref_states is None else ref_states[part]
        if torch.is_grad_enabled():
            chunk = checkpoint(
                _stats, hidden[part], targets[part], logits_of, ref, use_reentrant=False
            )
        else:
            chunk = _stats(hidden[part], targets[part], logits_of, ref)
        chunks.append(chunk)
    logps, entropy, ref_kl = zip(*chunks, strict=True)
    kl = torch.cat(ref_kl) if ref_states is not None else None
    return FlatStats(torch.cat(logps), torch.cat(entropy), kl)


def _stats(
    hidden: Tensor, targets: Tensor, logits_of: LogitsOf, ref_states: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    log_probs = logits_of(hidden).float().log_softmax(-1)
    with torch.no_grad():
        entropy = -(log_probs.exp() * log_probs).sum(-1)
    logps = log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    if ref_states is None:
        return logps, entropy, None
    with torch.no_grad():
        ref = logits_of(ref_states).float().log_softmax(-1)
    return logps, entropy, (ref.exp() * (ref - log_probs)).sum(-1)
