"""A pipeline: its stages are ordinary runs in folders of their own, and each continues the adapter
of the one before. The pipeline's folder has the status of the whole and, at the end, the last
adapter. The caller passes in the function that trains one stage.
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
from gft_lite.runs.events import FinishedEvent
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
from gft_lite.types import InputError

TrainStage = Callable[[RunDir, RunConfig, InputSource | None], Iterator[dict[str, Any]]]
"""(directory, configuration, base if known) → events; continues a stage that was interrupted."""


def check_stages(config: RunConfig, *, allow_custom_reward: bool) -> dict[str, InputSource]:
    """Validate the inputs of every stage before the first one starts.

    Returns:
        The sources of all stages, by keys like `stages.2.data.path`.

    Raises:
        InputError: as `validate_inputs`; the message names the stage.
    """
    sources: dict[str, InputSource] = {}
    for number, stage in enumerate(stages_of(config), 1):
        try:
            inputs = validate_inputs(stage.config, allow_custom_reward=allow_custom_reward)
        except InputError as error:
            raise type(error)(f"stages.{number} ({stage.config.method.name}): {error}") from None
        with inputs.scorer:
            stage_sources = sources_of(stage.config, inputs)
        if number > 1:
            del stage_sources["model.adapter"]  # made by the stage before; the stage records it
        sources |= {f"stages.{number}.{key}": source for key, source in stage_sources.items()}
    return sources


def run_stages(
    run: RunDir,
    config: RunConfig,
    train_stage: TrainStage,
    *,
    provenance: Provenance,
    accept_changes: bool,
) -> Iterator[dict[str, Any]]:
    """Train the stages that are not finished, in order; yields the events of the pipeline."""
    start = time.perf_counter()
    step, recorded = run.status().get("step", 0), read_provenance(run)
    base = base_source(config.model, recorded.base if recorded else None)
    provenance, changes = compare(
        run, recorded, provenance.with_base(base), step=step, accept=accept_changes
    )
    stages, steps = stages_of(config, run.path), total_steps(config)
    run.forget_after(-1)
    write_provenance(run, provenance)
    if changes:
        run.event_log.record(accepted_event(changes, step=0))
    yield from run.event_log.drain()

    steps_before, stopped = 0, False
    metrics: dict[str, Any] = {}
    for number, stage in enumerate(stages, 1):
        stage_run = _stage_run(run, stage)
        if not _is_finished(stage_run):
            run.set_status("running", step=steps_before, steps=steps, stage=stage.name)
            for line in train_stage(stage_run, stage.config, base):
                event = of_stage(line, number, steps_before)
                run.set_status("running", step=event["step"], steps=steps, stage=stage.name)
                yield event
                # A request to stop the pipeline stops its current stage.
                if run.stop_file.exists():
                    stage_run.request_stop()
        steps_before += stage_run.status()["step"]
        stops_between = run.stop_file.exists() and number < len(stages)
        if stopped := stops_between or stage_run.status()["state"] == "stopped":
            break
        metrics = next(stage_run.read(FinishedEvent)).metrics

    if not stopped:
        with new_folder(run.adapter_dir) as folder:  # the record of the last one lists all stages
            shutil.copytree(stage_run.adapter_dir, folder, dirs_exist_ok=True)
    run.stop_file.unlink(missing_ok=True)
    state: State = "stopped" if stopped else "finished"
    run.event_log.record(
        FinishedEvent(
            state=state,
            step=steps_before,
            seconds=time.perf_counter() - start,
            metrics={} if stopped else metrics,
        )
    )
    # after the event: a run that counts as finished is never continued
    run.set_status(state, step=steps_before, steps=steps, stage=stage.name)
    yield from run.event_log.drain()


def _stage_run(run: RunDir, stage: Stage) -> RunDir:
    stage_run = RunDir(run.path / stage.name)
    # A folder with settings but without a status: the process ended between the two.
    if not (stage_run.config_file.is_file() or is_run(stage_run.path)):
        return RunDir.create(stage_run.path, stage.config.to_yaml())
    if stage_run.current()["state"] == "damaged":  # the pipeline's settings determine the stage's
        with writing(stage_run.path):
            write_atomic(stage_run.config_file, stage.config.to_yaml())
    return stage_run


def _is_finished(stage: RunDir) -> bool:
    """Whether a stage is complete. If its end was not recorded, it continues at its last step."""
    ended = stage.status()["state"] == "finished"
    return ended and stage.adapter_dir.is_dir() and any(stage.events("finished"))
