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
    RetentionOption,
    SeedOption,
    SetOption,
    SkipOption,
    StepsOption,
    parse_map,
)
from gft_lite.cli.train import note_start
from gft_lite.types import ConfigError

if TYPE_CHECKING:
    from gft_lite.config import RunConfig
    from gft_lite.experiments import MethodComparison, Variant

DEFAULT_PRESET = "tiny-cpu"  # if neither a preset nor a model is named
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
    """Compare base, SFT, DFT and GFT on the embedded model: minutes, no GPU, no download."""
    from gft_lite.cli import terminal
    from gft_lite.experiments.demo import DOCUMENT, RECIPES, run_demo

    terminal.note(
        "The embedded demo model (2.8 M parameters) knows one-step word problems and learns "
        "three-step ones.\nAs in real files, some solutions are wrong: about a fifth of the "
        "experts' and more than a third of the teachers'."
    )
    with terminal.training_progress("training", steps * len(RECIPES)) as show:
        on_event = _continuous_progress([recipe.name for recipe in RECIPES], steps, show)
        comparison = run_demo(
            out, steps=steps, seed=seed, say=terminal.note, on_event=on_event, extra=set_ or ()
        )
    if json_:
        terminal.print_json(comparison.to_dict())
        return
    _show(comparison)
    terminal.note(
        "target: held-out three-step problems. old skill: one-step problems the base knew.\n"
        "KL: how far the model moved on the responses of the base model. One seed is one draw: "
        f"docs/log.md has three.\n{_places(comparison, DOCUMENT)}"
    )


def compare_methods(
    data: Annotated[str, typer.Option(help="Training file, hub name, or embedded:NAME.")],
    methods: Annotated[
        str, typer.Option(help="Names of the methods below, separated by commas.")
    ] = "sft,dft,gft,grpo",
    eval_: Annotated[
        str | None, typer.Option("--eval", help="Held-out set. Default: a part of --data.")
    ] = None,
    retention: RetentionOption = None,
    model: ModelOption = None,
    preset: PresetOption = None,
    steps: StepsOption = None,
    token_budget: Annotated[
        int | None,
        typer.Option(min=1, help="Stop each method after this many trained response tokens."),
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(
            help="Learning rates to try, such as sft=3e-4:1e-3,gft=5e-4; the best is kept."
        ),
    ] = None,
    hold_out: Annotated[
        int, typer.Option(min=4, help="Number of prompts to hold out of --data without --eval.")
    ] = 200,
    seed: SeedOption = 0,
    out: Annotated[
        Path,
        typer.Option(help="New folder, or the folder of an interrupted comparison to continue."),
    ] = Path("runs/methods"),
    map_: MapOption = None,
    skip_bad_rows: SkipOption = False,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Train several methods on the same file with the same settings, and print one table."""
    from gft_lite.cli import terminal
    from gft_lite.config import load_config
    from gft_lite.experiments import run_comparison
    from gft_lite.report import METHODS_DOCUMENT

    presets = preset or (None if model else [DEFAULT_PRESET])
    options: dict[str, Any] = {
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
    layers = [f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    common = _with_evaluations(
        load_config(None, preset=presets, overrides=[*layers, *(set_ or [])])
    )
    entries = parse_entries(methods, rates)
    runs = [name for entry in entries for name in entry.configs(common)]
    steps_each = common.train.steps
    with terminal.training_progress("training", steps_each * len(runs)) as show:
        comparison = run_comparison(
            common,
            entries,
            out,
            title="Methods compared",
            lead=LEAD,
            document=METHODS_DOCUMENT,
            hold_out=hold_out,
            say=terminal.note,
            on_event=_continuous_progress(runs, steps_each, show),
        )
    if json_:
        terminal.print_json(comparison.to_dict())
        return
    _show(comparison, full=True)
    for sentence in (*comparison.equal, comparison.rates):
        terminal.note(sentence)
    terminal.note(_places(comparison, METHODS_DOCUMENT))


def parse_entries(methods: str, rates: str | None) -> list[Variant]:
    """`sft,gft` and `sft=3e-4:1e-3` → the entries of a comparison.

    Raises:
        ConfigError: an unknown or repeated method, or a value that is not a rate.
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
            f"--rates {part!r}: {text!r} is not a learning rate; write it as sft=3e-4:1e-3"
        )
    return rate


def _with_evaluations(config: RunConfig) -> RunConfig:
    """With evaluations for the curves, and with the retention set of the embedded model."""
    from gft_lite.config import EMBEDDED_MODEL, changed

    data = {}
    if config.model.name == EMBEDDED_MODEL and config.data.retention_path is None:
        data = {"retention_path": "embedded:old_skill_test"}
    every = config.eval.every or max(1, config.train.steps // CURVE_POINTS)
    return changed(config, {"data": data, "eval": {"every": every}})


def _continuous_progress(runs: list[str], steps: int, show: Any) -> Any:
    """One progress over runs that follow each other; each start is noted as `train` notes it."""

    def on_event(run: str, event: dict[str, Any]) -> None:
        if event["type"] == "started":
            note_start(event)
        elif event["type"] == "step":
            show({**event, "step": event["step"] + steps * runs.index(run)})

    return on_event


def _show(comparison: MethodComparison, *, full: bool = False) -> None:
    """The table; with `full`, intervals and what every method cost."""
    from gft_lite.cli import terminal
    from gft_lite.report.numbers import at_k

    percent, k = terminal.percent, comparison.k
    sampled = [at_k(name, k, comparison.temperature) for name in ("mean", "pass")]
    columns = ["", "target greedy", *sampled, "old skill", "KL nats/token"]
    columns += ["seconds", *(["trained tokens", "peak GiB", "rate"] if full else [])]
    lines = []
    for row in comparison.rows:
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
    terminal.table(f"After {comparison.steps} steps, seed {comparison.seed}", columns, lines)


def _places(comparison: MethodComparison, document: str) -> str:
    out = comparison.out
    return f"Report: {out / 'report.html'}   Figures: {out / document}   Adapters: {out}/*/adapter"
