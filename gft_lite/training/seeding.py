"""The prompts of a step and all seeds, as functions of the run's seed and the step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

Item = TypeVar("Item")


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
