"""`gft-lite demo`: base, SFT, DFT and GFT side by side on the embedded model.

Every method gets the same prompts in the same order, as many a step, and as many steps. It trains
at the learning rate that was best for it among those listed in `RECIPES`: highest mean target
accuracy over seeds, and of rates within chance of each other the one that keeps more of the old
skill.
docs/log.md has the sweep.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gft_lite.config import RunConfig, load_config
from gft_lite.runs import RunDir, claim_empty, write_atomic

Say = Callable[[str], None]
PRESET = "tiny-cpu"


@dataclass(frozen=True)
class Recipe:
    """How the demo trains one method.

    tried: the learning rates that were compared for it (docs/log.md).
    """

    method: str
    learning_rate: float
    tried: tuple[float, ...]

    def config(self, steps: int, seed: int, extra: Sequence[str] = ()) -> RunConfig:
        """The run configuration, by the same layers a user has."""
        return load_config(
            preset=PRESET,
            overrides=[
                f"method.name={self.method}",
                f"train.learning_rate={self.learning_rate}",
                f"train.steps={steps}",
                f"train.seed={seed}",
                f"eval.every={max(1, steps // 4)}",
                *extra,
            ],
        )


RECIPES = (
    Recipe("sft", 1e-3, (3e-4, 1e-3, 2e-3)),
    Recipe("dft", 1e-3, (3e-4, 1e-3, 2e-3)),
    Recipe("gft", 5e-4, (3e-4, 5e-4, 7e-4)),
)


@dataclass(frozen=True)
class Row:
    """One line of the demo's table; shares in [0, 1], KL in nats per token of base answers."""

    method: str
    target_greedy: float
    target_mean_at_8: float
    target_pass_at_8: float
    old_skill_greedy: float
    kl_nats_per_token: float
    steps: int
    seconds: float
    learning_rate: float | None = None
    learning_rates_tried: tuple[float, ...] = ()
    response_tokens: float = 0.0


@dataclass(frozen=True)
class Demo:
    """What the demo found."""

    rows: tuple[Row, ...]
    seed: int
    out: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to demo.json."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "seed": self.seed,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }


def run_demo(
    out: str | os.PathLike[str],
    *,
    steps: int,
    seed: int = 0,
    say: Say = lambda text: None,
    on_event: Callable[[str, dict[str, Any]], None] | None = None,
    recipes: Sequence[Recipe] = RECIPES,
    extra: Sequence[str] = (),
) -> Demo:
    """Measure the base, train and measure every recipe, write demo.json and report.html.

    Args:
        out: new or empty folder; every method's run directory goes below it.
        steps: optimizer steps of every method.
        seed: of adapter, prompt order and sampling.
        say: told what happens, in sentences.
        on_event: called with (method, event) while methods train.
        recipes: methods and their settings.
        extra: more `--set` strings for all of them.

    Raises:
        RunError: the folder holds something already.
    """
    from gft_lite.report import write_demo_report
    from gft_lite.worker import train

    folder = Path(out)
    claim_empty(folder)
    say("Measuring the base model.")
    rows = [_base_row(recipes[-1].config(steps, seed, extra))]
    for recipe in recipes:
        say(f"Training with {recipe.method.upper()}.")
        config = recipe.config(steps, seed, extra)

        def tell(event: dict[str, Any], method: str = recipe.method) -> None:
            if on_event:
                on_event(method, event)

        result = train(config, folder / recipe.method, on_event=tell)
        steps_taken = RunDir(result.run_dir).events("step")
        trained = sum(event["seconds"] for event in steps_taken)
        row = _row(recipe.method, result.metrics, steps, trained)
        rows.append(
            replace(row, learning_rate=recipe.learning_rate, learning_rates_tried=recipe.tried)
        )
    demo = Demo(tuple(rows), seed, folder)
    write_atomic(folder / "demo.json", json.dumps(demo.to_dict(), indent=1))
    write_demo_report(folder)
    return demo


def _base_row(config: RunConfig) -> Row:
    from gft_lite.models import load_policy
    from gft_lite.prepare import prepare
    from gft_lite.worker import measure, quiet_libraries

    quiet_libraries()
    started = time.perf_counter()
    prepared = prepare(config)
    with prepared.scorer as scorer:
        # a fresh adapter changes nothing: with it, the base is measured by the very same code
        policy = load_policy(config.model, config.lora, seed=config.train.seed)
        metrics = measure(policy, scorer, config, prepared)
    return replace(_row("base", metrics, 0, 0.0), seconds=time.perf_counter() - started)


def _row(method: str, metrics: dict[str, Any], steps: int, seconds: float) -> Row:
    return Row(
        method=method,
        target_greedy=metrics["target"]["greedy_accuracy"],
        target_mean_at_8=metrics["target"]["mean_at_k"],
        target_pass_at_8=metrics["target"]["pass_at_k"],
        old_skill_greedy=metrics["old_skill"]["greedy_accuracy"],
        kl_nats_per_token=metrics["drift"]["kl_nats_per_token"],
        steps=steps,
        seconds=round(seconds, 2),
        response_tokens=metrics["target"]["response_tokens"],
    )
