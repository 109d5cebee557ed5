"""The rows of one file that can be used: read, scorable by the reward, and short enough.

Commands, the model server and training call these functions, so that a row is refused or dropped
for the same reason and with the same message everywhere. A prompt is never truncated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from gft_lite.assets import PREFIX, resolve
from gft_lite.config import DataConfig
from gft_lite.data import load_examples, subset
from gft_lite.preflight.reward_check import complaint
from gft_lite.rewards import Scorer
from gft_lite.types import DataError, Example, InputError, RewardError

SHOWN_ROWS = 5


@dataclass(frozen=True)
class FilterResult:
    """Examples that can be used, and a sentence about each row that was dropped."""

    examples: Sequence[Example]
    dropped: tuple[str, ...] = ()


def load_rows(path: str, data: DataConfig, scorer: Scorer | None = None) -> FilterResult:
    """Read a file as a configuration says, and check that the reward can score its rows.

    Args:
        path: file, folder, Hub name or embedded:NAME.
        data: how to read it; `data.skip_bad_rows` drops unusable rows instead of raising.
        scorer: the reward; None to skip this check.

    Raises:
        DataError: the file or a row cannot be read.
        RewardError: a row lacks what the reward compares with.
    """
    loaded = load_examples(
        resolve(path),
        skip_bad_rows=data.skip_bad_rows,
        format=data.format,
        columns=data.columns,
        limit=data.limit,
        split=data.split,
        system_prompt=data.system_prompt,
    )
    bad_rows = tuple(f"{path}, {row}" for row in loaded.bad_rows)
    if scorer is None:
        return FilterResult(loaded.examples, bad_rows)
    scorable = filter_by_reward(loaded.examples, scorer, path, skip_bad_rows=data.skip_bad_rows)
    return FilterResult(scorable.examples, (*bad_rows, *scorable.dropped))


def held_out_options(path: str, data: DataConfig, limit: int | None) -> DataConfig:
    """How a held-out file is read: as the training file, but with a limit of its own.

    Embedded files are canonical, whatever columns of the training file are mapped.
    """
    update: dict[str, object] = {"limit": limit}
    if path.startswith(PREFIX):
        update |= {"format": "auto", "columns": {}}
    return data.model_copy(update=update)


def filter_by_reward(
    examples: Sequence[Example], scorer: Scorer, path: str, *, skip_bad_rows: bool = False
) -> FilterResult:
    """The rows that have what the reward compares with.

    Args:
        examples: rows of one file.
        scorer: the reward.
        path: the file, for messages.
        skip_bad_rows: drop the other rows instead of raising.

    Raises:
        RewardError: rows lack it; names the field and the first of them.
    """
    return _filtered(
        examples,
        lambda example: complaint(scorer, example, f"{path}, row {example.row}"),
        RewardError,
        skip_bad_rows,
    )


def filter_by_prompt_length(
    examples: Sequence[Example],
    count_tokens: Callable[[Example], int],
    max_prompt_tokens: int,
    path: str,
    *,
    advice: str,
    skip_bad_rows: bool,
) -> FilterResult:
    """The rows whose prompt is within the limit.

    Args:
        examples: rows of one file.
        count_tokens: length of an example's prompt in tokens.
        max_prompt_tokens: the limit.
        path: the file, for messages.
        advice: what makes room for longer prompts, for messages.
        skip_bad_rows: drop longer prompts instead of raising.

    Raises:
        DataError: prompts are too long; names the first of them.
    """

    def too_long(example: Example) -> str | None:
        tokens = count_tokens(example)
        if tokens <= max_prompt_tokens:
            return None
        return (
            f"{path}, row {example.row}: the prompt has {tokens:,} tokens, the limit is "
            f"{max_prompt_tokens:,}; {advice}, or shorten the prompt"
        )

    return _filtered(examples, too_long, DataError, skip_bad_rows)


def prompt_length(policy: Any) -> Callable[[Example], int]:
    """A cached function: length of an example's prompt in tokens of a policy's chat template."""

    @cache
    def tokens(example: Example) -> int:
        return len(policy.chat.prompt_ids(example.prompt))

    return tokens


def _filtered(
    examples: Sequence[Example],
    message: Callable[[Example], str | None],
    error: type[InputError],
    skip_bad_rows: bool,
) -> FilterResult:
    """The examples without a message; raises unless rows may be dropped and some are left."""
    usable: list[int] = []
    messages: list[str] = []
    for index, example in enumerate(examples):
        text = message(example)
        if text is None:
            usable.append(index)
        else:
            messages.append(text)
    if messages and not (usable and skip_bad_rows):
        more = len(messages) - SHOWN_ROWS
        lines = messages[:SHOWN_ROWS] + ([f"… and {more:,} rows more"] if more > 0 else [])
        if usable:
            lines.append(f"--skip-bad-rows keeps the other {len(usable):,} rows and drops these")
        raise error("\n".join(lines))
    return FilterResult(subset(examples, usable), tuple(messages))
