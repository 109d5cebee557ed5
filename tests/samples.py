"""Settings of a run of a few steps, and the cases of a test that belong to the fast tier."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest

SMALL = (
    "train.steps=4",
    "train.prompts_per_step=3",
    "train.checkpoint_every=2",
    "group.teacher=1",
    "group.self=3",
    "group.max_new_tokens=80",
    "eval.examples=4",
    "eval.k=2",
)
# The shortest run that learns something; nothing is measured in it.
SHORTEST = (
    "train.prompts_per_step=1",
    "train.checkpoint_every=1",
    "group.teacher=0",
    "group.self=2",
    "group.max_new_tokens=80",
    "data.eval_path=null",
    "data.retention_path=null",
)


def sampled(cases: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """Parameters of a test: all cases, of which those outside `fast` belong to the slow tier."""
    return [
        pytest.param(
            case, marks=() if case in fast else pytest.mark.slow, id=str(case).replace(" ", "-")
        )
        for case in cases
    ]
