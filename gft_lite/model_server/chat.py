"""Answer one prompt with base and adapters, all responses growing side by side.

A response grows by a few tokens at a time. The protocol of a policy keeps no key-value cache
between calls, so each stride reads prompt and response again; in return every backend works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gft_lite.adapters.compare import LoadedAdapters
from gft_lite.model_server.model_cache import ModelCache, ModelSpec, Say, identity_fields
from gft_lite.models import Sampling
from gft_lite.models.multi_adapter import using
from gft_lite.rewards import Spec, Target, build_scorer
from gft_lite.types import DataError, Message

STRIDE_TOKENS = 16


def chat(
    cache: ModelCache,
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
    """Answer; if a reward is named, score every response against the reference answer.

    Raises:
        DataError: the prompt leaves no room for a response.
        RewardError: the reward needs a reference answer and there is none.
    """
    loaded = cache.load(ModelSpec.of(model, adapters))
    columns = [identity_fields(identity) for identity in loaded.identities]
    say("columns", columns=columns, remarks=loaded.remarks)
    ids = loaded.policy.chat.prompt_ids((Message("user", prompt),))
    response_tokens = min(max_new_tokens, loaded.policy.max_length - len(ids))
    if response_tokens < 1:
        raise DataError(
            f"the prompt has {len(ids):,} tokens, and {model['name']} reads "
            f"{loaded.policy.max_length:,} together with the answer; shorten it"
        )
    texts = _grow(loaded, say, ids, Sampling(response_tokens, temperature), seed)
    if reward is not None:
        target = Target(answer, (answer,) if answer else (), prompt)
        with build_scorer(reward) as scorer:
            scorer.check(target, where="the reference answer")
            scores = scorer.score([(text, target) for text in texts])
        say("scores", scores=[{"value": s.value, "verdict": s.verdict} for s in scores])


def _grow(
    loaded: LoadedAdapters, say: Say, prompt: Sequence[int], sampling: Sampling, seed: int
) -> list[str]:
    """The response of every column; each grows by a stride in turn."""
    policy, columns = loaded.policy, loaded.identities
    responses: list[tuple[int, ...]] = [()] * len(columns)
    growing = list(range(len(columns)))
    policy.sample_mode()
    torch.manual_seed(seed)
    while growing:
        for i in tuple(growing):
            left = sampling.max_new_tokens - len(responses[i])
            stride = Sampling(min(STRIDE_TOKENS, left), sampling.temperature)
            with using(policy, columns[i].active):
                more = policy.generate([[*prompt, *responses[i]]], stride, 1)[0]
            responses[i] += more.token_ids
            cut = not more.finished and len(responses[i]) >= sampling.max_new_tokens
            if more.finished or cut:
                growing.remove(i)
            # a character whose bytes are not complete yet is decoded to U+FFFD
            text = policy.chat.text(responses[i]).rstrip("\ufffd")
            say("text", column=i, text=text, ended=more.finished or cut, cut=cut)
    return [policy.chat.text(response) for response in responses]
