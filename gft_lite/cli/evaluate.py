"""`gft-lite eval`: accuracy of a model, and forgetting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gft_lite.cli.eval_data import EvalData
from gft_lite.cli.options import (
    AdapterOption,
    FourBitOption,
    JsonOption,
    LengthOption,
    LimitOption,
    MapOption,
    ModelOption,
    RetentionOption,
    RewardOption,
    SamplesOption,
    SeedOption,
    SkipOption,
    TemperatureOption,
    base_config,
    parse_map,
)

if TYPE_CHECKING:
    from gft_lite.evaluation.accuracy import Evaluation
    from gft_lite.evaluation.suite import Forgetting


def eval_(
    data: Annotated[str, typer.Option(help="File of prompts with answers, or embedded:NAME.")],
    model: ModelOption = None,
    adapter: AdapterOption = None,
    reward: RewardOption = "math",
    k: SamplesOption = 8,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Sampled answers per prompt, k or more. Default: k.")
    ] = None,
    temperature: TemperatureOption = 1.0,
    limit: LimitOption = None,
    max_new_tokens: LengthOption = 256,
    load_in_4bit: FourBitOption = False,
    seed: SeedOption = 0,
    retention: RetentionOption = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(help="Prompt on which drift from the base is measured; may be repeated."),
    ] = None,
    lm_eval: Annotated[
        list[str] | None,
        typer.Option(help="Task of the lm-evaluation-harness; may be repeated."),
    ] = None,
    map_: MapOption = None,
    skip_bad_rows: SkipOption = False,
    json_: JsonOption = False,
) -> None:
    """Measure greedy accuracy, mean@k, pass@k, forgetting, and the headroom for RL."""
    from gft_lite.adapters import adapter_folder
    from gft_lite.cli import terminal
    from gft_lite.evaluation import lm_eval_tasks
    from gft_lite.evaluation.accuracy import check_samples
    from gft_lite.evaluation.suite import EvalSettings, evaluate_suite, measure_forgetting
    from gft_lite.models import load_policy

    check_samples(k, samples)
    if lm_eval:
        lm_eval_tasks.check_installed()
    held_out = EvalData(data, limit, parse_map(map_), skip_bad_rows)
    old_skill = EvalData(retention or "", limit, {}, skip_bad_rows)
    with held_out.with_scorer(reward) as (examples, scorer):
        retained = old_skill.rows(scorer) if retention else ()
        folder = adapter_folder(adapter) if adapter else None
        config = base_config(model, [adapter] if adapter else [], load_in_4bit=load_in_4bit)
        policy = load_policy(
            config.model_copy(update={"adapter": str(folder) if folder else None}), None
        )
        longest = min(max_new_tokens, policy.max_length // 2)
        examples = held_out.filter_by_length(examples, policy, longest)
        retained = old_skill.filter_by_length(retained, policy, longest) if retained else ()
        terminal.note(f"Answering {len(examples)} prompts.")
        settings = EvalSettings(
            k=k,
            samples=samples,
            max_new_tokens=longest,
            temperature=temperature,
            seed=seed,
            entropy=True,
        )
        accuracy = evaluate_suite(policy, scorer, settings, target=examples).target
        assert accuracy is not None  # `with_scorer` refuses an empty file
        forgetting = None
        if retained or pin:
            forgetting = measure_forgetting(policy, retained, pin or [], scorer, settings)
        tasks = lm_eval_tasks.run_tasks(policy, lm_eval, limit) if lm_eval else None
    document: dict[str, Any] = {
        "model": config.name,
        "adapter": str(adapter) if adapter else None,
        "data": data,
        "reward": reward,
        "seed": seed,
        **accuracy.to_dict(),
    }
    document |= {"forgetting": forgetting.to_dict()} if forgetting else {}
    document |= {"lm_eval": tasks} if tasks is not None else {}
    if json_:
        terminal.print_json(document)
        return
    _show(str(adapter) if adapter else config.name, data, accuracy)
    if forgetting:
        _show_forgetting(forgetting)
    for task, figures in (tasks or {}).items():
        terminal.result(f"{task}: {figures}")


def _show(name: str, data: str, result: Evaluation) -> None:
    """The table of shares with their intervals, and what is known of the answers."""
    from gft_lite.cli import terminal
    from gft_lite.report.numbers import at_k

    shares = {"greedy": ("greedy_accuracy", result.greedy_accuracy)}
    if result.k:
        t = result.temperature
        shares[at_k("mean", result.k, t)] = ("mean_at_k", result.mean_at_k or 0.0)
        shares |= {
            at_k("pass", j, t): (f"pass_at_{j}", v) for j, v in result.pass_at.items() if j > 1
        }
    around = result.intervals
    rows = [
        [label, terminal.percent(v), _span(around[key].low, around[key].high)]
        for label, (key, v) in shares.items()
    ]
    terminal.table(f"{name} on {data}, {result.n} prompts", ["", "share", "95 % interval"], rows)
    failed = result.timeouts + result.errors
    terminal.result(
        f"Greedy answers: {result.truncated} cut off, {result.unparsed} without a readable answer, "
        + (f"{failed} on which the reward failed, " if failed else "")
        + f"{result.response_tokens:.0f} tokens on average."
    )
    if result.readiness:
        ready = result.readiness
        terminal.result(
            f"Sampled answers: {result.sampled_truncated} cut off, {result.sampled_unparsed} "
            "without a readable answer."
        )
        terminal.result(
            f"For a next stage of RL: {terminal.percent(ready.mixed_reward_share)} of prompts have "
            f"answers of different reward, pass@{result.k} is {100 * ready.headroom:z.1f} points "
            f"above mean@{result.k}, entropy {ready.entropy_nats_per_token or 0:.3f} nats per "
            "token."
        )


def _show_forgetting(forgetting: Forgetting) -> None:
    from gft_lite.cli import terminal

    before, after, paired = forgetting.before, forgetting.after, forgetting.paired
    if before and after and paired:
        terminal.result(
            f"Old skill: {terminal.percent(before.greedy_accuracy)} without the adapter, "
            f"{terminal.percent(after.greedy_accuracy)} with it "
            f"({before.n} prompts, McNemar p = {paired.p_value:.2g})."
        )
    if forgetting.drift:
        terminal.result(
            "Drift on the responses of the base model: "
            f"{forgetting.drift.nats_per_token:z.4f} nats per token."
        )


def _span(low: float, high: float) -> str:
    return f"{100 * low:.1f} – {100 * high:.1f} %"
