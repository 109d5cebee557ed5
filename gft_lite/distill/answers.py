"""What a teacher is: a function from prompts to answers, some of which may fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gft_lite.types import Message


@dataclass(frozen=True)
class Answer:
    """One response; `finished` is False where the length limit cut it."""

    text: str
    finished: bool = True


@dataclass(frozen=True)
class Failed:
    """A response that could not be had, and why."""

    reason: str


Ask = Callable[[Sequence[tuple[Message, ...]]], Sequence[Answer | Failed]]
"""Prompts (one may come several times) → one answer each, in order."""
