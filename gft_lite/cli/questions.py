"""The questions that eval, compare and mix ask, and the model they ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gft_lite.cli.options import scorer_of

if TYPE_CHECKING:
    from gft_lite.config import ModelConfig
    from gft_lite.models import Policy
    from gft_lite.rewards import Scorer
    from gft_lite.types import Example


@dataclass(frozen=True)
class EvalData:
    """What a command said about the questions of one file."""

    data: str
    limit: int | None
    columns: dict[str, str | tuple[str, ...]]
    skip_bad_rows: bool


@contextmanager
def questions(asking: EvalData, reward: str) -> Iterator[tuple[Sequence[Example], Scorer]]:
    """Rows that the reward can judge, and the reward itself."""
    from gft_lite.cli import terminal

    with scorer_of(reward) as scorer:
        examples, dropped = scorable(asking, scorer)
        terminal.note_dropped(dropped)
        yield examples, scorer


def scorable(asking: EvalData, scorer: Scorer) -> tuple[Sequence[Example], tuple[str, ...]]:
    """Rows of a file that a reward can judge, and a sentence about each that was dropped."""
    from gft_lite.config import DataConfig
    from gft_lite.preflight.filters import load_rows

    data, skip = asking.data, asking.skip_bad_rows
    config = DataConfig(path=data, limit=asking.limit, columns=asking.columns, skip_bad_rows=skip)
    rows = load_rows(data, config, scorer)
    return rows.examples, rows.dropped


def short_enough(
    examples: Sequence[Example], policy: Policy, answer_tokens: int, asking: EvalData
) -> Sequence[Example]:
    """Rows whose prompt leaves room for an answer; longer ones are refused, or dropped and told."""
    from gft_lite.cli import terminal
    from gft_lite.preflight.filters import filter_by_prompt_length, prompt_length

    kept = filter_by_prompt_length(
        examples,
        prompt_length(policy),
        policy.max_length - answer_tokens,
        asking.data,
        advice="lower --max-new-tokens",
        skip_bad_rows=asking.skip_bad_rows,
    )
    terminal.note_dropped(kept.dropped)
    return kept.examples


def model_config(
    model: str | None, adapters: list[Path], *, load_in_4bit: bool = False
) -> ModelConfig:
    """The base: as named, or the one that the first adapter was made for, or the embedded one."""
    from gft_lite.adapters import model_of
    from gft_lite.config import ModelConfig

    if model is None and adapters:
        found = model_of(adapters[0])
        return found.model_copy(update={"load_in_4bit": found.load_in_4bit or load_in_4bit})
    return ModelConfig(**({"name": model} if model else {}), load_in_4bit=load_in_4bit)
