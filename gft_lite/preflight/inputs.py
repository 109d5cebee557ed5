"""Everything that can be refused before a model loads: data, reward, and whether they fit the
method. What comes back is ready to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gft_lite.assets import PREFIX, resolve
from gft_lite.config import DataConfig, RunConfig
from gft_lite.data import LoadedFile, filter_examples, load_examples, subset
from gft_lite.rewards import Scorer, build_scorer, target_of
from gft_lite.types import ConfigError, DataError, Example, InputError, RewardError, Source

SHOWN_ROWS = 5


@dataclass(frozen=True)
class FilterResult:
    """Examples that can be used, and a sentence about each row that was dropped."""

    examples: Sequence[Example]
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunInputs:
    """Checked inputs of a run. `scorer` must be closed by whoever asked for it.

    left_out: training examples without any response the method trains on.
    dropped: a sentence about each row that `skip_bad_rows` dropped, of any of the files.
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
        ConfigError: a group the method cannot learn from, or no data named.
        DataError, RewardError: the data or the reward cannot be used.
    """
    check_group(config)
    if config.data.path is None:
        raise ConfigError("data.path is not set: name your file with --data FILE")
    path, skip = config.data.path, config.data.skip_bad_rows
    loaded = load(path, config.data)
    scorer = build_scorer(config.reward, allow_custom=allow_custom_reward)
    try:
        kept = FilterResult(loaded.examples)
        if config.method.rewarded:
            kept = check_reward(loaded.examples, scorer, path, skip_bad_rows=skip)
        check_demonstrations(kept.examples, config, path)
        usable = filter_examples(kept.examples, lambda e: _responses(e, config) > 0)
        target = _held_out(config.data.eval_path, config, scorer)
        retention = _held_out(config.data.retention_path, config, scorer)
        return RunInputs(
            examples=usable,
            eval_examples=target.examples,
            retention_examples=retention.examples,
            scorer=scorer,
            left_out=len(kept.examples) - len(usable),
            dropped=(
                *dropped_rows(loaded, path),
                *kept.dropped,
                *target.dropped,
                *retention.dropped,
            ),
        )
    except Exception:
        scorer.close()
        raise


def load(path: str, data: DataConfig) -> LoadedFile:
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


def dropped_rows(loaded: LoadedFile, where: str) -> tuple[str, ...]:
    """A sentence about each row the reader dropped."""
    return tuple(f"{where}, {row}" for row in loaded.bad_rows)


def check_reward(
    examples: Sequence[Example], scorer: Scorer, where: str, *, skip_bad_rows: bool = False
) -> FilterResult:
    """The rows that have what the reward compares with.

    Raises:
        RewardError: rows lack it; names the field and the first of them.
    """

    def complaint(example: Example) -> str | None:
        try:
            scorer.check(target_of(example), where=f"{where}, row {example.row}")
        except RewardError as error:
            return str(error)
        return None

    return _keep(examples, complaint, RewardError, skip_bad_rows)


def short_enough(
    examples: Sequence[Example],
    count_tokens: Callable[[Example], int],
    limit_tokens: int,
    where: str,
    *,
    todo: str,
    skip_bad_rows: bool,
) -> FilterResult:
    """The rows whose prompt is within the limit; a longer one is never cut.

    Args:
        examples: rows of one file.
        count_tokens: length of an example's prompt.
        limit_tokens: longest prompt.
        where: the file, for messages.
        todo: what makes room for longer prompts, for messages.
        skip_bad_rows: drop longer ones instead of refusing the file.

    Raises:
        DataError: prompts are too long; names the first of them.
    """

    def complaint(example: Example) -> str | None:
        tokens = count_tokens(example)
        if tokens <= limit_tokens:
            return None
        return (
            f"{where}, row {example.row}: the prompt has {tokens:,} tokens, the limit is "
            f"{limit_tokens:,}; {todo}, or shorten the prompt"
        )

    return _keep(examples, complaint, DataError, skip_bad_rows)


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
    """Some row must have one of the demonstrations that the method's groups are to hold.

    Raises:
        DataError: names the fields to change.
    """
    group, sources = config.group, config.method.sources
    counts = {"expert": group.expert, "teacher": group.teacher}
    wanted = [source for source in counts if counts[source] and source in sources]
    if not wanted or any(_demonstrations(example, config) for example in examples):
        return
    todo = "map the column with data.columns"
    if "teacher" in sources and not group.teacher and any(e.teachers for e in examples):
        todo += ", or raise group.teacher, for rows have teacher responses"
    if not _imitated(config):
        zeros = " and ".join(f"group.{source}=0" for source in wanted)
        todo += f", or set {zeros} to learn from self answers alone"
    else:
        todo += ", or choose another method.name"
    raise DataError(
        f"{path}: method {config.method.name!r} trains on {' and '.join(wanted)} responses, and no "
        f"row has one; {todo}"
    )


def _imitated(config: RunConfig) -> tuple[Source, ...]:
    """What the method learns from whatever it earns: without it, it is another method."""
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
    data = config.data.model_copy(update={"limit": config.eval.examples})
    if path.startswith(PREFIX):  # canonical, whatever the training file's columns are called
        data = data.model_copy(update={"format": "auto", "columns": {}})
    loaded = load(path, data)
    kept = check_reward(loaded.examples, scorer, path, skip_bad_rows=data.skip_bad_rows)
    return FilterResult(kept.examples, (*dropped_rows(loaded, path), *kept.dropped))


def _keep(
    examples: Sequence[Example],
    complaint: Callable[[Example], str | None],
    error: type[InputError],
    skip_bad_rows: bool,
) -> FilterResult:
    """Examples without a complaint. Any complaint is an error unless bad rows may be dropped, and
    so is an empty rest."""
    kept: list[int] = []
    complaints: list[str] = []
    for place, example in enumerate(examples):
        found = complaint(example)
        if found is None:
            kept.append(place)
        else:
            complaints.append(found)
    if complaints and not (kept and skip_bad_rows):
        more = len(complaints) - SHOWN_ROWS
        lines = complaints[:SHOWN_ROWS] + ([f"… and {more:,} rows more"] if more > 0 else [])
        if kept:
            lines.append(f"--skip-bad-rows keeps the other {len(kept):,} rows and drops these")
        raise error("\n".join(lines))
    return FilterResult(subset(examples, kept), tuple(complaints))
