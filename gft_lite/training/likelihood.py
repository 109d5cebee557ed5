"""Select the responses that fit a model best: those with the highest mean log-prob per token.

After GRAPE, "The Best Instruction-Tuning Data are Those That Fit", arXiv 2502.04194: of several
responses to a prompt, those with the highest likelihood under the model that is to be trained are
the best to train it on. Here it is the mean over tokens, end-of-turn included, so that length does
not decide.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gft_lite.memory.adaptive_batch import TOKENS_AT_ONCE, in_micro_batches
from gft_lite.models import Policy
from gft_lite.models.batching import TokenSequence, collate
from gft_lite.types import Example, Response


@torch.no_grad()
def mean_logps(
    policy: Policy, example: Example, texts: Sequence[str], max_tokens: int = TOKENS_AT_ONCE
) -> list[float]:
    """Mean log-prob of each response in nats per token; −inf if it exceeds the model's window."""
    policy.sample_mode()
    prompt = policy.chat.prompt_ids(example.prompt)
    ids = [policy.chat.response_ids(Response(text, "teacher")) for text in texts]
    sequences = [
        TokenSequence(prompt, response, key=(0, index))
        for index, response in enumerate(ids)
        if len(prompt) + len(response) <= policy.max_length
    ]

    def start() -> list[float]:
        return [float("-inf")] * len(texts)

    def add(part: Sequence[TokenSequence], means: list[float]) -> None:
        batch = collate(part, policy.tokenizer.pad_token_id).to(policy.device)
        logps = policy.token_logps(batch).logps  # (B, T), zero outside the mask
        # float64: the order of two responses must not depend on the batch they are in
        batch_means = logps.double().sum(dim=1) / batch.mask.sum(dim=1)  # (B,)
        for sequence, mean in zip(part, batch_means.tolist(), strict=True):
            means[sequence.key[1]] = mean

    return in_micro_batches(sequences, start, add, max_tokens)


def select_by_likelihood(
    policy: Policy,
    example: Example,
    texts: Sequence[str],
    keep: int,
    max_tokens: int = TOKENS_AT_ONCE,
) -> list[str]:
    """The `keep` responses that fit best, best first; ties keep their order."""
    if len(texts) <= keep:
        return list(texts)
    means = mean_logps(policy, example, texts, max_tokens)
    order = sorted(range(len(texts)), key=lambda index: -means[index])
    return [texts[index] for index in order[:keep]]
