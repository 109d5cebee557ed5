"""The protocol of a policy: generate, compute log-probs, switch to the reference, save."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gft_lite.models.batching import ChatFormat, TokenBatch


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn. `temperature` 0 is greedy; `top_k` 0 and `top_p` 1 are off."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass(frozen=True)
class Generated:
    """One generated answer; `token_ids` end with the stop token where `finished`."""

    token_ids: tuple[int, ...]
    text: str
    finished: bool


@dataclass(frozen=True)
class TokenStats:
    """Per response token, both (B, T) and zero outside the mask.

    logps: log-probability in nats at temperature 1, with gradient where grad mode is on.
    entropy: entropy of the next-token distribution in nats, never with gradient.
    ref_kl: KL(reference ‖ policy) of that distribution in nats, where reference states were given.
    """

    logps: Tensor
    entropy: Tensor
    ref_kl: Tensor | None = None


class Policy(Protocol):
    """A causal language model with one trainable adapter."""

    name: str
    tokenizer: Any
    chat: ChatFormat
    device: torch.device
    dtype: torch.dtype
    max_length: int

    @property
    def vocab_size(self) -> int:
        """V, the width of the logits."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, batch: int
    ) -> list[Generated]:
        """One answer a prompt, in order; `batch` answers at once."""
        ...

    def response_states(self, batch: TokenBatch) -> Tensor:
        """(N, H) hidden states that predict the batch's N response tokens, row by row."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, H) hidden states → (n, V) logits, scaled and capped as the family does it."""
        ...

    def token_logps(self, batch: TokenBatch, ref_states: Tensor | None = None) -> TokenStats:
        """Log-probs of the response tokens of a batch.

        `ref_states` are the `response_states` of the same batch under the reference policy.
        """
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the model is the reference policy. Never run backward inside."""
        ...

    def train_mode(self) -> None:
        """Ready for forward and backward."""
        ...

    def sample_mode(self) -> None:
        """Ready for generate()."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """The trainable parameters, in a stable order."""
        ...

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter in PEFT's layout (safetensors)."""
        ...

    def load_adapter_weights(self, folder: Path) -> None:
        """Put saved weights into the trainable adapter."""
        ...
