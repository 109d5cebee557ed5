"""`gft-lite eval`, and how commands load the questions they ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gft_lite.cli_data import JsonOption, MapOption, parse_map, parse_reward

if TYPE_CHECKING:
    from gft_lite.config import ModelConfig
    from gft_lite.evaluation import Evaluation
    from gft_lite.forgetting import Forgetting
    from gft_lite.models import Policy
    from gft_lite.rewards import Scorer
    from gft_lite.types import Example

RewardOption = Annotated[str, typer.Option(help="Reward that decides what is correct.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first rows.")]
LengthOption = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]
FourBitOption = Annotated[bool, typer.Option("--load-in-4bit", help="NF4 weights.")]
SeedOption = Annotated[int, typer.Option(min=0)]
SkipOption = Annotated[bool, typer.Option("--skip-bad-rows", help="Drop rows that cannot be used.")]
TASKS_LIMIT_HELP = "Task of the lm-evaluation-harness; may be repeated."


@dataclass(frozen=True)
class Asking:
    """What a command said about the questions of one file."""

    data: str
    limit: int | None
    columns: dict[str, str]
    skip_bad_rows: bool


@contextmanager
def questions(asking: Asking, reward: str) -> Iterator[tuple[Sequence[Example], Scorer]]:
    """Rows that the reward can judge, and the reward itself."""
    from gft_lite import terminal
    from gft_lite.rewards import build_scorer

    with build_scorer(parse_reward(reward), allow_custom=True) as scorer:
        examples, dropped = scorable(asking, scorer)
        terminal.note_dropped(dropped)
        yield examples, scorer


def scorable(asking: Asking, scorer: Scorer) -> tuple[Sequence[Example], tuple[str, ...]]:
    """Rows of a file that a reward can judge, and a sentence about each that was dropped."""
    from gft_lite.config import DataConfig
    from gft_lite.prepare import check_reward, dropped_rows, load

    data, skip = asking.data, asking.skip_bad_rows
    config = DataConfig(path=data, limit=asking.limit, columns=asking.columns, skip_bad_rows=skip)
    loaded = load(data, config)
    kept = check_reward(loaded.examples, scorer, data, skip_bad_rows=skip)
    return kept.examples, (*dropped_rows(loaded, data), *kept.dropped)


def short_enough(
    examples: Sequence[Example], policy: Policy, answer_tokens: int, asking: Asking
) -> Sequence[Example]:
    """Rows whose prompt leaves room for an answer; longer ones are refused, or dropped and told."""
    from gft_lite import prepare, terminal

    kept = prepare.short_enough(
        examples,
        lambda example: len(policy.chat.prompt_ids(example.prompt)),
        policy.max_length - answer_tokens,
        asking.data,
        todo="lower --max-new-tokens",
        skip_bad_rows=asking.skip_bad_rows,
    )
    terminal.note_dropped(kept.dropped)
    return kept.examples


def model_config(
    model: str | None, adapters: list[Path], *, load_in_4bit: bool = False
) -> ModelConfig:
    """The base: as named, or the one that the first adapter was made for, or the embedded one."""
    from gft_lite.adapters import model_of
    from gft_lite.config import ModelConfig

    if model is None and adapters:
        found = model_of(adapters[0])
        return found.model_copy(update={"load_in_4bit": found.load_in_4bit or load_in_4bit})
    return ModelConfig(**({"name": model} if model else {}), load_in_4bit=load_in_4bit)


def eval_(
    data: Annotated[str, typer.Option(help="File of prompts with answers, or embedded:NAME.")],
    model: Annotated[str | None, typer.Option(help="Model name or folder.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Adapter, run or checkpoint folder.")] = None,
    reward: RewardOption = "math",
    k: Annotated[int, typer.Option(min=0, help="Of mean@k and pass@k; 0: greedy only.")] = 8,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Answers drawn a prompt; k where not said.")
    ] = None,
    limit: LimitOption = None,
    max_new_tokens: LengthOption = 256,
    load_in_4bit: FourBitOption = False,
    seed: SeedOption = 0,
    retention: Annotated[
        str | None, typer.Option(help="File of an old skill: accuracy with and without adapter.")
    ] = None,
    pin: Annotated[
        list[str] | None, typer.Option(help="Prompt to watch for drift; may be repeated.")
    ] = None,
    lm_eval: Annotated[list[str] | None, typer.Option(help=TASKS_LIMIT_HELP)] = None,
    map_: MapOption = None,
    skip_bad_rows: SkipOption = False,
    json_: JsonOption = False,
) -> None:
    """Greedy accuracy, mean@k, pass@k, what was forgotten, and what RL would have to work with."""
    from gft_lite import lm_eval_tasks, terminal
    from gft_lite.adapters import adapter_folder
    from gft_lite.evaluation import check_samples, evaluate
    from gft_lite.forgetting import probe
    from gft_lite.models import load_policy

    check_samples(k, samples)
    if lm_eval:
        lm_eval_tasks.check_installed()
    asking = Asking(data, limit, parse_map(map_), skip_bad_rows)
    with questions(asking, reward) as (examples, scorer):
        kept_asking = Asking(retention or "", limit, {}, skip_bad_rows)
        kept, dropped = scorable(kept_asking, scorer) if retention else ((), ())
        terminal.note_dropped(dropped)
        folder = adapter_folder(adapter) if adapter else None
        config = model_config(model, [adapter] if adapter else [], load_in_4bit=load_in_4bit)
        policy = load_policy(
            config.model_copy(update={"adapter": str(folder) if folder else None}), None
        )
        longest = min(max_new_tokens, policy.max_length // 2)
        examples = short_enough(examples, policy, longest, asking)
        kept = short_enough(kept, policy, longest, kept_asking) if kept else ()
        terminal.note(f"Answering {len(examples)} prompts.")
        found = evaluate(
            policy,
            examples,
            scorer,
            k=k,
            samples=samples,
            max_new_tokens=longest,
            seed=seed,
            entropy=True,
        )
        forgot = None
        if kept or pin:
            forgot = probe(policy, kept, pin or [], scorer, max_new_tokens=longest, seed=seed)
        tasks = lm_eval_tasks.run_tasks(policy, lm_eval, limit) if lm_eval else None
    document: dict[str, Any] = {
        "model": config.name,
        "adapter": str(adapter) if adapter else None,
        "data": data,
        "reward": reward,
        "seed": seed,
        **found.to_dict(),
    }
    document |= {"forgetting": forgot.to_dict()} if forgot else {}
    document |= {"lm_eval": tasks} if tasks is not None else {}
    if json_:
        terminal.print_json(document)
        return
    _show(str(adapter) if adapter else config.name, data, found)
    if forgot:
        _show_forgetting(forgot)
    for task, figures in (tasks or {}).items():
        typer.echo(f"{task}: {figures}")


def _show(name: str, data: str, found: Evaluation) -> None:
    """The table of figures, with intervals where they are shares."""
    from gft_lite import terminal

    shares = {"greedy": ("greedy_accuracy", found.greedy_accuracy)}
    if found.k:
        shares[f"mean@{found.k}"] = ("mean_at_k", found.mean_at_k or 0.0)
        shares |= {f"pass@{j}": (f"pass_at_{j}", v) for j, v in found.pass_at.items() if j > 1}
    around = found.intervals
    rows = [
        [label, terminal.percent(v), _span(around[key].low, around[key].high)]
        for label, (key, v) in shares.items()
    ]
    terminal.table(f"{name} on {data}, {found.n} prompts", ["", "share", "95 % interval"], rows)
    typer.echo(
        f"Greedy answers: {found.truncated} cut off, {found.unparsed} without a readable answer, "
        f"{found.response_tokens:.0f} tokens on average."
    )
    if found.readiness:
        ready = found.readiness
        typer.echo(
            f"Sampled answers: {found.sampled_truncated} cut off, {found.sampled_unparsed} without "
            "a readable answer."
        )
        typer.echo(
            f"For a next stage of RL: {terminal.percent(ready.mixed_reward_share)} of prompts have "
            f"answers of different reward, pass@{found.k} is {100 * ready.headroom:z.1f} points "
            f"above mean@{found.k}, entropy {ready.entropy_nats_per_token or 0:.3f} nats per token."
        )


def _show_forgetting(forgot: Forgetting) -> None:
    from gft_lite import terminal

    if forgot.before and forgot.after and forgot.paired:
        typer.echo(
            f"Old skill: {terminal.percent(forgot.before.greedy_accuracy)} without the adapter, "
            f"{terminal.percent(forgot.after.greedy_accuracy)} with it "
            f"({forgot.before.n} prompts, McNemar p = {forgot.paired.p_value:.2g})."
        )
    typer.echo(
        f"Drift on the base's own answers: {forgot.drift.nats_per_token:z.4f} nats per token."
    )


def _span(low: float, high: float) -> str:
    return f"{100 * low:.1f} – {100 * high:.1f} %"
