"""A run from its configuration to its adapter: `train`, `train_iter` and `resume`.

Every error is caught here (`runs.lifecycle`): its message goes into status.json, the
traceback into log.txt.
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
from gft_lite.preflight.inputs import RunInputs, validate_inputs
from gft_lite.preflight.lengths import filter_by_length
from gft_lite.runs import RunDir, State, step_of, writing
from gft_lite.runs.lifecycle import fail, record_failures, set_state, stop_on_signal
from gft_lite.training.provenance import (
    Inputs,
    Source,
    accepted_event,
    base_source,
    compared,
    read_inputs,
    sources_of,
    write_inputs,
)
from gft_lite.training.stages import check_stages, run_stages
from gft_lite.types import ModelError, RunError

Event = dict[str, Any]
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "unsloth")
ENVIRONMENT = ("gft_lite", "python", "device", "dtype", "backend")
LISTED_ROWS = 1000  # of the rows dropped, in the event "started"


@dataclass(frozen=True)
class RunResult:
    """A run that ended. `metrics` is the final evaluation, empty where no held-out file was named.

    state: "finished", or "stopped" where the user ended it early.
    updates: steps whose gradient was not zero; without any, nothing was learned.
    reason: "steps", "max_tokens", "runaway" or "stopped": why no further step was taken; empty for
        a pipeline.
    adapter_step: the step whose adapter is the run's; another than the last if the best was kept.
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
    on_event: Callable[[Event], None] | None = None,
    allow_custom_reward: bool = True,
) -> RunResult:
    """Train an adapter.

    Args:
        config: the resolved configuration.
        out: a new or empty folder; it becomes the run directory.
        on_event: called with every event.
        allow_custom_reward: whether `reward.file` may name a Python file to run.

    Raises:
        InputError: configuration, data, reward, model or folder cannot be used.
        TrainingError: training broke.
    """
    return _finish(*_create(config, out, allow_custom_reward), on_event)


def train_iter(
    config: RunConfig, out: str | os.PathLike[str], *, allow_custom_reward: bool = True
) -> Iterator[Event]:
    """The same, as an iterator of events for notebooks; the last one has type "finished"."""
    yield from record_failures(*_create(config, out, allow_custom_reward))


def resume(
    path: str | os.PathLike[str],
    *,
    on_event: Callable[[Event], None] | None = None,
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
) -> tuple[RunDir, Iterator[Event]]:
    """A new run directory, and the events that training will be; input is checked first."""
    checked = _checked(config, allow_custom_reward)
    from gft_lite.models.load import check_model  # torch: what needs none is refused before

    try:
        check_model(config.model)
        run = RunDir.create(out, config.to_yaml())
    except BaseException:
        if isinstance(checked, RunInputs):
            checked.scorer.close()
        raise
    return run, _events(run, config, checked, allow_custom_reward)


def _checked(config: RunConfig, allow_custom_reward: bool) -> RunInputs | dict[str, Source]:
    """Checked inputs; the sources of a pipeline, whose stages are prepared again in their turn."""
    if config.stages:
        return check_stages(config, allow_custom_reward=allow_custom_reward)
    return validate_inputs(config, allow_custom_reward=allow_custom_reward)


def _events(
    run: RunDir,
    config: RunConfig,
    checked: RunInputs | dict[str, Source],
    allow_custom_reward: bool,
    accept_changes: bool = False,
) -> Iterator[Event]:
    if isinstance(checked, RunInputs):
        return _run(run, config, checked, accept_changes)

    def train_stage(stage: RunDir, its: RunConfig, base: Source | None) -> Iterator[Event]:
        stage.stop_file.unlink(missing_ok=True)  # as in `resume`
        prepared = validate_inputs(its, allow_custom_reward=allow_custom_reward)
        return record_failures(stage, _run(stage, its, prepared, accept_changes, base))

    inputs = Inputs(config.to_dict(), checked)
    return run_stages(run, config, train_stage, inputs=inputs, accept_changes=accept_changes)


def _run(
    run: RunDir,
    config: RunConfig,
    prepared: RunInputs,
    accept_changes: bool,
    known_base: Source | None = None,
) -> Iterator[Event]:
    """The whole life of a run; continues from its last checkpoint where it has one."""
    from gft_lite.adapters import record as adapters
    from gft_lite.memory.adaptive_batch import check_card
    from gft_lite.models import load_policy
    from gft_lite.training.checkpoints import newest_intact, set_aside

    started = time.perf_counter()
    with prepared.scorer as scorer, ExitStack() as signals:
        checkpoint, skipped = newest_intact(run)
        begin = step_of(checkpoint) if checkpoint else 0
        recorded = read_inputs(run)
        inputs = Inputs(config.to_dict(), sources_of(config, prepared))
        known_base = (recorded and recorded.base) or known_base
        inputs = inputs.with_base(base_source(config.model, known_base))
        inputs, changes = compared(run, recorded, inputs, step=begin, accept=accept_changes)
        with writing(run.path):
            run.remove_leftovers()
            set_aside(skipped)
            run.forget_after(begin if checkpoint else -1)
            signals.enter_context(stop_on_signal(run))
            run.set_status("running", step=begin, steps=config.train.steps)
        for one in skipped:
            yield _emit(run, _skipped(one.path.name, one.message, begin))
        check_card(config)
        policy = load_policy(
            config.model,
            config.lora,
            seed=config.train.seed,
            max_length=config.data.max_prompt_tokens + config.group.max_new_tokens,
        )
        prepared = filter_by_length(config, prepared, policy)
        if inputs.base is None:  # it had to be downloaded first
            inputs = inputs.with_base(base_source(config.model))
            inputs, changes = compared(run, recorded, inputs, step=begin, accept=accept_changes)
        write_inputs(run, inputs)
        if changes:
            yield accepted_event(run, changes, begin)
        began = _started(config, prepared, policy, resumed=checkpoint is not None)
        if checkpoint:
            for notice in [*_notices(run, recorded, began, begin)]:
                yield _emit(run, notice)
        yield _emit(run, began)

        from gft_lite.evaluation.suite import evaluate_run
        from gft_lite.training.trainer import Trainer

        def evaluate_quickly() -> dict[str, Any]:
            return evaluate_run(policy, scorer, config, prepared, quick=True)

        evaluator = evaluate_quickly if prepared.eval_examples else None
        reward = scorer if config.method.rewarded else None
        trainer = Trainer(config, policy, prepared.examples, reward, run, evaluator)
        scorer.on_failure = trainer.reward_failed
        if checkpoint:
            trainer.restore(checkpoint)
        stopped = False
        for event in trainer.steps():
            stopped = event["type"] == "stopped"
            yield event
        best = trainer.take_best()
        adapter_step = best.step if best else trainer.step
        if trainer.step and trainer.accelerator.is_main_process:
            record = adapters.record_of(
                config,
                policy.tokenizer,
                steps=adapter_step,
                examples=len(prepared.examples),
                inputs=inputs.provenance(),
            )
            if best:
                record["best"] = {**asdict(best), "last_step": trainer.step}
            adapters.save(policy, run.adapter_dir, record)
        final: dict[str, Any] = {}
        if evaluator and not stopped:
            final = evaluate_run(policy, scorer, config, prepared)
            adapters.add_metrics(run.adapter_dir, final)
            where = {"step": trainer.step, "adapter_step": adapter_step, "final": True}
            yield _emit(run, {"type": "eval", **where, **final})
    seconds = time.perf_counter() - started
    state: State = "stopped" if stopped else "finished"
    reason = "stopped" if stopped else trainer.reason
    last = _emit(
        run,
        {
            "type": "finished",
            "state": state,
            "reason": reason,
            "step": trainer.step,
            "adapter_step": adapter_step,
            "seconds": seconds,
            "metrics": final,
        },
    )
    # after the event: a run that counts as finished is never continued
    run.set_status(state, step=trainer.step, steps=config.train.steps, reason=reason)
    yield last


# --- inside -------------------------------------------------------------------------------------


def _started(config: RunConfig, prepared: RunInputs, policy: Any, *, resumed: bool) -> Event:
    from gft_lite.models.backend import choose_backend

    backend, reason = choose_backend(config.model.backend)
    return {
        "type": "started",
        "step": 0,
        "resumed": resumed,
        "examples": len(prepared.examples),
        "examples_left_out": prepared.left_out,
        "bad_rows_dropped": len(prepared.dropped),
        "bad_rows": list(prepared.dropped[:LISTED_ROWS]),
        "trainable_parameters": sum(p.numel() for p in policy.parameters()),
        "backend": backend,
        "backend_reason": reason,
        "device": str(policy.device),
        "dtype": str(policy.dtype).removeprefix("torch."),
        "gft_lite": __version__,
        "python": platform.python_version(),
        "forecast": _forecast(config, policy),
        "versions": {name: _version(name) for name in LIBRARIES if _version(name)},
    }


def _skipped(name: str, message: str, step: int) -> Event:
    message = f"{message}; the run continues from step {step}"
    return {"type": "checkpoint_skipped", "step": step, "path": name, "message": message}


def _notices(run: RunDir, recorded: Inputs | None, now: Event, step: int) -> Iterator[Event]:
    """What a resumed run is not refused for, but may compute other numbers with."""
    if recorded is None:
        message = "the run's inputs were not recorded when it started: no change can be found"
        yield {"type": "inputs_unknown", "step": step, "message": message}
    before, after = (_environment(e) for e in (next(run.events("started"), now), now))
    changed = [
        f"{key} {old} → {after.get(key)}" for key, old in before.items() if old != after.get(key)
    ]
    if changed:
        message = f"changed since the run started, so numbers may differ: {', '.join(changed)}"
        yield {"type": "environment_changed", "step": step, "message": message}


def _environment(started: Event) -> dict[str, Any]:
    own = {key: started[key] for key in ENVIRONMENT if key in started}
    return {**own, **started.get("versions", {})}


def _forecast(config: RunConfig, policy: Any) -> dict[str, Any] | None:
    """To be read beside the measured peak; None where the model's shape is not known."""
    try:
        shape = shape_of(config.model)
    except ModelError:
        return None
    return forecast(config, shape, device=policy.device.type).to_dict()


def _emit(run: RunDir, event: Event) -> Event:
    run.append(event)
    return event


def _finish(
    run: RunDir, events: Iterator[Event], on_event: Callable[[Event], None] | None
) -> RunResult:
    last: Event = {}
    for last in record_failures(run, events):
        if on_event:
            on_event(last)
    return RunResult(
        run_dir=run.path,
        adapter=run.adapter_dir,
        state=last["state"],
        steps=last["step"],
        seconds=last["seconds"],
        metrics=last["metrics"],
        updates=sum(event.get("grad_norm", 0) > 0 for event in run.events("step")),
        reason=last.get("reason", ""),
        adapter_step=last.get("adapter_step"),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
