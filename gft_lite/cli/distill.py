"""`gft-lite data distill`: teacher responses from a local model or an endpoint."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gft_lite.cli.options import (
    FileArgument,
    FormatOption,
    JsonOption,
    LengthOption,
    LimitOption,
    MapOption,
    RowRewardOption,
    SeedOption,
    SkipOption,
    parse_map,
    scorer_of,
)
from gft_lite.types import ConfigError

if TYPE_CHECKING:
    from gft_lite.distill import ResponseFilter, Teacher


def distill(
    file: FileArgument,
    out: Annotated[Path, typer.Option(help="New JSONL file for the rows with teacher responses.")],
    model: Annotated[
        str, typer.Option(help="Teacher: a local model, or a model name at --base-url.")
    ] = "tiny",
    adapter: Annotated[Path | None, typer.Option(help="Adapter of the teacher.")] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="OpenAI-compatible endpoint; the key is read from OPENAI_API_KEY."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=0, help="Responses per row; 0: only filter.")] = 4,
    temperature: Annotated[float, typer.Option(min=0.0, help="Sampling temperature.")] = 1.0,
    max_new_tokens: LengthOption = 512,
    reward: RowRewardOption = None,
    min_reward: Annotated[
        float | None, typer.Option(help="With --reward: keep responses with at least this reward.")
    ] = None,
    keep_best: Annotated[
        int | None,
        typer.Option(min=1, help="Keep the responses most likely under --fit-model (GRAPE)."),
    ] = None,
    fit_model: Annotated[str, typer.Option(help="The model that is to be trained.")] = "tiny",
    limit: LimitOption = None,
    map_: MapOption = None,
    format_: FormatOption = "auto",
    skip_bad_rows: SkipOption = False,
    seed: SeedOption = 0,
    json_: JsonOption = False,
) -> None:
    """Add teacher responses to every row. If interrupted, the same command continues."""
    from dataclasses import asdict

    from gft_lite.assets import resolve
    from gft_lite.cli import terminal
    from gft_lite.data import load_examples
    from gft_lite.distill import Endpoint, endpoint_teacher
    from gft_lite.distill import distill as add_teachers

    if min_reward is not None and not reward:
        raise ConfigError("--min-reward needs a reward: add --reward, e.g. --reward math")
    if base_url and adapter:
        raise ConfigError("--adapter belongs to a model on this machine: leave --base-url out")
    loaded = load_examples(
        resolve(file),
        format=format_,
        columns=parse_map(map_),
        limit=limit,
        skip_bad_rows=skip_bad_rows,
    )
    settings = {
        "data": file,
        "model": model,
        "adapter": str(adapter) if adapter else None,
        "base_url": base_url,
        "temperature": temperature,
        "max_new_tokens": max_new_tokens,
    }
    if base_url:
        endpoint = Endpoint(base_url, model, temperature, max_new_tokens)
        teacher = endpoint_teacher(endpoint)
    else:
        teacher = _local_teacher(model, adapter, temperature, max_new_tokens, seed)
    optional_scorer = nullcontext() if reward is None else scorer_of(reward)
    with optional_scorer as scorer, terminal.counting("responses") as progress:
        counts = add_teachers(
            loaded.examples,
            out,
            teacher=teacher,
            n=n,
            settings=settings,
            scorer=scorer,
            min_reward=min_reward,
            keep=_keep_best(fit_model, keep_best) if keep_best else None,
            progress=progress,
        )
    if json_:
        terminal.print_json(asdict(counts))
        return
    sentences = [
        f"{counts.drawn:,} responses drawn ({counts.resumed:,} of them before)",
        f"{counts.failed:,} failed, {counts.cut_off:,} cut off, {counts.repeated:,} repeated",
    ]
    if reward:
        sentences.append(
            f"mean reward {counts.mean_reward or 0:.3f}, {counts.below_reward:,} below the least"
        )
    if keep_best:
        sentences.append(f"{counts.filtered:,} less likely ones left out")
    terminal.result(
        f"{'; '.join(sentences)}.\n{counts.rows:,} rows, {counts.teachers:,} teachers: {counts.out}"
    )
    if counts.failed:
        terminal.note(
            f"To request failed responses again: remove {counts.out} and repeat the command."
        )


def _local_teacher(
    model: str, adapter: Path | None, temperature: float, max_new_tokens: int, seed: int
) -> Teacher:
    from gft_lite.config import ModelConfig
    from gft_lite.distill import local_teacher
    from gft_lite.models import Sampling, load_policy

    config = ModelConfig(name=model, adapter=str(adapter) if adapter else None)
    policy = load_policy(config, None)
    limit = min(max_new_tokens, policy.max_length // 2)
    return local_teacher(policy, Sampling(limit, temperature), seed=seed)


def _keep_best(model: str, keep: int) -> ResponseFilter:
    from gft_lite.config import ModelConfig
    from gft_lite.models import load_policy
    from gft_lite.training.likelihood import select_by_likelihood

    policy = load_policy(ModelConfig(name=model), None)
    return lambda example, texts: select_by_likelihood(policy, example, texts, keep)
