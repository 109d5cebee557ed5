"""Everything a report needs to know of one run, read once. Nothing here fails on a run that broke
early: what was not written is empty."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    evals: evaluations in order of steps, one a step, each of the adapter of that step.
    final: the evaluation of the run's adapter at its end, with mean@k and drift; {} before that.
        It is the last of `evals` too, unless the adapter is that of another step.
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
    final: Event = field(default_factory=dict)
    out_of_memory: tuple[Event, ...] = ()
    reward_errors: tuple[Event, ...] = ()
    stages: tuple[Record, ...] = ()

    @property
    def state(self) -> str:
        """The state that `RunDir.current` gives."""
        return str(self.status["state"])

    @property
    def method(self) -> str:
        """Name of the method; empty if there are several, or the configuration is unreadable."""
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
        """The final evaluation, before the end the latest one; {} if there was none."""
        return self.final or (self.evals[-1] if self.evals else {})

    @property
    def first_eval(self) -> Event:
        """The evaluation before the first step; {} if there was none."""
        return self.evals[0] if self.evals and self.evals[0].get("step") == 0 else {}

    def groups(self, step: int) -> list[Event]:
        """Stored groups of a step; none where they are missing or unreadable."""
        try:
            groups = self.run.read_groups(step)
        except RunError:
            return []
        return [group for group in groups if responses(group)]


def read_record(run: RunDir) -> Record:
    """Read a run directory."""
    config_yaml = run.config_text()
    config = parse_config(config_yaml)
    events = list(run.events())
    stages = tuple(read_record(stage) for stage in run.stages())
    steps = with_shares([e for e in events if e["type"] == "step"], config)
    evals, final = evaluations(e for e in events if e["type"] == "eval")
    if stages:
        steps = list(_counted_on(stages, "steps"))
        by_step: dict[int, Event] = {}
        for event in _counted_on(stages, "evals"):  # a stage begins with what the last one ended at
            by_step.setdefault(event["step"], event)
        evals, final = tuple(by_step[step] for step in sorted(by_step)), stages[-1].final
    return Record(
        run=run,
        name=run.path.resolve().name,
        config_yaml=config_yaml,
        config=config,
        status=run.current(),
        starts=tuple(e for e in events if e["type"] == "started"),
        steps=tuple(steps),
        evals=evals,
        final=final,
        stages=stages,
        out_of_memory=tuple(e for e in events if e["type"] == "out_of_memory"),
        reward_errors=tuple(e for e in events if e["type"] == "reward_error"),
    )


def _counted_on(stages: Sequence[Record], field: str) -> Iterator[Event]:
    before = 0
    for n, stage in enumerate(stages, 1):
        yield from (of_stage(event, n, before) for event in getattr(stage, field))
        before += len(stage.steps)


def evaluations(events: Iterable[Event]) -> tuple[tuple[Event, ...], Event]:
    """(evaluations one a step, the final one) of a run's `eval` events; see `Record`."""
    by_step: dict[int, Event] = {}
    final: Event = {}
    for event in events:
        step = event.get("step", 0)
        if event.get("final"):
            final = event
            if event.get("adapter_step", step) != step:
                continue
        by_step[step] = event
    return tuple(by_step[step] for step in sorted(by_step)), final


def responses(group: Mapping[str, Any]) -> list[Event]:
    """The responses of a stored group."""
    listed = group.get("responses")
    return [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []


def parse_config(config_yaml: str) -> Mapping[str, Any]:
    """The configuration as plain data; {} if it is not valid YAML."""
    try:
        config = yaml.safe_load(config_yaml)
    except (yaml.YAMLError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def with_shares(steps: Sequence[Event], config: Mapping[str, Any]) -> list[Event]:
    """Step events with counts as shares, and with the entropy of self responses only.

    Degenerate groups are counted for a whole rollout, in its first step: so are the groups here.
    Older runs of methods that sample nothing recorded the entropy of the expert's tokens under the
    name that is now for self responses; it is left out.
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
        if "self_response_tokens" not in event:
            event = {k: v for k, v in event.items() if k != "entropy_nats_per_token"}
        out.append({**event, **shares})
    return out


def rollout_of(event: Event, updates: int) -> int:
    """The number of the rollout that a step event belongs to, from 0."""
    return (int(number(event, "step") or 1) - 1) // max(1, updates)
