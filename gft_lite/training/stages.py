"""A run in stages: each an ordinary run in a folder of its own, continuing the adapter of the one
before. The pipeline's own folder has the status of the whole and, at the end, the last adapter.

The function that trains one stage is handed in.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

from gft_lite.config import RunConfig, Stage, stages_of, total_steps
from gft_lite.preflight.inputs import validate_inputs
from gft_lite.runs import RunDir, State, is_run, of_stage, writing
from gft_lite.runs.atomic import new_folder, write_atomic
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
from gft_lite.types import InputError

Event = dict[str, Any]
TrainOne = Callable[[RunDir, RunConfig, Source | None], Iterator[Event]]
"""(directory, configuration, base if known) → events; continues where the directory says it
stopped."""


def check_stages(config: RunConfig, *, allow_custom_reward: bool) -> dict[str, Source]:
    """Refuse a stage that could not start, before the first one does; returns what the stages are
    made from.

    Raises:
        InputError: as `validate_inputs`, naming the stage.
    """
    sources: dict[str, Source] = {}
    for number, stage in enumerate(stages_of(config), 1):
        try:
            prepared = validate_inputs(stage.config, allow_custom_reward=allow_custom_reward)
        except InputError as error:
            raise type(error)(f"stages.{number} ({stage.config.method.name}): {error}") from None
        with prepared.scorer:
            own = sources_of(stage.config, prepared)
        if number > 1:
            del own["model.adapter"]  # that of the stage before, which the stage records
        sources |= {f"stages.{number}.{key}": source for key, source in own.items()}
    return sources


def run_stages(
    run: RunDir, config: RunConfig, train_one: TrainOne, *, inputs: Inputs, accept_changes: bool
) -> Iterator[Event]:
    """Train the stages that are not finished, in order; every event as the pipeline tells it."""
    started = time.perf_counter()
    step, recorded = run.status().get("step", 0), read_inputs(run)
    base = base_source(config.model, recorded.base if recorded else None)
    inputs = inputs.with_base(base)
    inputs, changes = compared(run, recorded, inputs, step=step, accept=accept_changes)
    stages, steps = stages_of(config, run.path), total_steps(config)
    run.forget_after(-1)
    write_inputs(run, inputs)
    if changes:
        yield accepted_event(run, changes, step=0)
    before, stopped = 0, False
    metrics: dict[str, Any] = {}
    for number, stage in enumerate(stages, 1):
        folder = _folder(run, stage)
        if not _finished(folder):
            run.set_status("running", step=before, steps=steps, stage=stage.name)
            for told in train_one(folder, stage.config, base):
                event = of_stage(told, number, before)
                run.set_status("running", step=event["step"], steps=steps, stage=stage.name)
                yield event
                if run.stop_file.exists():
                    folder.request_stop()
        before += folder.status()["step"]
        between = run.stop_file.exists() and number < len(stages)
        if stopped := between or folder.status()["state"] == "stopped":
            break
        metrics = next(folder.events("finished"))["metrics"]
    if not stopped:
        with new_folder(run.adapter_dir) as aside:  # its record lists all the stages
            shutil.copytree(folder.adapter_dir, aside, dirs_exist_ok=True)
    run.stop_file.unlink(missing_ok=True)
    state: State = "stopped" if stopped else "finished"
    seconds = time.perf_counter() - started
    last: Event = {
        "type": "finished",
        "state": state,
        "step": before,
        "seconds": seconds,
        "metrics": {} if stopped else metrics,
    }
    run.append(last)
    run.set_status(state, step=before, steps=steps, stage=stage.name)
    yield last


def _folder(run: RunDir, stage: Stage) -> RunDir:
    folder = RunDir(run.path / stage.name)
    # settings without a status: the process ended between the two
    if not (folder.config_file.is_file() or is_run(folder.path)):
        return RunDir.create(folder.path, stage.config.to_yaml())
    if folder.current()["state"] == "damaged":  # its settings follow from those of the pipeline
        with writing(folder.path):
            write_atomic(folder.config_file, stage.config.to_yaml())
    return folder


def _finished(stage: RunDir) -> bool:
    """Whether a stage is whole; one whose end was not written down is continued, at its last
    step."""
    ended = stage.status()["state"] == "finished"
    return ended and stage.adapter_dir.is_dir() and any(stage.events("finished"))
