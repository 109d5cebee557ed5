"""The command line: a view of the engine. Progress goes to stderr, results to stdout.

Exit codes: 0 done; 2 the input was wrong; 1 it broke. Heavy libraries are imported inside commands.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gft_lite import (
    __version__,
    cli_adapters,
    cli_distill,
    cli_estimate,
    cli_eval,
    cli_methods,
    cli_prepare,
    cli_ui,
)
from gft_lite.cli_data import JsonOption, MapOption, data_app, parse_map
from gft_lite.cli_estimate import PresetOption, SetOption
from gft_lite.cli_eval import SkipOption
from gft_lite.types import GftError, InputError, RunError

app = typer.Typer(
    name="gft-lite",
    help="Group Fine-Tuning on the one GPU you own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(cli_methods.demo)
app.command("compare-methods")(cli_methods.compare_methods)
data_app.command("distill")(cli_distill.distill)
data_app.command("dry-run")(cli_prepare.dry_run)
data_app.command("split")(cli_prepare.split)
app.add_typer(data_app, name="data")
app.command("eval")(cli_eval.eval_)
app.command()(cli_estimate.estimate)
app.command()(cli_ui.ui)
for command in (cli_adapters.compare, cli_adapters.export, cli_adapters.mix):
    app.command()(command)
runs_app = typer.Typer(help="List, show and stop runs.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gft-lite {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command()
def train(
    run: Annotated[Path | None, typer.Argument(help="YAML file of settings.")] = None,
    preset: PresetOption = None,
    data: Annotated[str | None, typer.Option(help="Training file; sets data.path.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for the run.")] = None,
    reward_file: Annotated[
        Path | None, typer.Option(help="Python file with your own reward function.")
    ] = None,
    map_: MapOption = None,
    skip_bad_rows: SkipOption = False,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Train an adapter. Without a model named, the embedded demo model is trained."""
    from gft_lite import terminal
    from gft_lite.config import load_config, method_names, total_steps
    from gft_lite.worker import train as train_run

    # as JSON, which is YAML: a file or column may be called anything
    overrides = [f"data.path={json.dumps(data)}"] if data else []
    overrides += [f"data.columns={json.dumps(parse_map(map_))}"] if map_ else []
    overrides += ["data.skip_bad_rows=true"] if skip_bad_rows else []
    overrides += [f"reward={json.dumps({'file': str(reward_file)})}"] if reward_file else []
    config = load_config(run, preset=preset, overrides=[*overrides, *(set_ or [])])
    folder = out or next_run_folder(method_names(config))
    with terminal.training_progress("training", total_steps(config)) as show:
        result = train_run(config, folder, on_event=_tell(show))
    _print_result(result, json_)


@app.command()
def resume(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a stopped or killed run.")],
    json_: JsonOption = False,
) -> None:
    """Continue a run from its last checkpoint, to the numbers it would have had."""
    from gft_lite import terminal
    from gft_lite.config import load_config, total_steps
    from gft_lite.runs import RunDir
    from gft_lite.worker import resume as resume_run

    config = load_config(RunDir.open(run_dir).config_file)
    with terminal.training_progress("training", total_steps(config)) as show:
        result = resume_run(run_dir, on_event=_tell(show))
    _print_result(result, json_)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Show this preset.")] = None,
) -> None:
    """List presets, or print one."""
    from gft_lite.config import preset_names, preset_path

    if name:
        typer.echo(preset_path(name).read_text(encoding="utf-8").rstrip())
        return
    for each in preset_names():
        first = preset_path(each).read_text(encoding="utf-8").splitlines()[0]
        typer.echo(f"{each:<24} {first.lstrip('# ')}")


@runs_app.command("list")
def runs_list(
    root: Annotated[Path, typer.Option(help="Folder to look in.")] = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """All runs below a folder, newest first."""
    from gft_lite import terminal
    from gft_lite.runs import list_runs

    found = [{"run": str(run.path), **run.current()} for run in list_runs(root)]
    if json_:
        terminal.print_json(found)
        return
    if not found:
        terminal.note(f"No runs below {root}. Start one with `gft-lite train` or `gft-lite demo`.")
        return
    terminal.table(
        f"Runs below {root}",
        ["run", "state", "step"],
        [
            [entry["run"], entry["state"], f"{entry.get('step', 0)}/{entry.get('steps', '?')}"]
            for entry in found
        ],
    )


@runs_app.command("show")
def runs_show(run_dir: Path, json_: JsonOption = False) -> None:
    """State, settings that differ from the defaults, and the last figures of a run."""
    from gft_lite import terminal
    from gft_lite.runs import RunDir

    run = RunDir.open(run_dir)
    steps = list(run.events("step"))
    evals = list(run.events("eval"))
    document = {
        "run": str(run.path),
        **run.current(),
        "last_step": steps[-1] if steps else None,
        "last_eval": evals[-1] if evals else None,
        "checkpoints": [c.name for c in run.checkpoints()],
    }
    if json_:
        terminal.print_json(document)
        return
    status = run.current()
    typer.echo(f"{run.path}: {status['state']}, step {status.get('step', 0)}")
    if status.get("message"):
        typer.echo(status["message"])
    if steps:
        typer.echo(terminal.step_line(steps[-1]))


@runs_app.command("stop")
def runs_stop(run_dir: Path) -> None:
    """Ask a run to end after its current step; it writes a checkpoint first."""
    from gft_lite.runs import RunDir

    run = RunDir.open(run_dir)
    state = run.current()["state"]
    if state != "running":
        raise RunError(f"{run_dir} is {state}, not running")
    run.request_stop()
    typer.echo(f"{run_dir} stops after its current step; `gft-lite resume {run_dir}` continues it")


@app.command()
def report(
    run_dir: Path,
    out: Annotated[Path | None, typer.Option(help="HTML file to write.")] = None,
) -> None:
    """Write a self-contained HTML report of a run, a demo, or a comparison of methods."""
    from gft_lite.report import methods_document, write_methods_report, write_run_report
    from gft_lite.runs import RunDir

    if methods_document(run_dir):
        typer.echo(write_methods_report(run_dir, out))
    else:
        typer.echo(write_run_report(RunDir.open(run_dir), out))


def next_run_folder(method: str) -> Path:
    """The first free runs/METHOD-N."""
    n = 1
    while (folder := Path("runs") / f"{method}-{n}").exists():
        n += 1
    return folder


def _tell(show: Any) -> Any:
    from gft_lite import terminal

    def on_event(event: dict[str, Any]) -> None:
        if event["type"] == "started":
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
        else:
            show(event)

    return on_event


def _print_result(result: Any, as_json: bool) -> None:
    from gft_lite import terminal

    if as_json:
        terminal.print_json(
            {
                "run_dir": str(result.run_dir),
                "adapter": str(result.adapter),
                "state": result.state,
                "steps": result.steps,
                "seconds": result.seconds,
                "metrics": result.metrics,
            }
        )
        return
    if result.state == "stopped":
        typer.echo(f"Stopped at step {result.steps}; `gft-lite resume {result.run_dir}` continues.")
    else:
        typer.echo(f"Finished {result.steps} steps in {result.seconds:.0f} s.")
    if target := result.metrics.get("target"):
        line = f"Held-out accuracy {terminal.percent(target['greedy_accuracy'])} greedy"
        if target["k"]:
            line += f", {terminal.percent(target['mean_at_k'])} mean@{target['k']}"
            line += f", {terminal.percent(target['pass_at_k'])} pass@{target['k']}"
        typer.echo(line)
    if kept := result.metrics.get("old_skill"):
        typer.echo(f"Old skill {terminal.percent(kept['greedy_accuracy'])}")
    if result.steps:
        typer.echo(f"Adapter: {result.adapter}")


def main() -> None:
    """Entry point: turns every error into a sentence and an exit code."""
    debug = bool(os.environ.get("GFT_LITE_DEBUG"))
    try:
        app(standalone_mode=True)
    except InputError as error:
        if debug:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        kind = "" if isinstance(error, GftError) else f"{type(error).__name__}: "
        typer.echo(
            f"error: it broke: {kind}{error}\nSet GFT_LITE_DEBUG=1 to see the traceback.", err=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
