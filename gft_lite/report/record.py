"""Everything a report needs to know of one run, read once. Nothing here fails on a run that broke
early: what was not written is empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from gft_lite.report.numbers import look, number, total
from gft_lite.runs import RunDir, of_stage
from gft_lite.types import RunError

Event = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """One run as it is on disk.

    steps: step events, with `degenerate_share` and `truncated_share` added where they are known.
    evals: evaluations in order of steps, one a step; the last may have mean@k and drift.
    starts: one `started` event each time the run was started or resumed.
    stages: of a pipeline; its steps and evaluations are theirs, counted on.
    """

    run: RunDir
    name: str
    config_yaml: str
    config: Mapping[str, Any]
    status: Mapping[str, Any]
    starts: tuple[Event, ...]
    steps: tuple[Event, ...]
    evals: tuple[Event, ...]
    out_of_memory: tuple[Event, ...] = ()
    reward_errors: tuple[Event, ...] = ()
    stages: tuple[Record, ...] = ()

    @property
    def state(self) -> str:
        """The state that `RunDir.current` gives."""
        return str(self.status["state"])

    @property
    def method(self) -> str:
        """Name of the method; empty where there are several, or the configuration is unreadable."""
        return "" if self.stages else str(look(self.config, "method.name") or "")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the stages, or the one there is."""
        return tuple(stage.method for stage in self.stages) or (self.method,)

    @property
    def seconds(self) -> float | None:
        """Spent in steps, evaluations not counted."""
        return total(self.steps, "seconds") if self.steps else None

    @property
    def last_eval(self) -> Event:
        """The latest evaluation; {} where there was none."""
        return self.evals[-1] if self.evals else {}

    @property
    def first_eval(self) -> Event:
        """The evaluation before the first step; {} where there was none."""
        return self.evals[0] if self.evals and self.evals[0].get("step") == 0 else {}

    def groups(self, step: int) -> list[Event]:
        """Stored groups of a step; none where they are missing or unreadable."""
        try:
            found = self.run.read_groups(step)
        except RunError:
            return []
        return [group for group in found if responses(group)]


def read_record(run: RunDir) -> Record:
    """Read a run directory."""
    config_yaml = run.config_text()
    config = parse_config(config_yaml)
    events = list(run.events())
    stages = tuple(read_record(stage) for stage in run.stages())
    steps = with_shares([e for e in events if e["type"] == "step"], config)
    evals = {e.get("step", 0): e for e in events if e["type"] == "eval"}
    if stages:
        steps = list(_counted_on(stages, "steps"))
        evals = {}
        for event in _counted_on(stages, "evals"):  # a stage begins with what the last one ended at
            evals.setdefault(event["step"], event)
    return Record(
        run=run,
        name=run.path.resolve().name,
        config_yaml=config_yaml,
        config=config,
        status=run.current(),
        starts=tuple(e for e in events if e["type"] == "started"),
        steps=tuple(steps),
        evals=tuple(evals[step] for step in sorted(evals)),
        stages=stages,
        out_of_memory=tuple(e for e in events if e["type"] == "out_of_memory"),
        reward_errors=tuple(e for e in events if e["type"] == "reward_error"),
    )


def _counted_on(stages: Sequence[Record], field: str) -> Iterator[Event]:
    before = 0
    for n, stage in enumerate(stages, 1):
        yield from (of_stage(event, n, before) for event in getattr(stage, field))
        before += len(stage.steps)


def responses(group: Mapping[str, Any]) -> list[Event]:
    """The responses of a stored group."""
    found = group.get("responses")
    return [r for r in found if isinstance(r, dict)] if isinstance(found, list) else []


def parse_config(config_yaml: str) -> Mapping[str, Any]:
    """The configuration as plain data; {} where it is no YAML."""
    try:
        config = yaml.safe_load(config_yaml)
    except (yaml.YAMLError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def with_shares(steps: Sequence[Event], config: Mapping[str, Any]) -> list[Event]:
    """Counts of a step, as shares.

    Degenerate groups are counted for a whole rollout, in its first step: so are the groups here.
    """
    updates = int(number(config, "train.updates_per_rollout") or 1)
    own = number(config, "group.self") or 0
    groups_of: dict[int, float] = {}
    for event in steps:
        rollout = rollout_of(event, updates)
        groups_of[rollout] = groups_of.get(rollout, 0.0) + (number(event, "groups") or 0.0)
    out = []
    for event in steps:
        shares = {}
        of_rollout, of_step = groups_of[rollout_of(event, updates)], number(event, "groups") or 0.0
        first = (int(number(event, "step") or 1) - 1) % updates == 0
        degenerate, truncated = number(event, "degenerate_groups"), number(event, "truncated")
        if degenerate is not None and of_rollout and first:
            shares["degenerate_share"] = degenerate / of_rollout
        if truncated is not None and of_step * own:
            shares["truncated_share"] = truncated / (of_step * own)
        out.append({**event, **shares})
    return out


def rollout_of(event: Event, updates: int) -> int:
    """The number of the rollout that a step event belongs to, from 0."""
    return (int(number(event, "step") or 1) - 1) // max(1, updates)
