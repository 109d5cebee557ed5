"""`gft-lite runs list`, `show` and `stop`, and `gft-lite report`: commands on run directories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gft_lite.cli.options import JsonOption, RunDirArgument
from gft_lite.types import RunError


def list_(
    root: Annotated[Path, typer.Option(help="Folder that contains the runs.")] = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """List all runs below a folder, newest first."""
    from gft_lite.cli import terminal
    from gft_lite.runs import list_runs

    listed = [(str(run.path), run.current()) for run in list_runs(root)]
    if json_:
        terminal.print_json([{"run": path, **status} for path, status in listed])
        return
    if not listed:
        terminal.note(f"No runs below {root}. Start one with `gft-lite train` or `gft-lite demo`.")
        return
    terminal.table(
        f"Runs below {root}",
        ["run", "state", "step"],
        [
            [path, status["state"], f"{status['step']}/{status.get('steps', '?')}"]
            for path, status in listed
        ],
    )
    for _, status in listed:
        if status["state"] == "damaged":
            terminal.note(status["message"])


def show(run_dir: RunDirArgument, json_: JsonOption = False) -> None:
    """Show the state, the damage and the last figures of a run."""
    from gft_lite.cli import terminal
    from gft_lite.runs import RunDir, damage_report, damaged_groups

    run = RunDir.open(run_dir)
    steps = list(run.events("step"))
    evals = list(run.events("eval"))
    damage = damage_report(run) + damaged_groups(run)
    document = {
        "run": str(run.path),
        **run.current(),
        "last_step": steps[-1] if steps else None,
        "last_eval": evals[-1] if evals else None,
        "checkpoints": [c.name for c in run.checkpoints()],
        "damage": damage,
    }
    if json_:
        terminal.print_json(document)
        return
    status = run.current()
    terminal.result(f"{run.path}: {status['state']}, step {status['step']}")
    if message := status.get("message"):
        terminal.result(message)
    for sentence in damage:
        if sentence != message:
            terminal.result(sentence)
    if steps:
        terminal.result(terminal.step_line(steps[-1]))


def stop(run_dir: RunDirArgument) -> None:
    """Stop a run after its current step; it writes a checkpoint first."""
    from gft_lite.cli import terminal
    from gft_lite.runs import BUSY, RunDir, writing

    run = RunDir.open(run_dir)
    state = run.current()["state"]
    if state not in BUSY:
        raise RunError(f"{run_dir} is {state}, not running")
    with writing(run.path):
        run.request_stop()
    terminal.result(
        f"{run_dir} stops after its current step; `gft-lite resume {run_dir}` continues it"
    )


def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run, demo or comparison.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write. Default: report.html in the folder.")
    ] = None,
) -> None:
    """Write a self-contained HTML report of a run, a demo, or a comparison of methods."""
    from gft_lite.cli import terminal
    from gft_lite.report import methods_document, write_methods_report, write_run_report
    from gft_lite.runs import RunDir

    if methods_document(run_dir):
        terminal.result(write_methods_report(run_dir, out))
    else:
        terminal.result(write_run_report(RunDir.open(run_dir), out))
