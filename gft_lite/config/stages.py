"""Pipelines: a run in several stages, each an ordinary run that continues the adapter of the one
before.

A stage of `stages:` holds differences over the rest of the configuration. What belongs to the
adapter as a whole (base model, LoRA) cannot differ between stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gft_lite.config.layers import changed
from gft_lite.config.schema import RunConfig
from gft_lite.types import ConfigError

SEEDS_APART = 1000  # from stage to stage: no prompt order or draw of an earlier one comes again
STAGE_MODEL_KEYS = ("reference", "gradient_checkpointing")


@dataclass(frozen=True)
class Stage:
    """One stage as an ordinary run: the name of its folder and its whole configuration."""

    name: str
    config: RunConfig


def stages_of(config: RunConfig, folder: Path = Path()) -> tuple[Stage, ...]:
    """The runs of a pipeline below `folder`; none if the configuration has no stages.

    Raises:
        ConfigError: a stage that no run can be made of, or that changes what it cannot.
    """
    stages: list[Stage] = []
    adapter = config.model.adapter
    for number, differences in enumerate(config.stages or (), 1):
        where = f"stages.{number}"
        _check(differences, where)
        seed = config.train.seed + SEEDS_APART * (number - 1)
        own = {"stages": None, "model": {"adapter": adapter}, "train": {"seed": seed}}
        stage = changed(config, own, differences, where=where)
        name = f"stage-{number}-{stage.method.name}"
        stages.append(Stage(name, stage))
        adapter = str(folder / name / "adapter")
    return tuple(stages)


def total_steps(config: RunConfig) -> int:
    """Optimizer steps of a run, or of all stages of a pipeline."""
    return sum(stage.config.train.steps for stage in stages_of(config)) or config.train.steps


def method_names(config: RunConfig) -> str:
    """The method of a run, or those of its stages: `sft-gft-grpo`."""
    return "-".join(s.config.method.name for s in stages_of(config)) or config.method.name


def _check(differences: dict[str, Any], where: str) -> None:
    wrong: list[str] = [key for key in ("stages", "lora") if key in differences]
    model = differences.get("model", {})
    if isinstance(model, dict):
        wrong += [f"model.{key}" for key in model if key not in STAGE_MODEL_KEYS]
    else:
        wrong.append("model")
    if wrong:
        raise ConfigError(
            f"{where}: {wrong[0]} cannot differ between stages, for they train one adapter; set it "
            f"outside stages (of model, a stage may set {' and '.join(STAGE_MODEL_KEYS)})"
        )
