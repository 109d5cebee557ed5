"""A step before the first one, on the longest sequences there can be, from which nothing is
learned: where memory does not suffice, that shows in the first minute and not after a night."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from gft_lite.config import RunConfig
from gft_lite.memory.adaptive_batch import held_gib
from gft_lite.models import Policy
from gft_lite.models.batching import TokenSequence
from gft_lite.types import Example, Response

LONGEST_TEXTS = 32  # by characters, whose tokens are counted to find the longest


def wanted(setting: bool | Literal["auto"], device: torch.device) -> bool:
    """`train.dry_step` resolved: auto is on where memory is scarce, on a GPU."""
    return device.type == "cuda" if setting == "auto" else setting


def dry_step(
    config: RunConfig,
    policy: Policy,
    examples: Sequence[Example],
    gradient: Callable[[Sequence[TokenSequence], Sequence[TokenSequence]], object],
) -> dict[str, Any]:
    """Forward and backward of the largest micro-batch; the caller clears the gradients.

    Args:
        config: of the run.
        policy: the model.
        examples: of the training file.
        gradient: (sequences, the sequences whose tokens count) → adds their gradient.
    """
    started = time.perf_counter()
    sequences = longest_sequences(config, policy, examples)
    gradient(sequences, sequences)
    return {
        "type": "dry_step",
        "longest_tokens": len(sequences[0]),
        "seconds": time.perf_counter() - started,
        "peak_memory_gib": held_gib(policy.device),
    }


def longest_sequences(
    config: RunConfig, policy: Policy, examples: Sequence[Example]
) -> list[TokenSequence]:
    """The largest micro-batch that this run can meet, for a dry step: the longest prompt with
    answers as long as they may become (where nothing is sampled: as the longest demonstration)."""
    chat, limit, sources = policy.chat, config.group.max_new_tokens, config.method.sources
    prompts = sorted(examples, key=lambda e: -sum(len(m.content) for m in e.prompt))
    prompt = max((chat.prompt_ids(e.prompt) for e in prompts[:LONGEST_TEXTS]), key=len)
    tokens = limit
    if "self" not in sources or not config.group.self_:
        texts = sorted((t for e in examples for t in (*e.experts, *e.teachers)), key=len)
        lengths = [
            len(chat.response_ids(Response(text, "expert"))) for text in texts[-LONGEST_TEXTS:]
        ]
        tokens = min(limit, max(lengths))
    group = config.group.expert + config.group.teacher + config.group.self_
    rows = config.train.micro_batch_tokens // (len(prompt) + tokens)
    one = TokenSequence(prompt, (chat.end_id,) * tokens, source=sources[-1])
    return [one] * max(1, min(rows, config.train.prompts_per_step * group))
