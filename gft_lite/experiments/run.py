"""The engine: base, entries, choice of a learning rate, results."""

from __future__ import annotations

import gc
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gft_lite.config import RunConfig, changed
from gft_lite.experiments.plan import Variant, check, is_of
from gft_lite.experiments.rows import Row, equal, learning_rates
from gft_lite.experiments.split import Split, split, write
from gft_lite.preflight.filters import filter_by_reward
from gft_lite.preflight.inputs import validate_inputs
from gft_lite.rewards import build_scorer
from gft_lite.runs import RunDir, claim_empty
from gft_lite.runs.atomic import write_atomic

Say = Callable[[str], None]
OnEvent = Callable[[str, dict[str, Any]], None]
HELD_OUT = 200
PLAN = "plan.json"


@dataclass(frozen=True)
class MethodComparison:
    """What was found. `equal` and `rates` are sentences: what the rows have in common, and how the
    learning rates came about."""

    title: str
    lead: str
    rows: tuple[Row, ...]
    k: int
    temperature: float
    seed: int
    steps: int
    equal: tuple[str, ...]
    rates: str
    out: Path
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it is written beside the report."""
        return {
            "title": self.title,
            "lead": self.lead,
            "rows": [row.to_dict(self.k) for row in self.rows],
            "k": self.k,
            "temperature": self.temperature,
            "seed": self.seed,
            "steps": self.steps,
            "equal": list(self.equal),
            "rates": self.rates,
            "data": dict(self.data),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }


def run_comparison(
    common: RunConfig,
    entries: Sequence[Variant],
    out: str | os.PathLike[str],
    *,
    title: str,
    lead: str,
    document: str,
    hold_out: int = HELD_OUT,
    say: Say = lambda text: None,
    on_event: OnEvent = lambda name, event: None,
) -> MethodComparison:
    """Measure the base, train and measure every entry, write document and report.html.

    Args:
        common: everything the entries share.
        entries: what differs.
        out: new or empty folder, or that of the same comparison, interrupted.
        title, lead: head of the report.
        document: name of the JSON file for the results.
        hold_out: prompts to hold out where `data.eval_path` names no file.
        say: told what happens, in sentences.
        on_event: called with (name of the run, event) while entries train.

    Raises:
        InputError: an entry cannot be trained, or the folder holds something else.
    """
    from gft_lite.report import write_methods_report

    folder = Path(out)
    plan: dict[str, Any] = {
        "entries": [asdict(entry) for entry in entries],
        "common": common.to_dict(),
        "hold_out": hold_out,
    }
    fresh = not is_of(folder / PLAN, plan)
    for entry in entries:
        for config in entry.configs(common).values():
            check(config, entry.name)
    choosing = any(len(entry.rates) > 1 for entry in entries)
    parts = split(common.data, hold_out, choosing=choosing)
    _check_answers(parts, common)
    if fresh:
        claim_empty(folder)
        write_atomic(folder / PLAN, json.dumps(plan, indent=1))
    data = {
        "path": common.data.path,
        "held_out": common.data.eval_path,
        "train": len(parts.train),
        "choose": len(parts.choose),
        "measure": len(parts.measure),
        "leaked": parts.leaked,
    }
    if not common.data.eval_path:
        common = changed(common, {"eval": {"examples": len(parts.measure)}})
    if choosing or not common.data.eval_path:
        files = write(parts, common.data, folder / "data")
        common = common.model_copy(update={"data": files})

    say("Measuring the base model.")
    first = next(iter(entries[0].configs(common).values()))
    rows = [_base(first, folder)]
    for entry in entries:
        runs = {}
        for name, config in entry.configs(common).items():
            runs[name] = _train(folder / name, config, name, say, on_event)
        scores = _scores(entry.name, runs, folder, say) if len(runs) > 1 else {}
        best = max(runs, key=lambda name: scores.get(name, ()))  # the first, and lowest, of equals
        rows.append(_row(entry, runs[best], scores))
    comparison = MethodComparison(
        title=title,
        lead=lead,
        rows=tuple(rows),
        k=common.eval.k,
        temperature=common.eval.temperature,
        seed=common.train.seed,
        steps=common.train.steps,
        equal=equal(common, rows, leaked=parts.leaked),
        rates=learning_rates(rows, len(parts.choose)),
        out=folder,
        data=data,
    )
    write_atomic(folder / document, json.dumps(comparison.to_dict(), indent=1))
    write_methods_report(folder)
    return comparison


def _check_answers(parts: Split, common: RunConfig) -> None:
    """Refuse held-out prompts that the reward cannot judge: nothing could be measured."""
    skip = common.data.skip_bad_rows
    with build_scorer(common.reward, allow_custom=True) as scorer:
        for examples in (parts.choose, parts.measure):
            filter_by_reward(examples, scorer, "held out", skip_bad_rows=skip)


def _train(path: Path, config: RunConfig, name: str, say: Say, on_event: OnEvent) -> RunDir:
    from gft_lite.report import run_warnings
    from gft_lite.training.worker import resume, train

    run = RunDir(path)
    if run.status()["state"] == "finished":
        say(f"{name} is trained already.")
        return run
    say(f"Training {name}.")

    def forward(event: dict[str, Any]) -> None:
        on_event(name, event)

    started = run.config_file.is_file()
    result = resume(path, on_event=forward) if started else train(config, path, on_event=forward)
    gc.collect()  # the model of this run, before the next one is loaded
    if result.state == "stopped":
        say("Stopped. The same command goes on from here.")
        raise KeyboardInterrupt
    for sentence in run_warnings(run):
        say(f"warning: {name}: {sentence}")
    return run


def _base(config: RunConfig, folder: Path) -> Row:
    """The base, measured once: a fresh adapter changes nothing, so the same code measures it."""
    from gft_lite.evaluation.suite import evaluate_run
    from gft_lite.models import load_policy

    file = folder / "base.json"
    if not file.is_file():
        started = time.perf_counter()
        inputs = validate_inputs(config, allow_custom_reward=True)
        with inputs.scorer as scorer:
            policy = load_policy(config.model, config.lora, seed=config.train.seed)
            metrics = evaluate_run(policy, scorer, config, inputs)
        seconds = round(time.perf_counter() - started, 2)
        write_atomic(file, json.dumps({"metrics": metrics, "seconds": seconds}))
    recorded = json.loads(file.read_text(encoding="utf-8"))
    return replace(Row.of("base", recorded["metrics"]), seconds=recorded["seconds"])


def _scores(name: str, runs: Mapping[str, RunDir], folder: Path, say: Say) -> dict[str, Any]:
    """What chooses among the runs of an entry, measured once."""
    file = folder / f"{name}-rates.json"
    if not file.is_file():
        say(f"Choosing a learning rate for {name}.")
        choose = folder / "data" / "choose.jsonl"
        write_atomic(file, json.dumps({run: _accuracy(runs[run], choose) for run in runs}))
    return json.loads(file.read_text(encoding="utf-8"))


def _accuracy(run: RunDir, choose: Path) -> tuple[float, float]:
    """(greedy accuracy, mean greedy reward) of a run's adapter on the prompts that choose."""
    from gft_lite.evaluation.suite import EvalSettings, evaluate_suite
    from gft_lite.models import load_policy

    config = run.config()
    data = {"eval_path": str(choose), "retention_path": None}
    inputs = validate_inputs(
        changed(config, {"data": data, "eval": {"examples": 10**9}}), allow_custom_reward=True
    )
    model = config.model.model_copy(update={"adapter": str(run.adapter_dir), "reference": "base"})
    with inputs.scorer as scorer:
        policy = load_policy(model, None)
        settings = EvalSettings(max_new_tokens=config.group.max_new_tokens, batch=config.eval.batch)
        target = evaluate_suite(policy, scorer, settings, target=inputs.eval_examples).target
    assert target is not None  # `validate_inputs` refuses an empty file
    return target.greedy_accuracy, target.greedy_reward


def _row(entry: Variant, run: RunDir, scores: Mapping[str, Sequence[float]]) -> Row:
    """An entry's line, from its run directory alone."""
    steps = list(run.events("step"))
    started = next(run.events("started"))
    metrics = next(run.events("finished"))["metrics"]
    return replace(
        Row.of(entry.name, metrics),
        run=run.path.name,
        options=entry.options,
        steps=steps[-1]["step"],
        seconds=round(sum(event["seconds"] for event in steps), 2),
        trained_tokens=sum(event["trained_tokens"] for event in steps),
        peak_memory_gib=max(event["peak_memory_gib"] for event in steps),
        examples=started["examples"],
        learning_rate=run.config().train.learning_rate,
        learning_rates_tried=entry.rates if len(entry.rates) > 1 else entry.tried,
        chosen_on={name: round(score[0], 4) for name, score in scores.items()},
    )
