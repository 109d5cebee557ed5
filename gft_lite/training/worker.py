"""A run from its configuration to its adapter: `train`, `train_iter` and `resume`.

Every error is recorded (`runs.lifecycle`) before it is raised: its message in status.json and
events.jsonl, its traceback in log.txt.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gft_lite import __version__
from gft_lite.config import RunConfig
from gft_lite.memory import forecast, shape_of
from gft_lite.preflight.inputs import RunInputs, filter_by_length, validate_inputs
from gft_lite.runs import RunDir, State, step_of, writing
from gft_lite.runs.events import (
    CheckpointSkippedEvent,
    EnvironmentChangedEvent,
    EvalEvent,
    Event,
    FinishedEvent,
    InputsUnknownEvent,
    StartedEvent,
    StepEvent,
)
from gft_lite.runs.lifecycle import fail, record_failures, set_state, stop_on_signal
from gft_lite.training.provenance import (
    InputSource,
    Provenance,
    accepted_event,
    base_source,
    compare,
    read_provenance,
    sources_of,
    write_provenance,
)
from gft_lite.training.stages import check_stages, run_stages
from gft_lite.types import ModelError, RunError

EventLine = dict[str, Any]
"""An event as it is written to events.jsonl, without the time."""

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "unsloth")
ENVIRONMENT = ("gft_lite", "python", "device", "dtype", "backend")
LISTED_ROWS = 1000  # dropped rows that the event "started" lists


@dataclass(frozen=True)
class RunResult:
    """A run that ended.

    state: "finished", or "stopped" if the user ended it early.
    steps: optimizer steps taken.
    seconds: duration since the run was started or resumed.
    metrics: the final evaluation; empty without a held-out set.
    updates: steps whose gradient was not zero; without any, nothing was learned.
    reason: "steps", "max_tokens", "runaway" or "stopped": why no further step was taken; empty for
        a pipeline.
    adapter_step: the step of the run's adapter; it differs from the last step if the best was kept.
    """

    run_dir: Path
    adapter: Path
    state: str
    steps: int
    seconds: float
    metrics: dict[str, Any] = field(default_factory=dict)
    updates: int = 0
    reason: str = ""
    adapter_step: int | None = None


def train(
    config: RunConfig,
    out: str | os.PathLike[str],
    *,
    on_event: Callable[[EventLine], None] | None = None,
    allow_custom_reward: bool = True,
) -> RunResult:
    """Train an adapter.

    Args:
        config: the resolved configuration.
        out: a new or empty folder; it becomes the run directory.
        on_event: called with every event (docs/events.md), as a dictionary.
        allow_custom_reward: whether `reward.file` may name a Python file to run.

    Raises:
        InputError: configuration, data, reward, model or folder cannot be used.
        TrainingError: training broke.
    """
    return _finish(*_create(config, out, allow_custom_reward), on_event)


def train_iter(
    config: RunConfig, out: str | os.PathLike[str], *, allow_custom_reward: bool = True
) -> Iterator[EventLine]:
    """The same, as an iterator of events for notebooks; the last one has type "finished"."""
    yield from record_failures(*_create(config, out, allow_custom_reward))


def resume(
    path: str | os.PathLike[str],
    *,
    on_event: Callable[[EventLine], None] | None = None,
    allow_custom_reward: bool = True,
    accept_changes: bool = False,
    queued: bool = False,
) -> RunResult:
    """Continue a stopped or killed run from its last intact checkpoint, to the same numbers.

    Args:
        path: the run directory.
        on_event: called with every event.
        allow_custom_reward: whether `reward.file` may name a Python file to run.
        accept_changes: go on although data, reward, model or configuration changed since the run
            started; the changes are recorded.
        queued: continue only if the run still waits in a queue.

    Raises:
        RunError: no run there, one that is still running, finished, or cannot be written; inputs
            that changed; no checkpoint that can be used.
    """
    run = RunDir.open(path)
    with run.lock():
        if run.status()["state"] == "finished":
            raise RunError(f"{path} is finished; nothing is left to do")
        if queued and run.status()["state"] != "queued":
            raise RunError(f"{path} has left the queue")
        run.stop_file.unlink(missing_ok=True)  # a request to the earlier process
        with writing(run.path):
            set_state(run, "starting")
        try:
            config = run.config()
            checked = _checked(config, allow_custom_reward)
        except Exception as error:
            fail(run, error)
            raise
        events = _events(run, config, checked, allow_custom_reward, accept_changes)
        return _finish(run, events, on_event)


def _create(
    config: RunConfig, out: str | os.PathLike[str], allow_custom_reward: bool
) -> tuple[RunDir, Iterator[EventLine]]:
    """A new run directory, and the iterator that trains it. The inputs are validated first."""
    checked = _checked(config, allow_custom_reward)
    from gft_lite.models.load import check_model  # imports torch: only after the inputs are checked

    try:
        check_model(config.model)
        run = RunDir.create(out, config.to_yaml())
    except BaseException:
        if isinstance(checked, RunInputs):
            checked.scorer.close()
        raise
    return run, _events(run, config, checked, allow_custom_reward)


def _checked(config: RunConfig, allow_custom_reward: bool) -> RunInputs | dict[str, InputSource]:
    """Validated inputs of a run, or the sources of a pipeline, whose stages load theirs later."""
    if config.stages:
        return check_stages(config, allow_custom_reward=allow_custom_reward)
    return validate_inputs(config, allow_custom_reward=allow_custom_reward)


def _events(
    run: RunDir,
    config: RunConfig,
    checked: RunInputs | dict[str, InputSource],
    allow_custom_reward: bool,
    accept_changes: bool = False,
) -> Iterator[EventLine]:
    """The events of a run or of a pipeline. Iterating trains it."""
    if isinstance(checked, RunInputs):
        return _run(run, config, checked, accept_changes)

    def train_stage(
        stage: RunDir, stage_config: RunConfig, base: InputSource | None
    ) -> Iterator[EventLine]:
        stage.stop_file.unlink(missing_ok=True)  # as in `resume`
        inputs = validate_inputs(stage_config, allow_custom_reward=allow_custom_reward)
        return record_failures(stage, _run(stage, stage_config, inputs, accept_changes, base))

    provenance = Provenance(config.to_dict(), checked)
    return run_stages(
        run, config, train_stage, provenance=provenance, accept_changes=accept_changes
    )


def _run(
    run: RunDir,
    config: RunConfig,
    inputs: RunInputs,
    accept_changes: bool,
    known_base: InputSource | None = None,
) -> Iterator[EventLine]:
    """The whole life of a run. If it has checkpoints, it continues from the newest intact one."""
    # These modules import torch: the inputs are validated before that.
    from gft_lite.adapters import record as adapters
    from gft_lite.evaluation.suite import evaluate_run
    from gft_lite.memory.adaptive_batch import check_card
    from gft_lite.models import load_policy
    from gft_lite.training.checkpoints import newest_intact, set_aside
    from gft_lite.training.trainer import Trainer

    start, log = time.perf_counter(), run.event_log
    with inputs.scorer as scorer, ExitStack() as signals:
        # Refuse to continue with other inputs, before anything in the directory changes.
        checkpoint, skipped = newest_intact(run)
        first_step = step_of(checkpoint) if checkpoint else 0
        recorded = read_provenance(run)
        known_base = (recorded and recorded.base) or known_base
        provenance = Provenance(config.to_dict(), sources_of(config, inputs))
        provenance = provenance.with_base(base_source(config.model, known_base))
        provenance, changes = compare(
            run, recorded, provenance, step=first_step, accept=accept_changes
        )

        # Go back to the checkpoint: later events and groups will be written again.
        with writing(run.path):
            run.remove_leftovers()
            set_aside(skipped)
            run.forget_after(first_step if checkpoint else -1)
            signals.enter_context(stop_on_signal(run))
            run.set_status("running", step=first_step, steps=config.train.steps)
        for damaged in skipped:
            message = f"{damaged.message}; the run continues from step {first_step}"
            log.record(
                CheckpointSkippedEvent(step=first_step, path=damaged.path.name, message=message)
            )
        yield from log.drain()

        # Load the model, and drop the examples that are too long for it.
        check_card(config)
        policy = load_policy(
            config.model,
            config.lora,
            seed=config.train.seed,
            max_length=config.data.max_prompt_tokens + config.group.max_new_tokens,
        )
        inputs = filter_by_length(config, inputs, policy)
        if provenance.base is None:  # it has just been downloaded, and can be compared only now
            provenance = provenance.with_base(base_source(config.model))
            provenance, changes = compare(
                run, recorded, provenance, step=first_step, accept=accept_changes
            )
        write_provenance(run, provenance)
        if changes:
            log.record(accepted_event(changes, first_step))
        started = _started(config, inputs, policy, resumed=checkpoint is not None)
        if checkpoint:
            for notice in _notices(run, recorded, started, first_step):
                log.record(notice)
        log.record(started)
        yield from log.drain()

        # Train.
        def evaluate_quickly() -> dict[str, Any]:
            return evaluate_run(policy, scorer, config, inputs, quick=True)

        evaluator = evaluate_quickly if inputs.eval_examples else None
        reward = scorer if config.method.rewarded else None
        trainer = Trainer(config, policy, inputs.examples, reward, run, evaluator)
        scorer.on_failure = trainer.reward_failed
        if checkpoint:
            trainer.restore(checkpoint)
        yield from trainer.steps()

        # Save the adapter: the last one, or the best one if the settings ask for it.
        best = trainer.load_best()
        adapter_step = best.step if best else trainer.step
        if trainer.step and trainer.accelerator.is_main_process:
            record = adapters.record_of(
                config,
                policy.tokenizer,
                steps=adapter_step,
                examples=len(inputs.examples),
                inputs=provenance.to_record(),
            )
            if best:
                record["best"] = {**asdict(best), "last_step": trainer.step}
            adapters.save(policy, run.adapter_dir, record)

        # Evaluate it; a stopped run is evaluated when it has been resumed.
        metrics: dict[str, Any] = {}
        state: State = "stopped" if trainer.reason == "stopped" else "finished"
        if evaluator and state == "finished":
            metrics = evaluate_run(policy, scorer, config, inputs)
            adapters.add_metrics(run.adapter_dir, metrics)
            log.record(
                EvalEvent(step=trainer.step, adapter_step=adapter_step, final=True, **metrics)
            )
            yield from log.drain()

    log.record(
        FinishedEvent(
            state=state,
            reason=trainer.reason,
            step=trainer.step,
            adapter_step=adapter_step,
            seconds=time.perf_counter() - start,
            metrics=metrics,
        )
    )
    # after the event: a run that counts as finished is never continued
    run.set_status(state, step=trainer.step, steps=config.train.steps, reason=trainer.reason)
    yield from log.drain()


def _started(config: RunConfig, inputs: RunInputs, policy: Any, *, resumed: bool) -> StartedEvent:
    from gft_lite.models.backend import choose_backend

    backend, reason = choose_backend(config.model.backend)
    return StartedEvent(
        resumed=resumed,
        examples=len(inputs.examples),
        examples_left_out=inputs.left_out,
        bad_rows_dropped=len(inputs.dropped),
        bad_rows=list(inputs.dropped[:LISTED_ROWS]),
        trainable_parameters=sum(p.numel() for p in policy.parameters()),
        backend=backend,
        backend_reason=reason,
        device=str(policy.device),
        dtype=str(policy.dtype).removeprefix("torch."),
        gft_lite=__version__,
        python=platform.python_version(),
        forecast=_forecast(config, policy),
        versions={name: installed for name in LIBRARIES if (installed := _version(name))},
    )


def _notices(
    run: RunDir, recorded: Provenance | None, now: StartedEvent, step: int
) -> Iterator[Event]:
    """Circumstances that do not end a resumed run, but may change its numbers."""
    if recorded is None:
        message = "the run's inputs were not recorded when it started: no change can be found"
        yield InputsUnknownEvent(step=step, message=message)
    earlier = _environment(next(run.read(StartedEvent), now))
    current = _environment(now)
    changed = [
        f"{name} {value} → {current.get(name)}"
        for name, value in earlier.items()
        if value and value != current.get(name)
    ]
    if changed:
        message = f"changed since the run started, so numbers may differ: {', '.join(changed)}"
        yield EnvironmentChangedEvent(step=step, message=message)


def _environment(started: StartedEvent) -> dict[str, Any]:
    return {**{name: getattr(started, name) for name in ENVIRONMENT}, **started.versions}


def _forecast(config: RunConfig, policy: Any) -> dict[str, Any] | None:
    """The forecast, to compare with the measured peak; None if the model's shape is unknown."""
    try:
        shape = shape_of(config.model)
    except ModelError:
        return None
    return forecast(config, shape, device=policy.device.type).to_dict()


def _finish(
    run: RunDir, events: Iterator[EventLine], on_event: Callable[[EventLine], None] | None
) -> RunResult:
    """Train to the end; the last event becomes the result."""
    last: EventLine = {}
    for last in record_failures(run, events):
        if on_event:
            on_event(last)
    finished = FinishedEvent.from_dict(last)
    return RunResult(
        run_dir=run.path,
        adapter=run.adapter_dir,
        state=finished.state,
        steps=finished.step,
        seconds=finished.seconds,
        metrics=finished.metrics,
        updates=sum(event.grad_norm > 0 for event in run.read(StepEvent)),
        reason=finished.reason or "",
        adapter_step=finished.adapter_step,
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
