"""The words of the program: examples, responses, groups, scores and errors.

Nothing here imports anything of gft-lite; everything else may import this. Text stays text: the
only token ids that appear are those a model sampled, kept so that re-tokenising can never change
what was sampled.

    GftError
    ├── InputError            the input was wrong: exit code 2, a sentence, never a traceback
    │   ├── ConfigError       a key or a value of the run configuration
    │   ├── DataError         a data file or its rows
    │   ├── ModelError        a model or an adapter that cannot be loaded or used
    │   ├── RewardError       a reward that cannot be built or cannot score this data
    │   ├── RunError          a run directory that is missing, taken or broken
    │   └── MissingExtraError an optional package is not installed; the message has the install line
    └── TrainingError         a run that broke while it ran: exit code 1
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
    """What the user gave cannot be used; the message says what, where and what to do."""


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
    """One prompt with everything the data file says about it.

    `prompt` ends with a user (or tool) turn. `answer` is what a verifier compares with; None where
    the file has none. `row` is the 1-based row of the file, for messages.
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
    """One answer to a prompt.

    `token_ids` are the sampled ids (self samples only); `finished` is False where the length limit
    cut the answer.
    """

    text: str
    source: Source
    token_ids: tuple[int, ...] | None = None
    finished: bool = True


@dataclass(frozen=True)
class Score:
    """What a reward says of one response.

    `verdict` keeps "the checker could not read it" and "the checker ran out of time" apart from
    "it is wrong" (verdict "ok", value 0). `parts` holds the named parts of a composed reward.
    """

    value: float
    verdict: Verdict = "ok"
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """All responses to one prompt, in order expert, teacher, self; scored where `scores` is set.

    `scores` and `advantages` have one entry a response, or are empty before scoring.
    """

    example: Example
    responses: tuple[Response, ...]
    scores: tuple[Score, ...] = ()
    advantages: tuple[float, ...] = ()
