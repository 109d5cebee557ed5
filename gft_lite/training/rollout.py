"""The first half of a step: draw prompts, build and score their groups, turn them into tokens.

Everything random is seeded by the run's seed and the step, so a resumed run draws the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import torch

from gft_lite.config import RunConfig
from gft_lite.groups import BuiltGroups, build_groups
from gft_lite.memory.adaptive_batch import AdaptiveBatchSize
from gft_lite.models import Policy, Sampling
from gft_lite.models.batching import TokenSequence, collate
from gft_lite.rewards import Scorer
from gft_lite.training.likelihood import select_by_likelihood
from gft_lite.types import Example, Group, Response

Item = TypeVar("Item")


@dataclass(frozen=True)
class StepData:
    """The data of one optimizer step: scored groups, and their responses as token sequences."""

    built: BuiltGroups
    sequences: tuple[TokenSequence, ...]


@dataclass(frozen=True)
class Rollout:
    """Draws the data of steps from the current policy.

    remember_old: keep the log-probs of the sampling policy if several updates follow a rollout.
    """

    config: RunConfig
    policy: Policy
    examples: Sequence[Example]
    scorer: Scorer | None
    remember_old: bool
    batch_sizes: AdaptiveBatchSize

    def draw(self, step: int) -> list[StepData]:
        """The data of `updates_per_rollout` steps, from a 0-based step on."""
        train = self.config.train
        # One rollout serves several steps, but never more than the run has left.
        prompts = [
            prompts_of_step(self.examples, each, train.prompts_per_step, train.seed)
            for each in range(step, min(step + train.updates_per_rollout, train.steps))
        ]
        # Seeded by the step alone: a resumed run samples the same responses.
        torch.manual_seed(seed_of(train.seed, step, "sampling"))
        self.policy.sample_mode()
        built = build_groups(
            [example for examples in prompts for example in examples],
            self.config.group,
            sources=self.config.method.sources,
            contrasted=self.config.method.contrasted,
            scorer=self.scorer,
            sampler=self._sample,
            fits=self._fits,
            rng=random.Random(seed_of(train.seed, step, "demonstrations")),
            choose=self._most_likely if self.config.group.choose == "likely" else None,
        )
        # Split the rollout into the data of its steps, before the first update changes the policy.
        data = []
        for i in range(len(prompts)):
            groups = built.groups[i * train.prompts_per_step : (i + 1) * train.prompts_per_step]
            sequences = self._sequences(groups)
            if self.remember_old and len(prompts) > 1:
                sequences = self._with_old_logps(sequences)
            # seconds and counts of the rollout belong to its first step
            part = replace(built, groups=groups) if i == 0 else BuiltGroups(groups)
            data.append(StepData(part, tuple(sequences)))
        return data

    def _sample(self, examples: Sequence[Example], n: int) -> list[list[Response]]:
        group, chat = self.config.group, self.policy.chat
        prompts = [chat.prompt_ids(e.prompt) for e in examples for _ in range(n)]
        sampling = Sampling(group.max_new_tokens, group.temperature, group.top_p, group.top_k)
        samples = self.batch_sizes.generate(self.policy, prompts, sampling)
        responses = [Response(s.text, "self", s.token_ids, s.finished) for s in samples]
        return [responses[i : i + n] for i in range(0, len(responses), n)]

    def _most_likely(self, example: Example, texts: list[str], keep: int) -> list[str]:
        with self.policy.reference():
            return select_by_likelihood(
                self.policy, example, texts, keep, self.batch_sizes.micro_batch_tokens
            )

    def _fits(self, text: str) -> bool:
        ids = self.policy.chat.response_ids(Response(text, "expert"))
        return len(ids) <= self.config.group.max_new_tokens

    def _sequences(self, groups: Sequence[Group]) -> list[TokenSequence]:
        chat = self.policy.chat
        return [
            TokenSequence(
                prompt_ids=chat.prompt_ids(group.example.prompt),
                response_ids=chat.response_ids(response),
                source=response.source,
                advantage=advantage,
                key=(i, j),
            )
            for i, group in enumerate(groups)
            for j, (response, advantage) in enumerate(
                zip(group.responses, group.advantages, strict=True)
            )
        ]

    @torch.no_grad()
    def _with_old_logps(self, sequences: list[TokenSequence]) -> list[TokenSequence]:
        """Add the log-probs of the sampling policy, before the first update changes it."""

        def start() -> list[TokenSequence]:
            return []

        def add(part: list[TokenSequence], result: list[TokenSequence]) -> None:
            batch = collate(part, self.policy.tokenizer.pad_token_id)
            rows = self.policy.token_logps(batch).logps.cpu().tolist()
            for s, row in zip(part, rows, strict=True):
                result.append(replace(s, old_logps=tuple(row[: len(s.response_ids)])))

        # micro-batches are ordered by length
        result = self.batch_sizes.in_micro_batches(sequences, start, add)
        return sorted(result, key=lambda s: s.key)


def prompts_of_step(items: Sequence[Item], step: int, count: int, seed: int) -> list[Item]:
    """The prompts of a 0-based step: an endless sequence of seeded permutations, cut into steps.

    Args:
        items: all training examples.
        step: number of the optimizer step, from 0.
        count: prompts per step.
        seed: seed of the run.
    """
    prompts = []
    for position in range(step * count, (step + 1) * count):
        epoch, index = divmod(position, len(items))
        prompts.append(items[_permutation(seed, epoch, len(items))[index]])
    return prompts


def seed_of(*parts: object) -> int:
    """A 48-bit seed from values with a stable text, e.g. (run seed, step, purpose)."""
    return random.Random("/".join(map(str, parts))).getrandbits(48)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> list[int]:
    order = list(range(count))
    random.Random(seed_of(seed, epoch, "order")).shuffle(order)
    return order
