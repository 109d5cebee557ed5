"""The inputs of a run, checked before its model is loaded and after.

`validate_inputs` checks everything that needs no model: the data, the reward, and whether both fit
the method. `filter_by_length` checks the lengths of the prompts, which needs the tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gft_lite.config import RunConfig
from gft_lite.data import filter_examples
from gft_lite.preflight.filters import (
    FilterResult,
    filter_by_prompt_length,
    held_out_options,
    load_rows,
    prompt_length,
)
from gft_lite.rewards import Scorer, build_scorer
from gft_lite.types import ConfigError, DataError, Example, ModelError, Source


@dataclass(frozen=True)
class RunInputs:
    """Checked inputs of a run. The caller closes `scorer`.

    Attributes:
        examples: training examples.
        eval_examples: the held-out set.
        retention_examples: the retention set.
        scorer: the reward.
        left_out: training examples without any response that the method trains on.
        dropped: a sentence about each row of any file that `skip_bad_rows` dropped.
    """

    examples: Sequence[Example]
    eval_examples: Sequence[Example]
    retention_examples: Sequence[Example]
    scorer: Scorer
    left_out: int
    dropped: tuple[str, ...] = ()


def validate_inputs(config: RunConfig, *, allow_custom_reward: bool = False) -> RunInputs:
    """Load and check data and reward.

    Raises:
        ConfigError: a group from which the method cannot learn, or no data file is named.
        DataError: a file or its rows cannot be used.
        RewardError: the reward does not exist, or rows lack what it compares with.
    """
    check_group(config)
    if config.data.path is None:
        raise ConfigError("data.path is not set: name your file with --data FILE")
    scorer = build_scorer(config.reward, allow_custom=allow_custom_reward)
    try:
        training = load_rows(
            config.data.path, config.data, scorer if config.method.rewarded else None
        )
        check_demonstrations(training.examples, config, config.data.path)
        usable = filter_examples(training.examples, lambda e: _responses(e, config) > 0)
        held_out = _held_out(config.data.eval_path, config, scorer)
        retention = _held_out(config.data.retention_path, config, scorer)
    except Exception:
        scorer.close()
        raise
    return RunInputs(
        examples=usable,
        eval_examples=held_out.examples,
        retention_examples=retention.examples,
        scorer=scorer,
        left_out=len(training.examples) - len(usable),
        dropped=(*training.dropped, *held_out.dropped, *retention.dropped),
    )


def filter_by_length(config: RunConfig, inputs: RunInputs, policy: Any) -> RunInputs:
    """The inputs without prompts that are too long.

    Args:
        config: names the limit, and whether longer prompts are dropped or refused.
        inputs: from `validate_inputs`.
        policy: counts the tokens.

    Raises:
        DataError: prompts are too long.
        ModelError: prompt and response together can exceed the context of the model.
    """
    count_tokens = prompt_length(policy)
    data = config.data
    training, held_out, retention = (
        filter_by_prompt_length(
            examples,
            count_tokens,
            data.max_prompt_tokens,
            str(path),
            advice="raise data.max_prompt_tokens",
            skip_bad_rows=data.skip_bad_rows,
        )
        for examples, path in (
            (inputs.examples, data.path),
            (inputs.eval_examples, data.eval_path),
            (inputs.retention_examples, data.retention_path),
        )
    )
    parts = (training, held_out, retention)
    longest_prompt = max(count_tokens(example) for part in parts for example in part.examples)
    longest = longest_prompt + config.group.max_new_tokens
    if longest > policy.max_length:
        raise ModelError(
            f"prompt and response can reach {longest} tokens, but {policy.name} reads "
            f"{policy.max_length}; lower group.max_new_tokens or data.max_prompt_tokens"
        )
    return replace(
        inputs,
        examples=training.examples,
        eval_examples=held_out.examples,
        retention_examples=retention.examples,
        dropped=(*inputs.dropped, *(row for part in parts for row in part.dropped)),
    )


def check_group(config: RunConfig) -> None:
    """Check that the rewards of a group can differ, if the method compares them.

    Raises:
        ConfigError: names the field to change.
    """
    name, group = config.method.name, config.group
    counts: dict[Source, int] = {
        "expert": group.expert,
        "teacher": group.teacher,
        "self": group.self_,
    }
    compared = sum(counts[source] for source in config.method.contrasted)
    if config.method.rewarded and compared < 2:
        raise ConfigError(
            f"method {name!r} compares responses within a group, but the group has {compared} of "
            "them; raise group.self"
        )
    imitated = _imitated(config)
    if imitated and not sum(counts[source] for source in imitated):
        raise ConfigError(f"method {name!r} needs an expert: set group.expert to 1 or more")


def check_demonstrations(examples: Sequence[Example], config: RunConfig, path: str) -> None:
    """Check that some row has one of the demonstrations of the method's groups.

    Raises:
        DataError: names the fields to change.
    """
    group, sources = config.group, config.method.sources
    counts = {"expert": group.expert, "teacher": group.teacher}
    required = [source for source in counts if counts[source] and source in sources]
    if not required or any(_demonstrations(example, config) for example in examples):
        return
    advice = "map the column with data.columns"
    if "teacher" in sources and not group.teacher and any(e.teachers for e in examples):
        advice += ", or raise group.teacher, for rows have teacher responses"
    if not _imitated(config):
        zeros = " and ".join(f"group.{source}=0" for source in required)
        advice += f", or set {zeros} to learn from self responses alone"
    else:
        advice += ", or choose another method.name"
    raise DataError(
        f"{path}: method {config.method.name!r} trains on {' and '.join(required)} responses, and "
        f"no row has one; {advice}"
    )


def _imitated(config: RunConfig) -> tuple[Source, ...]:
    """The sources that the method learns from whatever their reward is."""
    method = config.method
    return tuple(source for source in method.sources if source not in method.contrasted)


def _demonstrations(example: Example, config: RunConfig) -> int:
    group, sources = config.group, config.method.sources
    experts = min(group.expert, len(example.experts)) if "expert" in sources else 0
    return experts + (min(group.teacher, len(example.teachers)) if "teacher" in sources else 0)


def _responses(example: Example, config: RunConfig) -> int:
    own = config.group.self_ if "self" in config.method.sources else 0
    return own + _demonstrations(example, config)


def _held_out(path: str | None, config: RunConfig, scorer: Scorer) -> FilterResult:
    if path is None:
        return FilterResult(())
    return load_rows(path, held_out_options(path, config.data, config.eval.examples), scorer)
