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
    from gft_lite.distill import Ask
    from gft_lite.distill.run import Keep


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
    from gft_lite.distill.run import distill as fill_in

    if min_reward is not None and not reward:
        raise ConfigError("--min-reward needs a reward to ask: add --reward, e.g. --reward math")
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
    scoring = nullcontext() if reward is None else scorer_of(reward)
    with scoring as scorer, terminal.counting("responses") as progress:
        result = fill_in(
            loaded.examples,
            out,
            ask=teacher,
            n=n,
            settings=settings,
            scorer=scorer,
            min_reward=min_reward,
            keep=_keep_best(fit_model, keep_best) if keep_best else None,
            tell=progress,
        )
    if json_:
        terminal.print_json(asdict(result))
        return
    counts = [
        f"{result.drawn:,} responses drawn ({result.resumed:,} of them before)",
        f"{result.failed:,} failed, {result.cut_off:,} cut off, {result.repeated:,} repeated",
    ]
    if reward:
        counts.append(
            f"mean reward {result.mean_reward or 0:.3f}, {result.below_reward:,} below the least"
        )
    if keep_best:
        counts.append(f"{result.filtered:,} less likely ones left out")
    terminal.result(
        f"{'; '.join(counts)}.\n{result.rows:,} rows, {result.teachers:,} teachers: {result.out}"
    )
    if result.failed:
        terminal.note(
            f"To repeat the failed requests, remove {result.out} and run the same command."
        )


def _local_teacher(
    model: str, adapter: Path | None, temperature: float, max_new_tokens: int, seed: int
) -> Ask:
    from gft_lite.config import ModelConfig
    from gft_lite.distill.local import local_teacher
    from gft_lite.models import Sampling, load_policy

    config = ModelConfig(name=model, adapter=str(adapter) if adapter else None)
    policy = load_policy(config, None)
    limit = min(max_new_tokens, policy.max_length // 2)
    return local_teacher(policy, Sampling(limit, temperature), seed=seed)


def _keep_best(model: str, keep: int) -> Keep:
    from gft_lite.config import ModelConfig
    from gft_lite.models import load_policy
    from gft_lite.training.likelihood import select_by_likelihood

    policy = load_policy(ModelConfig(name=model), None)
    return lambda example, texts: select_by_likelihood(policy, example, texts, keep)
