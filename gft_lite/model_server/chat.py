"""One prompt answered by base and adapters, all answers growing side by side.

An answer grows a few tokens at a time through the narrow protocol of a policy, which keeps no cache
between calls: each stride reads prompt and answer again, a price paid for every backend alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gft_lite.adapters.compare import Column
from gft_lite.model_server.model_cache import ModelCache, ModelSpec, Say, adapter_name, identity
from gft_lite.models import Sampling
from gft_lite.models.multi_adapter import using
from gft_lite.rewards import Spec, Target, build_scorer
from gft_lite.types import DataError, Message

STRIDE_TOKENS = 16


def chat(
    held: ModelCache,
    say: Say,
    *,
    model: dict[str, Any],
    adapters: list[str],
    prompt: str,
    answer: str | None = None,
    reward: Spec | None = None,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
) -> None:
    """Answer; where a reward is named, score every answer against the reference answer.

    Raises:
        DataError: the prompt leaves no room for an answer.
        RewardError: the reward needs a reference answer that is not there.
    """
    found = held.ready(ModelSpec.of(model, adapters))
    say("columns", columns=[identity(c) for c in found.columns], remarks=found.remarks)
    ids = held.policy.chat.prompt_ids((Message("user", prompt),))
    longest = min(max_new_tokens, held.policy.max_length - len(ids))
    if longest < 1:
        raise DataError(
            f"the prompt has {len(ids):,} tokens, and {model['name']} reads "
            f"{held.policy.max_length:,} together with the answer; shorten it"
        )
    texts = _grow(held.policy, say, found.columns, ids, Sampling(longest, temperature), seed)
    if reward is not None:
        target = Target(answer, (answer,) if answer else (), prompt)
        with build_scorer(reward) as scorer:
            scorer.check(target, where="the reference answer")
            scores = scorer.score([(text, target) for text in texts])
        say("scores", scores=[{"value": s.value, "verdict": s.verdict} for s in scores])


def _grow(
    policy: Any,
    say: Say,
    columns: Sequence[Column],
    prompt: Sequence[int],
    sampling: Sampling,
    seed: int,
) -> list[str]:
    """Every column's answer; each grows by a stride in turn."""
    answers: list[tuple[int, ...]] = [()] * len(columns)
    growing = list(range(len(columns)))
    policy.sample_mode()
    torch.manual_seed(seed)
    while growing:
        for i in tuple(growing):
            left = sampling.max_new_tokens - len(answers[i])
            stride = Sampling(min(STRIDE_TOKENS, left), sampling.temperature)
            with using(policy, adapter_name(columns[i])):
                more = policy.generate([[*prompt, *answers[i]]], stride, 1)[0]
            answers[i] += more.token_ids
            cut = not more.finished and len(answers[i]) >= sampling.max_new_tokens
            if more.finished or cut:
                growing.remove(i)
            text = policy.chat.text(answers[i]).rstrip("\ufffd")  # the half of a character
            say("text", column=i, text=text, ended=more.finished or cut, cut=cut)
    return [policy.chat.text(answer) for answer in answers]
