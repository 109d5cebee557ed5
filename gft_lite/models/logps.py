"""Per-token log-probs from hidden states in chunks: the (B, T, V) logits never exist at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 2**25  # logits alive at once: 128 MiB in float32


def chunked_logps(
    hidden: Tensor,
    targets: Tensor,
    logits_of: Callable[[Tensor], Tensor],
    vocab_size: int,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of its distribution.

    Args:
        hidden: (N, H) final hidden states of the predicting positions.
        targets: (N,) token ids.
        logits_of: (n, H) → (n, V), head and any capping or scaling included.
        vocab_size: V, decides how many rows make a chunk.
        chunk_elements: most logits held at once; more than one chunk is recomputed in backward.

    Returns:
        (logps, entropy), both (N,) float32 nats; entropy carries no gradient.
    """
    rows = max(1, chunk_elements // vocab_size)
    if hidden.shape[0] <= rows:
        return _logps(hidden, targets, logits_of)
    logps, entropies = [], []
    for part, ids in zip(hidden.split(rows), targets.split(rows), strict=True):
        if torch.is_grad_enabled():
            logp, entropy = checkpoint(_logps, part, ids, logits_of, use_reentrant=False)
        else:
            logp, entropy = _logps(part, ids, logits_of)
        logps.append(logp)
        entropies.append(entropy)
    return torch.cat(logps), torch.cat(entropies)


def _logps(
    hidden: Tensor, targets: Tensor, logits_of: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    log_probs = logits_of(hidden).float().log_softmax(-1)
    with torch.no_grad():
        entropy = -(log_probs.exp() * log_probs).sum(-1)
    return log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1), entropy
