"""Prompts, batches and gradients that show what a policy does."""

from typing import Any

import torch
from torch import Tensor

from gft_lite.config import ModelConfig
from gft_lite.models import Policy
from gft_lite.models.batching import TokenBatch, TokenSequence, collate
from gft_lite.types import Message, Response

ASK = (
    Message("user", "Ben has 3 coins and finds 4 more coins. How many coins does Ben have now?"),
)


def held(tiny: ModelConfig, **changes: Any) -> ModelConfig:
    """The embedded model on the backend under test, held otherwise."""
    return tiny.model_copy(update=changes)


def sequences(policy: Policy) -> list[TokenSequence]:
    texts = ["3 + 4 = 7\n#### 7", "I do not know.", "7"]
    prompt = policy.chat.prompt_ids(ASK)
    return [
        TokenSequence(prompt[i:], policy.chat.response_ids(Response(text, "expert")))
        for i, text in enumerate(texts)
    ]


def batch_of(policy: Policy) -> TokenBatch:
    return collate(sequences(policy), policy.tokenizer.pad_token_id)


def shake(policy: Policy) -> None:
    """Make the adapter matter: PEFT starts with B = 0."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(torch.randn(p.shape, generator=generator).to(p.device) * 0.05)


def gradients(policy: Policy, batch: TokenBatch) -> list[Tensor]:
    policy.train_mode()
    policy.token_logps(batch).logps.sum().backward()
    grads = [p.grad.clone() for p in policy.parameters() if p.grad is not None]
    for p in policy.parameters():
        p.grad = None
    return grads
