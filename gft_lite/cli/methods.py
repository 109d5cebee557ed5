"""`gft-lite demo` and `gft-lite compare-methods`: methods side by side, as one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gft_lite.cli.options import (
    JsonOption,
    MapOption,
    ModelOption,
    PresetOption,
    SeedOption,
    SetOption,
    SkipOption,
    parse_map,
)
from gft_lite.cli.train import note_start
from gft_lite.types import ConfigError

if TYPE_CHECKING:
    from gft_lite.config import RunConfig
    from gft_lite.experiments import MethodComparison, Variant

DEFAULT_PRESET = "tiny-cpu"  # where neither a preset nor a model is named
CURVE_POINTS = 4
LEAD = (
    "Every method was trained on the same file from the same base. The target is the held-out part "
    "of it. One seed is one draw: another seed can change the order."
)


def demo(
    out: Annotated[Path, typer.Option(help="New folder for the results.")] = Path("runs/demo"),
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of every method.")] = 100,
    seed: SeedOption = 0,
    json_: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Base, SFT, DFT and GFT side by side on the embedded model: minutes, no GPU, no download."""
    from gft_lite.cli import terminal
    from gft_lite.experiments.demo import DOCUMENT, RECIPES, run_demo

    terminal.note(
        "The embedded demo model (2.8 M parameters) knows one-step word problems and learns "
        "three-step ones.\nAs in real files, some solutions are wrong: about a fifth of the "
        "experts' and more than a third of the teachers'."
    )
    with terminal.training_progress("training", steps * len(RECIPES)) as show:
        tell = _told_in_a_row([recipe.name for recipe in RECIPES], steps, show)
        found = run_demo(
            out, steps=steps, seed=seed, say=terminal.note, on_event=tell, extra=set_ or ()
        )
    if json_:
        terminal.print_json(found.to_dict())
        return
    _show(found)
    terminal.note(
        "target: held-out three-step problems. old skill: one-step problems the base knew.\n"
        "KL: how far the model moved on the responses of the base model. One seed is one draw: "
        f"docs/log.md has three.\n{_places(found, DOCUMENT)}"
    )


def compare_methods(
    data: Annotated[str, typer.Option(help="Training file, hub name, or embedded:NAME.")],
    methods: Annotated[
        str, typer.Option(help="Of those below, with commas between.")
    ] = "sft,dft,gft,grpo",
    eval_: Annotated[
        str | None, typer.Option("--eval", help="Held-out file; without it, part of --data.")
    ] = None,
    retention: Annotated[str | None, typer.Option(help="File of an old skill.")] = None,
    model: ModelOption = None,
    preset: PresetOption = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps of each.")] = None,
    token_budget: Annotated[
        int | None, typer.Option(min=1, help="End each after so many trained response tokens.")
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(help="Learning rates, as sft=3e-4:1e-3,gft=5e-4; the best of several."),
    ] = None,
    hold_out: Annotated[
        int, typer.Option(min=4, help="Prompts to hold out of --data where --eval is not given.")
    ] = 200,
    seed: SeedOption = 0,
    out: Annotated[
        Path, typer.Option(help="New folder, or that of the same comparison, interrupted.")
    ] = Path("runs/methods"),
    map_: MapOption = None,
    skip_bad_rows: SkipOption = False,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Train several methods on your own file alike, and print one table. See docs."""
    from gft_lite.cli import terminal
    from gft_lite.config import load_config
    from gft_lite.experiments import run_comparison
    from gft_lite.report import METHODS_DOCUMENT

    chosen = preset or (None if model else [DEFAULT_PRESET])
    said: dict[str, Any] = {
        "data.path": data,
        "data.eval_path": eval_,
        "data.retention_path": retention,
        "data.columns": parse_map(map_) or None,
        "data.skip_bad_rows": skip_bad_rows or None,
        "model.name": model,
        "train.steps": steps,
        "train.max_tokens": token_budget,
        "train.seed": seed,
    }
    layers = [f"{key}={json.dumps(value)}" for key, value in said.items() if value is not None]
    common = _completed(load_config(None, preset=chosen, overrides=[*layers, *(set_ or [])]))
    entries = parse_entries(methods, rates)
    runs = [name for entry in entries for name in entry.configs(common)]
    steps_each = common.train.steps
    with terminal.training_progress("training", steps_each * len(runs)) as show:
        found = run_comparison(
            common,
            entries,
            out,
            title="Methods compared",
            lead=LEAD,
            document=METHODS_DOCUMENT,
            hold_out=hold_out,
            say=terminal.note,
            on_event=_told_in_a_row(runs, steps_each, show),
        )
    if json_:
        terminal.print_json(found.to_dict())
        return
    _show(found, full=True)
    for sentence in (*found.equal, found.rates):
        terminal.note(sentence)
    terminal.note(_places(found, METHODS_DOCUMENT))


def parse_entries(methods: str, rates: str | None) -> list[Variant]:
    """`sft,gft` and `sft=3e-4:1e-3` → the entries of a comparison.

    Raises:
        ConfigError: an unknown or repeated method, or a rate that is none.
    """
    from gft_lite.config import method_entry
    from gft_lite.experiments import Variant

    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise ConfigError("--methods names no method; write it as --methods sft,gft")
    for name in names:
        try:
            method_entry(name)
        except ConfigError as error:
            raise ConfigError(f"--methods: {error}") from None
        if names.count(name) > 1:
            raise ConfigError(f"--methods names {name!r} twice")
    given: dict[str, tuple[float, ...]] = {}
    for part in filter(None, (rates or "").split(",")):
        name, _, listed = (piece.strip() for piece in part.partition("="))
        if name not in names:
            raise ConfigError(
                f"--rates {part!r}: write it as METHOD=RATE:RATE, with a method of --methods "
                f"({', '.join(names)})"
            )
        given[name] = tuple(sorted({_rate(text, part) for text in listed.split(":")}))
    return [Variant(name, {"method": name}, given.get(name, ())) for name in names]


def _rate(text: str, part: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise ConfigError(
            f"--rates {part!r}: {text!r} is no learning rate; write it as sft=3e-4:1e-3"
        )
    return rate


def _completed(config: RunConfig) -> RunConfig:
    """Measured now and then for the curves, and on the old skill that the embedded model has."""
    from gft_lite.config import EMBEDDED_MODEL, changed

    data = {}
    if config.model.name == EMBEDDED_MODEL and config.data.retention_path is None:
        data = {"retention_path": "embedded:old_skill_test"}
    every = config.eval.every or max(1, config.train.steps // CURVE_POINTS)
    return changed(config, {"data": data, "eval": {"every": every}})


def _told_in_a_row(runs: list[str], steps: int, show: Any) -> Any:
    """One progress over runs that follow each other; each start is noted as `train` notes it."""

    def on_event(run: str, event: dict[str, Any]) -> None:
        if event["type"] == "started":
            note_start(event)
        elif event["type"] == "step":
            show({**event, "step": event["step"] + steps * runs.index(run)})

    return on_event


def _show(found: MethodComparison, *, full: bool = False) -> None:
    """The table; with `full`, intervals and what every method cost."""
    from gft_lite.cli import terminal
    from gft_lite.report.numbers import at_k

    percent, k = terminal.percent, found.k
    sampled = [at_k(name, k, found.temperature) for name in ("mean", "pass")]
    columns = ["", "target greedy", *sampled, "old skill", "KL nats/token"]
    columns += ["seconds", *(["trained tokens", "peak GiB", "rate"] if full else [])]
    lines = []
    for row in found.rows:
        trained = row.steps > 0
        greedy = percent(row.target_greedy)
        if full and row.target_interval:
            low, high = row.target_interval
            greedy += f" [{100 * low:.0f}–{100 * high:.0f}]"
        name = row.method.upper() if trained else row.method
        line = [f"{name}, {row.options}" if row.options else name, greedy]
        line += [percent(row.target_mean_at_k), percent(row.target_pass_at_k)]
        line += [percent(row.old_skill_greedy), f"{row.kl_nats_per_token:z.3f}"]
        line += [f"{row.seconds:.0f}" if trained else "–"]
        if full:
            line += [f"{row.trained_tokens:,}" if trained else "–"]
            line += [f"{row.peak_memory_gib:.1f}" if row.peak_memory_gib else "–"]
            line += [f"{row.learning_rate:g}" if row.learning_rate else "–"]
        lines.append(line)
    terminal.table(f"After {found.steps} steps, seed {found.seed}", columns, lines)


def _places(found: MethodComparison, document: str) -> str:
    out = found.out
    return f"Report: {out / 'report.html'}   Figures: {out / document}   Adapters: {out}/*/adapter"
