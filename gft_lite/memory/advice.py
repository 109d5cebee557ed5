"""Changes that make a run fit into memory; settings that do not change the result come first."""

from __future__ import annotations

from collections.abc import Iterator

from gft_lite.config import RunConfig
from gft_lite.memory.forecast import GIB, Device, forecast
from gft_lite.memory.shapes import KNOWN, Shape, shape_of
from gft_lite.types import ModelError

FEW_ANSWERS = 4  # sampled together; with fewer, a rollout takes too long to be of use
FORECAST_ERROR = 0.15  # nothing is refused that may fit after all
SMALLER = {
    "training": ("train", "micro_batch_tokens"),
    "rollout": ("train", "rollout_batch"),
    "evaluation": ("eval", "batch"),
}


def settings_that_fit(
    config: RunConfig, shape: Shape, card_gib: float, *, device: Device = "cuda"
) -> list[str] | None:
    """The fewest `section.key=value` changes that make the forecast fit a card.

    Batches are halved and activations recomputed first: that changes time, not gradients. 4-bit
    weights come next, since they change the base. None where nothing helps but a smaller model or
    shorter answers.
    """
    for start in _starts(config):
        smaller = shrunk(start, shape, card_gib, device=device)
        if forecast(smaller, shape, device=device).verdict(card_gib) == "fits":
            return changes(config, smaller)
    return None


def too_large(config: RunConfig, card_gib: float) -> str | None:
    """A message if no batch is small enough for the card.

    None if a batch may fit, or if the shape of the model is not known.
    """
    try:
        shape = shape_of(config.model)
    except ModelError:
        return None
    longest = config.data.max_prompt_tokens + config.group.max_new_tokens
    least = _changed(config, "train", "micro_batch_tokens", longest)
    least = _changed(_changed(least, "train", "rollout_batch", 1), "eval", "batch", 1)
    needed = forecast(least, shape).total / GIB
    if needed * (1 - FORECAST_ERROR) <= card_gib:
        return None
    sets = " ".join(f"--set {c}" for c in settings_that_fit(config, shape, card_gib) or [])
    models = ", ".join(smaller_models(config, card_gib)[:3])
    advice = sets or (f"a smaller model fits: {models}" if models else "take a smaller model")
    return (
        f"{config.model.name} with these settings needs {needed:.1f} GiB at the least (forecast), "
        f"the GPU has {card_gib:.1f}: {advice} (`gft-lite estimate` shows the parts)"
    )


def shrunk(
    config: RunConfig, shape: Shape, card_gib: float, *, device: Device = "cuda"
) -> RunConfig:
    """The run with the batches of its largest phase halved until it fits, or until that phase works
    on single sequences or a few answers."""
    while True:
        needed = forecast(config, shape, device=device)
        if needed.verdict(card_gib) == "fits":
            return config
        section, key = SMALLER[needed.peak_phase]
        size = getattr(getattr(config, section), key)
        longest = config.data.max_prompt_tokens + config.group.max_new_tokens
        least = longest if key == "micro_batch_tokens" else FEW_ANSWERS
        if size <= least:
            return config
        config = _changed(config, section, key, max(least, size // 2))


def smaller_models(config: RunConfig, card_gib: float, *, device: Device = "cuda") -> list[str]:
    """Public models whose forecast fits with the run's own settings, largest first."""
    names = [
        name
        for name, shape in KNOWN.items()
        if forecast(config, shape, device=device).verdict(card_gib) == "fits"
    ]
    return sorted(names, key=lambda name: -KNOWN[name].parameters)


def changes(before: RunConfig, after: RunConfig) -> list[str]:
    """`section.key=value` for everything that differs."""
    return [
        f"{section}.{key}={str(value).lower()}"
        for section in ("model", "train", "eval")
        for key, value in getattr(after, section).model_dump(mode="json").items()
        if getattr(getattr(before, section), key) != getattr(getattr(after, section), key)
    ]


def _starts(config: RunConfig) -> Iterator[RunConfig]:
    """The run as it is; then recomputing activations; then 4 bits."""
    yield config
    config = _changed(config, "model", "gradient_checkpointing", True)
    yield config
    yield _changed(config, "model", "load_in_4bit", True)


def _changed(config: RunConfig, section: str, key: str, value: object) -> RunConfig:
    part = getattr(config, section).model_copy(update={key: value})
    return config.model_copy(update={section: part})
