"""Prompts that are too long, refused or dropped before the first step: none is ever cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from gft_lite.config import RunConfig
from gft_lite.preflight.inputs import FilterResult, RunInputs, short_enough
from gft_lite.types import Example, ModelError


def filter_by_length(config: RunConfig, prepared: RunInputs, policy: Any) -> RunInputs:
    """The same with short enough prompts only: a longer one is refused or dropped, never cut.

    Raises:
        DataError: prompts too long.
        ModelError: prompt and response together can be longer than the model reads.
    """

    @cache
    def tokens(example: Example) -> int:
        return len(policy.chat.prompt_ids(example.prompt))

    def within(examples: Sequence[Example], path: str | None) -> FilterResult:
        return short_enough(
            examples,
            tokens,
            config.data.max_prompt_tokens,
            str(path),
            todo="raise data.max_prompt_tokens",
            skip_bad_rows=config.data.skip_bad_rows,
        )

    training = within(prepared.examples, config.data.path)
    target = within(prepared.eval_examples, config.data.eval_path)
    retention = within(prepared.retention_examples, config.data.retention_path)
    parts = (training, target, retention)
    longest = max(tokens(e) for part in parts for e in part.examples) + config.group.max_new_tokens
    if longest > policy.max_length:
        raise ModelError(
            f"prompt and response can reach {longest} tokens, but {policy.name} reads "
            f"{policy.max_length}; lower group.max_new_tokens or data.max_prompt_tokens"
        )
    return replace(
        prepared,
        examples=training.examples,
        eval_examples=target.examples,
        retention_examples=retention.examples,
        dropped=(*prepared.dropped, *(row for part in parts for row in part.dropped)),
    )
