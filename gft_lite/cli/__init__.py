"""The command line. Progress goes to stderr, results to stdout.

Exit codes: 0 success; 2 wrong input; 1 any other failure. Heavy libraries are imported inside
commands.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from gft_lite import __version__
from gft_lite.cli import (
    adapters,
    data,
    distill,
    estimate,
    evaluate,
    methods,
    runs,
    train,
    ui,
)
from gft_lite.cli.options import ListsMethods
from gft_lite.runs.resources import CPU, extend_cpu_time, shortage
from gft_lite.types import GftError, InputError, TrainingError

Commands = Mapping[str, Callable[..., None]]

COMMANDS: Commands = {
    "demo": methods.demo,
    "compare-methods": methods.compare_methods,
    "eval": evaluate.eval_,
    "estimate": estimate.estimate,
    "ui": ui.ui,
    "compare": adapters.compare,
    "export": adapters.export,
    "mix": adapters.mix,
    "train": train.train,
    "resume": train.resume,
    "presets": train.presets,
    "report": runs.report,
}
WITH_METHODS = (train.train, methods.compare_methods)
DATA: Commands = {
    "check": data.check,
    "preview": data.preview,
    "fix": data.fix,
    "distill": distill.distill,
    "dry-run": data.dry_run,
    "split": data.split,
}
RUNS: Commands = {"list": runs.list_, "show": runs.show, "stop": runs.stop}


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"gft-lite {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def _group(about: str, commands: Commands, **options: Any) -> typer.Typer:
    group = typer.Typer(help=about, no_args_is_help=True, **options)
    for name, command in commands.items():
        group.command(name, cls=ListsMethods if command in WITH_METHODS else None)(command)
    return group


app = _group(
    "Group Fine-Tuning on the one GPU you own.",
    COMMANDS,
    name="gft-lite",
    callback=_root,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(_group("Check and prepare data before training.", DATA), name="data")
app.add_typer(_group("List, show and stop runs.", RUNS), name="runs")


def main() -> None:
    """Entry point: turns every error into a sentence and an exit code."""
    from gft_lite.cli import terminal

    debug = bool(os.environ.get("GFT_LITE_DEBUG"))
    if hasattr(signal, "SIGXCPU"):  # not on Windows
        signal.signal(signal.SIGXCPU, _cpu_time_ended)
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sentence, code = "interrupted", 130
    except Exception as error:
        if debug:
            raise
        wrong_input = isinstance(error, InputError) or (
            isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        )
        sentence, code = f"error: {_sentence(error)}", 2 if wrong_input else 1
    else:
        return
    print(terminal.printable(sentence), file=sys.stderr)
    sys.exit(code)


def _sentence(error: Exception) -> str:
    if isinstance(error, GftError):
        return str(error)
    return shortage(error) or (
        f"it broke: {type(error).__name__}: {error}\nSet GFT_LITE_DEBUG=1 to see the traceback."
    )


def _cpu_time_ended(number: int, frame: Any) -> None:
    extend_cpu_time()
    raise TrainingError(CPU)
