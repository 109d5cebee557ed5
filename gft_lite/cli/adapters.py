"""`gft-lite compare`, `export` and `mix`: commands that use trained adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gft_lite.cli.eval_data import EvalData
from gft_lite.cli.options import (
    AdaptersOption,
    BaseOption,
    FourBitOption,
    HtmlOption,
    JsonOption,
    LengthOption,
    LimitOption,
    MapOption,
    OutFolderOption,
    RewardOption,
    SamplesOption,
    SeedOption,
    SkipOption,
    TemperatureOption,
    base_config,
    parse_map,
)
from gft_lite.types import ConfigError

if TYPE_CHECKING:
    from gft_lite.adapters.compare import Comparison

SHOWN_ROWS = 10
SHOWN_CHARS = 70


def compare(
    adapter: AdaptersOption,
    model: BaseOption = None,
    data: Annotated[str | None, typer.Option(help="File of prompts with answers.")] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="Prompt; may be repeated.")] = None,
    reward: RewardOption = "math",
    k: SamplesOption = 0,
    temperature: TemperatureOption = 1.0,
    limit: LimitOption = None,
    max_new_tokens: LengthOption = 256,
    load_in_4bit: FourBitOption = False,
    seed: SeedOption = 0,
    html: HtmlOption = None,
    map_: MapOption = None,
    skip_bad_rows: SkipOption = False,
    json_: JsonOption = False,
) -> None:
    """Compare the base model and adapters on the same prompts.

    Each column is identified by the hash of its weights and by its difference to the base."""
    from gft_lite.adapters.compare import compare as compare_all
    from gft_lite.adapters.compare import load_adapters
    from gft_lite.cli import terminal
    from gft_lite.report.compare_page import write_compare_page
    from gft_lite.types import Example, Message

    if bool(data) == bool(prompt):
        raise ConfigError("name either a file with --data or texts with --prompt")
    config = base_config(model, adapter, load_in_4bit=load_in_4bit)
    sampling: dict[str, Any] = {
        "k": k,
        "temperature": temperature,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    if data:
        rows = EvalData(data, limit, parse_map(map_), skip_bad_rows)
        with rows.with_scorer(reward) as (examples, scorer):
            loaded = load_adapters(config, adapter)
            response_tokens = loaded.response_limit(max_new_tokens)
            examples = rows.filter_by_length(examples, loaded.policy, response_tokens)
            comparison = compare_all(loaded, examples, scorer, **sampling)
    else:
        prompts = [Example((Message("user", text),)) for text in prompt or ()]
        comparison = compare_all(load_adapters(config, adapter), prompts, None, **sampling)
    if html:
        terminal.note(f"Page: {write_compare_page(comparison, html)}")
    if json_:
        terminal.print_json(comparison.to_dict())
    else:
        _show(comparison)


def export(
    path: Annotated[Path, typer.Argument(help="Run, checkpoint or adapter folder.")],
    out: OutFolderOption,
    to: Annotated[
        Literal["adapter", "merged", "gguf", "gguf-adapter"], typer.Option(help="Kind of export.")
    ] = "adapter",
    model: BaseOption = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"],
        typer.Option(help="Number format of merged weights."),
    ] = "bfloat16",
    gguf_type: Annotated[
        Literal["f32", "f16", "bf16", "q8_0"], typer.Option(help="Number format of a GGUF file.")
    ] = "f16",
    llama_cpp: Annotated[
        Path | None, typer.Option(help="Folder of llama.cpp with its converters, for GGUF.")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="Upload the result to this hub repository."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write an adapter for other tools, after checking that it answers as the live model does."""
    from dataclasses import asdict

    from gft_lite.cli import terminal
    from gft_lite.config import ModelConfig
    from gft_lite.export import export as write

    written = write(
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
        gates = {name: asdict(gate) for name, gate in written.gates.items()}
        terminal.print_json(
            {
                "out": str(written.out),
                "to": written.kind,
                "parity": gates,
                "pushed_to": written.pushed_to,
            }
        )
        return
    for name, gate in written.gates.items():
        terminal.result(
            f"{name.capitalize()}: {gate.same_answers} of {gate.prompts} greedy answers are the "
            f"same, log-probs of {gate.tokens} tokens differ by {gate.max_logp_difference:.2g} "
            f"nats at most."
        )
    terminal.result(
        f"Written to {written.out}" + (f" and {written.pushed_to}" if written.pushed_to else "")
    )


def mix(
    adapter: AdaptersOption,
    out: OutFolderOption,
    model: BaseOption = None,
    how: Annotated[
        Literal["linear", "ties", "dare_linear", "dare_ties", "greedy"],
        typer.Option(help="Arithmetic, or `greedy`: keep an adapter if it helps on held-out data."),
    ] = "linear",
    weight: Annotated[
        list[float] | None,
        typer.Option(help="Weight of each adapter, in order. Default: equal weights."),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=1, help="Rank of a TIES or DARE mix. Default: the sum of the ranks."),
    ] = None,
    density: Annotated[float, typer.Option(help="Share of entries that TIES and DARE keep.")] = 0.5,
    data: Annotated[str | None, typer.Option(help="Held-out set, for `greedy`.")] = None,
    reward: RewardOption = "math",
    limit: LimitOption = None,
    max_new_tokens: LengthOption = 256,
    load_in_4bit: FourBitOption = False,
    seed: SeedOption = 0,
    json_: JsonOption = False,
) -> None:
    """Mix several runs or checkpoints into one adapter (a soup)."""
    from dataclasses import asdict

    from gft_lite.adapters.mix import Part, greedy_soup
    from gft_lite.adapters.mix import mix as mix_parts
    from gft_lite.cli import terminal

    weights = weight or [1 / len(adapter)] * len(adapter)
    if len(weights) != len(adapter):
        raise ConfigError(f"{len(weights)} --weight for {len(adapter)} --adapter; give one each")
    if (how == "greedy") != bool(data):
        raise ConfigError("--how greedy needs held-out rows: --data FILE (and only it takes them)")
    config = base_config(model, adapter, load_in_4bit=load_in_4bit)
    parts = [Part(path, each) for path, each in zip(adapter, weights, strict=True)]
    if how == "greedy":
        with EvalData(data or "", limit).with_scorer(reward) as (examples, scorer):
            result = greedy_soup(
                config, parts, out, examples, scorer, max_new_tokens=max_new_tokens
            )
    else:
        result = mix_parts(config, parts, out, how=how, rank=rank, density=density, seed=seed)
    if json_:
        terminal.print_json(asdict(result))
        return
    for step in result.tastes:
        terminal.result(
            f"{step.path}: {terminal.percent(step.alone)} alone, "
            f"{terminal.percent(step.with_it)} in the soup, {'kept' if step.kept else 'left out'}"
        )
    terminal.result(f"Written to {result.out}")


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
