"""Everything that can be refused before a model loads: data, reward, and whether they fit the
method. What comes back is ready to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gft_lite.assets import resolve
from gft_lite.config import DataConfig, RunConfig
from gft_lite.data import Loaded, load_examples
from gft_lite.rewards import Scorer, build_scorer, target_of
from gft_lite.types import ConfigError, DataError, Example, Source


@dataclass(frozen=True)
class Prepared:
    """Checked inputs of a run. `scorer` must be closed by whoever asked for it.

    left_out: training examples without any response the method trains on.
    """

    examples: tuple[Example, ...]
    eval_examples: tuple[Example, ...]
    retention_examples: tuple[Example, ...]
    scorer: Scorer
    loaded: Loaded
    left_out: int


def prepare(config: RunConfig, *, allow_custom_reward: bool = False) -> Prepared:
    """Load and check data and reward.

    Raises:
        ConfigError: a group the method cannot learn from, or no data named.
        DataError, RewardError: what the data and reward rooms say.
    """
    check_group(config)
    if config.data.path is None:
        raise ConfigError("data.path is not set: name your file with --data FILE")
    loaded = load(config.data.path, config.data)
    scorer = build_scorer(config.reward, allow_custom=allow_custom_reward)
    try:
        sources = config.method.sources
        if config.method.rewarded:
            check_reward(loaded.examples, scorer, config.data.path)
        usable = [e for e in loaded.examples if _responses(e, sources, config)]
        if not usable:
            raise DataError(
                f"{config.data.path}: method {config.method.name!r} trains on "
                f"{' and '.join(sources)} responses, and no row has one; "
                "map the column with data.columns, or choose another method.name"
            )
        return Prepared(
            examples=tuple(usable),
            eval_examples=_held_out(config.data.eval_path, config, scorer),
            retention_examples=_held_out(config.data.retention_path, config, scorer),
            scorer=scorer,
            loaded=loaded,
            left_out=len(loaded.examples) - len(usable),
        )
    except Exception:
        scorer.close()
        raise


def load(path: str, data: DataConfig) -> Loaded:
    """Read a file the way the configuration says."""
    return load_examples(
        resolve(path),
        format=data.format,
        columns=data.columns,
        limit=data.limit,
        skip_bad_rows=data.skip_bad_rows,
        split=data.split,
        system_prompt=data.system_prompt,
    )


def check_reward(examples: Sequence[Example], scorer: Scorer, where: str) -> None:
    """Every row must have what the reward compares with.

    Raises:
        RewardError: names the field, and the first row that lacks it.
    """
    for example in examples:
        scorer.check(target_of(example), where=f"{where}, row {example.row}")


def check_group(config: RunConfig) -> None:
    """A group must be able to have contrast where the method needs it.

    Raises:
        ConfigError: names the field to change.
    """
    name, group = config.method.name, config.group
    counts: dict[Source, int] = {
        "expert": group.expert,
        "teacher": group.teacher,
        "self": group.self_,
    }
    size = sum(counts[source] for source in config.method.sources)
    if config.method.rewarded and size < 2:
        raise ConfigError(
            f"method {name!r} compares responses within a group, but the group has {size} of them; "
            "raise group.self"
        )
    if not size:
        raise ConfigError(f"method {name!r} needs an expert: set group.expert to 1 or more")


def _responses(example: Example, sources: Sequence[Source], config: RunConfig) -> int:
    group = config.group
    offered: dict[Source, int] = {
        "expert": min(group.expert, len(example.experts)),
        "teacher": min(group.teacher, len(example.teachers)),
        "self": group.self_,
    }
    return sum(offered[source] for source in sources)


def _held_out(path: str | None, config: RunConfig, scorer: Scorer) -> tuple[Example, ...]:
    if path is None:
        return ()
    plain: dict[str, Any] = {"limit": config.eval.examples, "format": "auto", "columns": {}}
    same_columns = config.data.columns or config.data.format != "auto"
    keep = {"limit": config.eval.examples} if same_columns and path != config.data.path else plain
    loaded = load(path, config.data.model_copy(update=keep))
    check_reward(loaded.examples, scorer, path)
    return loaded.examples
