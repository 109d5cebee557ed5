"""What a reward is: a pure verifier, one sentence about it, what it needs, and its options.

A verifier is called as `score(response, target, **options)` and returns a `Score` with a value in
[0, 1]. It uses nothing but its arguments, so the same response always earns the same score.

Verdicts: "ok" (read and compared, right or wrong), "unparsed" (nothing readable in the response),
"timeout" (killed at the time limit) and "error" (the check itself broke, or the reference answer
cannot be used). The last three are always worth 0 of that reward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gft_lite.types import Example, Score

Need = Literal["answer", "expert"] | None
Options = Mapping[str, Any]

RIGHT = Score(1.0)
WRONG = Score(0.0)
UNPARSED = Score(0.0, "unparsed")
TIMEOUT = Score(0.0, "timeout")
ERROR = Score(0.0, "error")


@dataclass(frozen=True)
class Target:
    """What a response is compared with. `prompt` is the question as a person reads it."""

    answer: str | None = None
    experts: tuple[str, ...] = ()
    prompt: str = ""


def target_of(example: Example) -> Target:
    """The part of an example that rewards may see."""
    return Target(example.answer, example.experts, example.question)


@dataclass(frozen=True)
class Option:
    """One option of a reward: its default, the types it takes, and what it does."""

    default: Any
    kinds: tuple[type, ...]
    about: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reward:
    """One entry of the registry.

    `needs`       the field every row must have, unless `needs_rule` says otherwise for the options.
    `isolated`    True if a response can make the verifier run for ever: it then runs in a
                  process that is killed at the time limit.
    `quick`       same call as `score`; answers the cheap cases in this process, None for the rest.
    `warm_up`     called with the options in the scoring process before the first response, so
                  that imports are not part of the time limit.
    `validate`    options -> complaint, or None; called once, before any data is read.
    `complain`    (target, options) -> why this row's reference cannot be used, or None.
    """

    score: Callable[..., Score]
    about: str
    needs: Need = None
    options: Mapping[str, Option] = field(default_factory=dict)
    isolated: bool = False
    quick: Callable[..., Score | None] | None = None
    warm_up: Callable[[Options], None] | None = None
    needs_rule: Callable[[Options], Need] | None = None
    validate: Callable[[Options], str | None] | None = None
    complain: Callable[[Target, Options], str | None] | None = None

    def needs_with(self, options: Options) -> Need:
        """The field this reward needs when used with these options."""
        return self.needs_rule(options) if self.needs_rule else self.needs


def right_if(condition: bool) -> Score:
    """The score of a yes-or-no verifier."""
    return RIGHT if condition else WRONG
