"""The domain types: examples, responses, groups, scores and errors.

This module imports nothing of gft-lite; every other module may import it. Data is text. The only
token ids are those that a model sampled: they are kept, because tokenizing the text again could
change the sample.

    GftError
    ├── InputError            the input was wrong: exit code 2, a sentence, never a traceback
    │   ├── ConfigError       a key or a value of the run configuration
    │   ├── DataError         a data file or its rows
    │   ├── ModelError        a model or an adapter that cannot be loaded or used
    │   ├── RewardError       a reward that cannot be built or cannot score this data
    │   ├── RunError          a run directory that is missing, in use or damaged
    │   └── MissingExtraError an optional package is not installed; the message has the install line
    └── TrainingError         a run that failed while it ran: exit code 1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Source = Literal["expert", "teacher", "self"]
SOURCES: tuple[Source, ...] = ("expert", "teacher", "self")

Verdict = Literal["ok", "unparsed", "timeout", "error"]


class GftError(Exception):
    """Base of every error that gft-lite raises on purpose."""


class InputError(GftError):
    """The user's input cannot be used; the message has what, where and what to do."""


class ConfigError(InputError):
    """A key or value of the configuration is wrong."""


class DataError(InputError):
    """A data file cannot be read, or rows of it cannot be used."""


class ModelError(InputError):
    """A model or adapter cannot be loaded or used."""


class RewardError(InputError):
    """A reward cannot be built, or cannot score the data it was given."""


class RunError(InputError):
    """A run directory is missing, already in use, or broken."""


class MissingExtraError(InputError):
    """An optional package is not installed; the message carries the install line."""


class TrainingError(GftError):
    """Training could not go on."""


@dataclass(frozen=True)
class Message:
    """One chat turn."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


@dataclass(frozen=True)
class Example:
    """One prompt with its demonstrations and its answer.

    prompt: turns; the last one is that of the user or of a tool.
    experts, teachers: demonstrations by source.
    answer: the reference that a verifier compares with; None if the file has none.
    row: 1-based row of the file, for messages.
    """

    prompt: tuple[Message, ...]
    experts: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    answer: str | None = None
    row: int = 0

    @property
    def question(self) -> str:
        """The last turn of the prompt, for people to read."""
        return self.prompt[-1].content if self.prompt else ""


@dataclass(frozen=True)
class Response:
    """One response to a prompt.

    token_ids: the sampled ids, of self responses only.
    finished: False if the length limit truncated the response.
    """

    text: str
    source: Source
    token_ids: tuple[int, ...] | None = None
    finished: bool = True


@dataclass(frozen=True)
class Score:
    """The reward of one response.

    value: the reward.
    verdict: "unparsed", "timeout" and "error" distinguish a response that could not be judged from
        a wrong one (verdict "ok", value 0).
    parts: the named parts of a composed reward.
    """

    value: float
    verdict: Verdict = "ok"
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """All responses to one prompt, in the order expert, teacher, self.

    scores, advantages: one entry per response; empty before scoring.
    """

    example: Example
    responses: tuple[Response, ...]
    scores: tuple[Score, ...] = ()
    advantages: tuple[float, ...] = ()
