"""`gft-lite demo`: base, SFT, DFT and GFT side by side on the embedded model.

Every method gets the same prompts in the same order, as many a step, and as many steps, with a
learning rate that falls linearly to 0. `benchmarks/demo_rates.py` chose each method's rate, from
the same rates for all, on fresh problems that no figure is reported on; the same way it chose
GFT's `rectify`. The rule is in its docstring, the sweep in docs/log.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from gft_lite.config import RunConfig, load_config
from gft_lite.experiments import MethodComparison, Variant, run_comparison

PRESET = "tiny-cpu"
DOCUMENT = "demo.json"
LEAD = (
    "The embedded demo model can solve one-step word problems, the old skill, and is taught "
    "three-step ones, the target. Every method sees the same prompts in the same order. "
    "One seed is one draw: another seed can change the order. The data holds wrong experts and "
    "wrong teachers on purpose, as real files do."
)


RATES = (5e-4, 1e-3, 2e-3)  # tried for every method
RECIPES = (
    Variant("sft", {"method": {"name": "sft"}}, (1e-3,), RATES),
    Variant("dft", {"method": {"name": "dft"}}, (2e-3,), RATES),
    Variant("gft", {"method": {"name": "gft", "rectify": "demonstrations"}}, (1e-3,), RATES),
)


def common_config(steps: int, seed: int, extra: Sequence[str] = ()) -> RunConfig:
    """What the methods share, by the same layers a user has."""
    return load_config(
        preset=PRESET,
        overrides=[
            f"train.steps={steps}",
            f"train.seed={seed}",
            f"eval.every={max(1, steps // 4)}",
            *extra,
        ],
    )


def run_demo(
    out: str | os.PathLike[str],
    *,
    steps: int,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
    on_event: Callable[[str, dict[str, Any]], None] = lambda method, event: None,
    extra: Sequence[str] = (),
) -> MethodComparison:
    """Measure the base, train and measure every recipe, write demo.json and report.html.

    Args:
        out: new or empty folder; every method's run directory goes below it.
        steps: optimizer steps of every method.
        seed: of adapter, prompt order and sampling.
        say: told what happens, in sentences.
        on_event: called with (method, event) while methods train.
        extra: more `--set` strings for all of them.

    Raises:
        RunError: the folder holds something already.
    """
    return run_comparison(
        common_config(steps, seed, extra),
        RECIPES,
        out,
        title="gft-lite demo",
        lead=LEAD,
        document=DOCUMENT,
        say=say,
        on_event=on_event,
    )
