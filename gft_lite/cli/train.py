"""`gft-lite train`, `resume` and `presets`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gft_lite.cli.options import (
    JsonOption,
    MapOption,
    PresetOption,
    RunArgument,
    SetOption,
    SkipOption,
    parse_map,
)

if TYPE_CHECKING:
    from gft_lite.training.worker import RunResult


def train(
    run: RunArgument = None,
    preset: PresetOption = None,
    data: Annotated[str | None, typer.Option(help="Training file (sets data.path).")] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the run. Default: runs/METHOD-N.")
    ] = None,
    reward_file: Annotated[
        Path | None, typer.Option(help="Python file with your own reward function.")
    ] = None,
    map_: MapOption = None,
    skip_bad_rows: SkipOption = False,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Train an adapter. Without a preset or model, the embedded demo model is trained."""
    from gft_lite.cli import terminal
    from gft_lite.config import load_config, method_names, total_steps
    from gft_lite.training.worker import train as train_run

    # Written as JSON, which is YAML: a file or column may have any name.
    overrides = [f"data.path={json.dumps(data)}"] if data else []
    overrides += [f"data.columns={json.dumps(parse_map(map_))}"] if map_ else []
    overrides += ["data.skip_bad_rows=true"] if skip_bad_rows else []
    overrides += [f"reward={json.dumps({'file': str(reward_file)})}"] if reward_file else []
    config = load_config(run, preset=preset, overrides=[*overrides, *(set_ or [])])
    folder = out or next_run_folder(method_names(config))
    with terminal.training_progress("training", total_steps(config)) as show:
        result = train_run(config, folder, on_event=_started_note(show))
    _print_result(result, json_)


def resume(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run that was stopped or killed.")],
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="Continue although data, reward, model or settings changed; this is recorded.",
        ),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Continue a run from its last checkpoint, with the numbers of an uninterrupted run."""
    from gft_lite.cli import terminal
    from gft_lite.config import total_steps
    from gft_lite.runs import RunDir
    from gft_lite.training.worker import resume as resume_run

    config = RunDir.open(run_dir).config()
    with terminal.training_progress("training", total_steps(config)) as show:
        result = resume_run(run_dir, on_event=_started_note(show), accept_changes=accept_changes)
    _print_result(result, json_)


def presets(
    name: Annotated[str | None, typer.Argument(help="Print this preset.")] = None,
) -> None:
    """List presets, or print one."""
    from gft_lite.cli import terminal
    from gft_lite.config import preset_names, preset_path

    if name:
        terminal.result(preset_path(name).read_text(encoding="utf-8").rstrip())
        return
    for each in preset_names():
        first = preset_path(each).read_text(encoding="utf-8").splitlines()[0]
        terminal.result(f"{each:<24} {first.lstrip('# ')}")


def next_run_folder(method: str) -> Path:
    """The first free runs/METHOD-N."""
    n = 1
    while (folder := Path("runs") / f"{method}-{n}").exists():
        n += 1
    return folder


def _started_note(show: Any) -> Any:
    def on_event(event: dict[str, Any]) -> None:
        if event["type"] == "started":
            note_start(event)
        else:
            show(event)

    return on_event


def note_start(event: dict[str, Any]) -> None:
    """Print what a `started` event records: the stage, dropped rows, examples and backend."""
    from gft_lite.cli import terminal

    if stage := event.get("stage"):
        terminal.note(f"Stage {stage}:")
    terminal.note_dropped(event["bad_rows"], event["bad_rows_dropped"])
    left_out = event["examples_left_out"]
    terminal.note(
        f"{event['examples']} examples"
        + (f" ({left_out} rows have nothing this method trains on)" if left_out else "")
        + f", {event['trainable_parameters']:,} trainable parameters, "
        f"{event['backend']} backend ({event['backend_reason']}), "
        f"{event['dtype']} on {event['device']}"
    )


def _print_result(result: RunResult, as_json: bool) -> None:
    from gft_lite.cli import terminal
    from gft_lite.report import run_warnings
    from gft_lite.runs import RunDir

    for sentence in run_warnings(RunDir(result.run_dir)):
        terminal.note(f"warning: {sentence}")
    if as_json:
        terminal.print_json(
            {
                "run_dir": str(result.run_dir),
                "adapter": str(result.adapter),
                "state": result.state,
                "reason": result.reason,
                "steps": result.steps,
                "adapter_step": result.adapter_step,
                "seconds": result.seconds,
                "metrics": result.metrics,
                "updates": result.updates,
            }
        )
        return
    if result.state == "stopped":
        terminal.result(
            f"Stopped at step {result.steps}; `gft-lite resume {result.run_dir}` continues."
        )
    elif result.reason == "runaway":
        terminal.result(
            f"Ended at step {result.steps} by train.stop_on_runaway, after {result.seconds:.0f} s."
        )
    else:
        learned = "" if result.updates else " Nothing was learned: every gradient was zero."
        terminal.result(f"Finished {result.steps} steps in {result.seconds:.0f} s.{learned}")
    if result.adapter_step not in (None, result.steps):
        terminal.result(f"The adapter is that of step {result.adapter_step}, the best held out.")
    if target := result.metrics.get("target"):
        line = f"Held-out accuracy {terminal.percent(target['greedy_accuracy'])} greedy"
        if target["k"]:
            line += f", {terminal.percent(target['mean_at_k'])} mean@{target['k']}"
            line += f", {terminal.percent(target['pass_at_k'])} pass@{target['k']}"
            line += f" at temperature {target['temperature']:g}"
        terminal.result(line)
    if old_skill := result.metrics.get("old_skill"):
        terminal.result(f"Old skill {terminal.percent(old_skill['greedy_accuracy'])}")
    if result.steps:
        terminal.result(f"Adapter: {result.adapter}")
