"""`gft-lite compare`, `export` and `mix`: what can be done with adapters once they are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gft_lite.cli.options import (
    FourBitOption,
    JsonOption,
    LengthOption,
    LimitOption,
    MapOption,
    RewardOption,
    SeedOption,
    SkipOption,
    TemperatureOption,
    parse_map,
)
from gft_lite.cli.questions import EvalData, model_config, questions, short_enough
from gft_lite.types import ConfigError

if TYPE_CHECKING:
    from gft_lite.adapters.compare import Comparison

SHOWN_ROWS = 10
SHOWN_CHARS = 70
AdapterOption = Annotated[
    list[Path], typer.Option(help="Adapter, run or checkpoint folder; may be repeated.")
]
OutOption = Annotated[Path, typer.Option(help="New folder.")]
BaseOption = Annotated[
    str | None, typer.Option(help="Base; that of the first adapter where not said.")
]


def compare(
    adapter: AdapterOption,
    model: BaseOption = None,
    data: Annotated[str | None, typer.Option(help="File of prompts with answers.")] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="Prompt; may be repeated.")] = None,
    reward: RewardOption = "math",
    k: Annotated[int, typer.Option(min=0, help="Sampled answers a prompt.")] = 0,
    temperature: TemperatureOption = 1.0,
    limit: LimitOption = None,
    max_new_tokens: LengthOption = 256,
    load_in_4bit: FourBitOption = False,
    seed: SeedOption = 0,
    html: Annotated[Path | None, typer.Option(help="Also write a page.")] = None,
    map_: MapOption = None,
    skip_bad_rows: SkipOption = False,
    json_: JsonOption = False,
) -> None:
    """Base and adapters side by side on the same prompts, each with proof of what it is."""
    from gft_lite.adapters.compare import compare as compare_all
    from gft_lite.adapters.compare import load_adapters
    from gft_lite.cli import terminal
    from gft_lite.report.compare_page import write_compare_page
    from gft_lite.types import Example, Message

    if bool(data) == bool(prompt):
        raise ConfigError("name either a file with --data or texts with --prompt")
    config = model_config(model, adapter, load_in_4bit=load_in_4bit)
    settings: dict[str, Any] = {
        "k": k,
        "temperature": temperature,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    if data:
        source = EvalData(data, limit, parse_map(map_), skip_bad_rows)
        with questions(source, reward) as (examples, scorer):
            loaded = load_adapters(config, adapter)
            response_tokens = loaded.response_limit(max_new_tokens)
            examples = short_enough(examples, loaded.policy, response_tokens, source)
            comparison = compare_all(loaded, examples, scorer, **settings)
    else:
        prompts = [Example((Message("user", text),)) for text in prompt or ()]
        comparison = compare_all(load_adapters(config, adapter), prompts, None, **settings)
    if html:
        terminal.note(f"Page: {write_compare_page(comparison, html)}")
    if json_:
        terminal.print_json(comparison.to_dict())
    else:
        _show(comparison)


def export(
    path: Annotated[Path, typer.Argument(help="Run, checkpoint or adapter folder.")],
    out: OutOption,
    to: Annotated[
        Literal["adapter", "merged", "gguf", "gguf-adapter"], typer.Option(help="What to write.")
    ] = "adapter",
    model: Annotated[
        str | None, typer.Option(help="Base; where not said, the one the run used.")
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Of merged weights.")
    ] = "bfloat16",
    gguf_type: Annotated[
        Literal["f32", "f16", "bf16", "q8_0"], typer.Option(help="Number format of GGUF.")
    ] = "f16",
    llama_cpp: Annotated[
        Path | None, typer.Option(help="Folder of llama.cpp, for its converters.")
    ] = None,
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Then upload to this hub repository.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write an adapter for other tools, after checking that it does what the live model does."""
    from dataclasses import asdict

    from gft_lite.cli import terminal
    from gft_lite.config import ModelConfig
    from gft_lite.export import export as write

    done = write(
        path,
        to,
        out,
        model=ModelConfig(name=model) if model else None,
        dtype=dtype,
        gguf_type=gguf_type,
        llama_cpp=llama_cpp,
        push=push,
    )
    if json_:
        gates = {name: asdict(gate) for name, gate in done.gates.items()}
        terminal.print_json(
            {"out": str(done.out), "to": done.kind, "parity": gates, "pushed_to": done.pushed_to}
        )
        return
    for name, gate in done.gates.items():
        terminal.result(
            f"{name.capitalize()}: {gate.same_answers} of {gate.prompts} greedy answers are the "
            f"same, log-probs of {gate.tokens} tokens differ by {gate.max_logp_difference:.2g} "
            f"nats at most."
        )
    terminal.result(f"Written to {done.out}" + (f" and {done.pushed_to}" if done.pushed_to else ""))


def mix(
    adapter: AdapterOption,
    out: OutOption,
    model: BaseOption = None,
    how: Annotated[
        Literal["linear", "ties", "dare_linear", "dare_ties", "greedy"],
        typer.Option(help="Arithmetic, or `greedy`: keep what helps on held-out data."),
    ] = "linear",
    weight: Annotated[
        list[float] | None, typer.Option(help="Of each adapter, in order; equal where not said.")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Of a TIES or DARE mix; the sum of ranks if not said.")
    ] = None,
    density: Annotated[float, typer.Option(help="Share of entries TIES and DARE keep.")] = 0.5,
    data: Annotated[str | None, typer.Option(help="Held-out file, for `greedy`.")] = None,
    reward: RewardOption = "math",
    limit: LimitOption = None,
    max_new_tokens: LengthOption = 256,
    load_in_4bit: FourBitOption = False,
    seed: SeedOption = 0,
    json_: JsonOption = False,
) -> None:
    """One adapter out of several runs or checkpoints (a soup)."""
    from dataclasses import asdict

    from gft_lite.adapters.mix import Part, greedy_soup
    from gft_lite.adapters.mix import mix as mix_parts
    from gft_lite.cli import terminal

    weights = weight or [1 / len(adapter)] * len(adapter)
    if len(weights) != len(adapter):
        raise ConfigError(f"{len(weights)} --weight for {len(adapter)} --adapter; give one each")
    if (how == "greedy") != bool(data):
        raise ConfigError("--how greedy needs held-out rows: --data FILE (and only it takes them)")
    config = model_config(model, adapter, load_in_4bit=load_in_4bit)
    parts = [Part(path, each) for path, each in zip(adapter, weights, strict=True)]
    if how == "greedy":
        with questions(EvalData(data or "", limit, {}, False), reward) as (examples, scorer):
            done = greedy_soup(config, parts, out, examples, scorer, max_new_tokens=max_new_tokens)
    else:
        done = mix_parts(config, parts, out, how=how, rank=rank, density=density, seed=seed)
    if json_:
        terminal.print_json(asdict(done))
        return
    for taste in done.tastes:
        terminal.result(
            f"{taste.path}: {terminal.percent(taste.alone)} alone, "
            f"{terminal.percent(taste.with_it)} in the soup, {'kept' if taste.kept else 'left out'}"
        )
    terminal.result(f"Written to {done.out}")


def _show(comparison: Comparison) -> None:
    from gft_lite.cli import terminal

    percent = terminal.percent
    terminal.table(
        f"{comparison.model}, {len(comparison.rows)} prompts",
        ["", "greedy", "95 % interval", "adapter sha256", "logits: max", "mean"],
        [
            [
                c.name,
                percent(c.evaluation.greedy_accuracy) if c.evaluation else "–",
                "{:.1f} – {:.1f} %".format(
                    100 * c.evaluation.intervals["greedy_accuracy"].low,
                    100 * c.evaluation.intervals["greedy_accuracy"].high,
                )
                if c.evaluation
                else "–",
                (c.identity.adapter_sha256 or "–")[:12],
                f"{c.identity.max_logit_difference:.3g}",
                f"{c.identity.mean_logit_difference:.3g}",
            ]
            for c in comparison.columns
        ],
    )
    for sentence in [*comparison.remarks, *(pair.in_words() for pair in comparison.pairs)]:
        terminal.result(sentence)
    for row in comparison.rows[:SHOWN_ROWS]:
        terminal.result(
            f"\n{row.prompt[:SHOWN_CHARS]}" + (f"  → {row.answer}" if row.answer else "")
        )
        marks = ["✓ " if c else "✗ " for c in row.correct] or [""] * len(row.texts)
        for column, mark, answer in zip(comparison.columns, marks, row.texts, strict=True):
            terminal.result(
                f"  {mark}{column.name}: {' / '.join(answer.splitlines())[:SHOWN_CHARS]}"
            )
