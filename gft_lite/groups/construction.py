"""Build the group of every prompt: demonstrations and self responses → scores and advantages.

Sampler, scorer and length check are arguments; this module imports no model.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from gft_lite.config import GroupConfig
from gft_lite.groups.advantages import group_advantages
from gft_lite.rewards import Scorer, target_of
from gft_lite.types import SOURCES, Example, Group, Response, Source

Sampler = Callable[[Sequence[Example], int], list[list[Response]]]
"""(examples, n) → n self responses to each example, in order."""

Chooser = Callable[[Example, list[str], int], list[str]]
"""(example, texts, keep) → the texts to keep."""


@dataclass
class GroupCounts:
    """What happened while groups were built.

    degenerate: groups left without contrast (after resampling).
    imitated: those of them whose expert is imitated.
    rejected_experts: those of them whose expert is not imitated because it earned nothing.
    """

    degenerate: int = 0
    resampled: int = 0
    imitated: int = 0
    rejected_experts: int = 0
    too_long: int = 0


@dataclass(frozen=True)
class BuiltGroups:
    """Scored groups of one rollout, in the order of their prompts."""

    groups: tuple[Group, ...]
    counts: GroupCounts = field(default_factory=GroupCounts)
    rollout_seconds: float = 0.0
    scoring_seconds: float = 0.0


def build_groups(
    examples: Sequence[Example],
    config: GroupConfig,
    *,
    sources: Collection[Source],
    contrasted: Collection[Source] = SOURCES,
    scorer: Scorer | None,
    sampler: Sampler,
    fits: Callable[[str], bool],
    rng: random.Random,
    choose: Chooser | None = None,
) -> BuiltGroups:
    """Build, score and standardise one group a prompt.

    Args:
        examples: the prompts of the rollout.
        config: how many of each source, and what to do with degenerate groups.
        sources: the sources the method trains on; others stay out.
        contrasted: those whose rewards are standardised together; others have advantage 1.
        scorer: gives rewards; None makes every advantage 1 (methods without a reward).
        sampler: draws self responses.
        fits: whether a demonstration is short enough to train on.
        rng: chooses among more demonstrations than are wanted.
        choose: chooses in its place.

    Raises:
        RewardError: the reward failed on every response.
    """
    counts = GroupCounts()
    clock = _Clock()
    self_count = config.self_ if "self" in sources else 0
    choose = choose or (lambda _example, texts, keep: rng.sample(texts, keep))
    demonstrations = [_demonstrations(e, config, sources, fits, choose, counts) for e in examples]
    samples = sampler(examples, self_count) if self_count else [[] for _ in examples]
    clock.lap("rollout")
    groups = [Group(e, (*d, *s)) for e, d, s in zip(examples, demonstrations, samples, strict=True)]
    if scorer is None:  # every response is imitated
        ones = tuple(replace(g, advantages=(1.0,) * len(g.responses)) for g in groups)
        return BuiltGroups(ones, counts, clock.seconds["rollout"])

    def scored(unscored: Sequence[Group]) -> list[Group]:
        return score_groups(unscored, scorer, contrasted, anchor_expert=config.anchor_expert)

    groups = scored(groups)
    scorer.require_some([score for group in groups for score in group.scores])
    clock.lap("scoring")
    if config.degenerate == "resample" and self_count:
        for _ in range(config.resample_tries):
            again = [i for i, g in enumerate(groups) if not _has_contrast(g, contrasted)]
            if not again:
                break
            counts.resampled += len(again)
            # demonstrations stay: only self responses can change the rewards of a group
            fresh = sampler([examples[i] for i in again], self_count)
            clock.lap("rollout")
            rescored = scored(
                [
                    Group(examples[i], (*demonstrations[i], *answers))
                    for i, answers in zip(again, fresh, strict=True)
                ]
            )
            for i, group in zip(again, rescored, strict=True):
                groups[i] = group
            clock.lap("scoring")
    for i, group in enumerate(groups):
        if _has_contrast(group, contrasted):
            continue
        counts.degenerate += 1
        if config.degenerate in ("imitate", "imitate_any"):
            groups[i] = _imitation(group, config, contrasted, counts)
    return BuiltGroups(tuple(groups), counts, clock.seconds["rollout"], clock.seconds["scoring"])


def score_groups(
    groups: Sequence[Group],
    scorer: Scorer,
    contrasted: Collection[Source] = SOURCES,
    *,
    anchor_expert: bool = False,
) -> list[Group]:
    """Score every response in one call, then standardise each group (GFT eq. 4).

    Responses of sources that are not `contrasted` take no part and have advantage 1.
    """
    targets = [target_of(g.example) for g in groups]
    # one call for all groups, because equal pairs of response and target are scored once a call
    items = [(r.text, t) for g, t in zip(groups, targets, strict=True) for r in g.responses]
    scores = iter(scorer.score(items))
    scored = []
    for group in groups:
        own = tuple(next(scores) for _ in group.responses)
        rewards = [score.value for score in own]
        if anchor_expert and rewards:
            # a wrong verdict on a demonstration must not make it a negative example
            best = max(rewards)
            rewards = [
                best if r.source == "expert" else value
                for r, value in zip(group.responses, rewards, strict=True)
            ]
        # only contrasted sources enter mean and standard deviation
        inside = [r.source in contrasted for r in group.responses]
        standardised = iter(
            group_advantages([v for v, use in zip(rewards, inside, strict=True) if use])
        )
        advantages = tuple(next(standardised) if use else 1.0 for use in inside)
        scored.append(replace(group, scores=own, advantages=advantages))
    return scored


def _has_contrast(group: Group, contrasted: Collection[Source]) -> bool:
    pairs = zip(group.responses, group.advantages, strict=True)
    return any(advantage and r.source in contrasted for r, advantage in pairs)


def _imitation(
    group: Group, config: GroupConfig, contrasted: Collection[Source], counts: GroupCounts
) -> Group:
    """The group with advantage 1 for its experts and 0 for the rest.

    An expert that earned nothing is not imitated unless the configuration or the method asks for
    it: it may be wrong, and nothing in the group is better.
    """
    rewards = [score.value for score in group.scores]
    experts = [response.source == "expert" for response in group.responses]
    if not any(experts):
        return group
    any_expert = config.degenerate == "imitate_any" or "expert" not in contrasted
    earned = [max(rewards) if config.anchor_expert else reward for reward in rewards]
    imitated = [
        expert and (any_expert or reward > 0)
        for expert, reward in zip(experts, earned, strict=True)
    ]
    if not any(imitated):
        counts.rejected_experts += 1
        return group
    counts.imitated += 1
    return replace(group, advantages=tuple(map(float, imitated)))


def _demonstrations(
    example: Example,
    config: GroupConfig,
    sources: Collection[Source],
    fits: Callable[[str], bool],
    choose: Chooser,
    counts: GroupCounts,
) -> list[Response]:
    pools: list[tuple[Source, tuple[str, ...], int]] = [
        ("expert", example.experts, config.expert),
        ("teacher", example.teachers, config.teacher),
    ]
    demonstrations: list[Response] = []
    for source, texts, count in pools:
        if source not in sources or not count:
            continue
        usable = [text for text in texts if fits(text)]
        counts.too_long += len(texts) - len(usable)
        # too long ones are dropped before the choice, so that it always yields `count` if possible
        if len(usable) > count:
            usable = choose(example, usable, count)
        demonstrations += [Response(text, source) for text in usable]
    return demonstrations


class _Clock:
    """Adds up seconds by name between calls of `lap`."""

    def __init__(self) -> None:
        self.seconds = {"rollout": 0.0, "scoring": 0.0}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now
