"""A teacher that is a model on this machine, with an adapter or without."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gft_lite.distill.answers import Answer, Ask
from gft_lite.memory.adaptive_batch import AdaptiveBatchSize
from gft_lite.models import Policy, Sampling
from gft_lite.types import Message


def local_teacher(policy: Policy, sampling: Sampling, *, batch: int = 32, seed: int = 0) -> Ask:
    """Draws from a policy; each call has a seed of its own, made of `seed` and the prompts.

    A batch that does not fit into memory is halved, for the calls that follow as well.
    """
    batch_size = AdaptiveBatchSize(batch)

    def ask(prompts: Sequence[tuple[Message, ...]]) -> list[Answer]:
        ids = [policy.chat.prompt_ids(prompt) for prompt in prompts]
        own_seed = (seed * 1_000_003 + sum(map(sum, ids))) % 2**31
        policy.sample_mode()
        with torch.random.fork_rng():
            torch.manual_seed(own_seed)
            drawn = batch_size.generate(policy, ids, sampling)
        return [Answer(each.text, each.finished) for each in drawn]

    return ask
