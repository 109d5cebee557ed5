"""A trial step on the longest possible sequences: a lack of memory shows in the first minute, not
after hours. Nothing is learned from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from gft_lite.config import RunConfig
from gft_lite.memory.adaptive_batch import held_gib
from gft_lite.models import Policy
from gft_lite.models.batching import TokenSequence
from gft_lite.runs.events import DryStepEvent
from gft_lite.types import Example, Response

LONGEST_TEXTS = 32  # texts with the most characters; their tokens are counted to find the longest


def should_probe(setting: bool | Literal["auto"], device: torch.device) -> bool:
    """Resolve `train.dry_step`: "auto" is on if memory is scarce, on a GPU."""
    return device.type == "cuda" if setting == "auto" else setting


def probe_memory(
    config: RunConfig,
    policy: Policy,
    examples: Sequence[Example],
    gradient: Callable[[Sequence[TokenSequence], Sequence[TokenSequence]], object],
) -> DryStepEvent:
    """Forward and backward pass of the largest micro-batch; the caller clears the gradients.

    Args:
        config: configuration of the run.
        policy: the model.
        examples: examples of the training file.
        gradient: (sequences, the sequences whose tokens count) → adds their gradient.
    """
    start = time.perf_counter()
    sequences = longest_sequences(config, policy, examples)
    gradient(sequences, sequences)
    return DryStepEvent(
        longest_tokens=len(sequences[0]),
        seconds=time.perf_counter() - start,
        peak_memory_gib=held_gib(policy.device),
    )


def longest_sequences(
    config: RunConfig, policy: Policy, examples: Sequence[Example]
) -> list[TokenSequence]:
    """The largest micro-batch that a run can meet: the longest prompt with responses of the largest
    length. If the method samples nothing, they are as long as the longest demonstration."""
    chat, sources = policy.chat, config.method.sources
    prompts = sorted(examples, key=lambda e: -sum(len(m.content) for m in e.prompt))
    prompt = max((chat.prompt_ids(e.prompt) for e in prompts[:LONGEST_TEXTS]), key=len)
    response_tokens = config.group.max_new_tokens
    if "self" not in sources or not config.group.self_:
        texts = sorted((t for e in examples for t in (*e.experts, *e.teachers)), key=len)
        lengths = [
            len(chat.response_ids(Response(text, "expert"))) for text in texts[-LONGEST_TEXTS:]
        ]
        response_tokens = min(response_tokens, max(lengths))
    # as many rows as a micro-batch can have, and at most a whole step
    group_size = config.group.expert + config.group.teacher + config.group.self_
    rows = config.train.micro_batch_tokens // (len(prompt) + response_tokens)
    sequence = TokenSequence(prompt, (chat.end_id,) * response_tokens, source=sources[-1])
    return [sequence] * max(1, min(rows, config.train.prompts_per_step * group_size))
