"""The rows of a comparison, and what was equal between them and what was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gft_lite.config import RunConfig


@dataclass(frozen=True)
class Row:
    """One line of the table; shares in [0, 1], KL in nats per token of base answers.

    options: of the method, if they are not its defaults.
    target_interval: 95 % interval of the greedy accuracy. old_skill_greedy: None where no file of
    an old skill was named. trained_tokens: response tokens that went through the loss.
    examples: prompts the method could train on. chosen_on: accuracy of each learning rate's run on
    the prompts that chose among them.
    """

    method: str
    target_greedy: float
    target_interval: tuple[float, float] | None
    target_mean_at_k: float | None
    target_pass_at_k: float | None
    old_skill_greedy: float | None
    kl_nats_per_token: float
    response_tokens: float
    steps: int = 0
    seconds: float = 0.0
    trained_tokens: int = 0
    peak_memory_gib: float | None = None
    examples: int = 0
    learning_rate: float | None = None
    learning_rates_tried: tuple[float, ...] = ()
    chosen_on: Mapping[str, float] = field(default_factory=dict)
    run: str = ""
    options: str = ""

    @classmethod
    def of(cls, method: str, metrics: Mapping[str, Any]) -> Row:
        """From the final measurements of a run."""
        target = metrics["target"]
        interval = target["intervals"].get("greedy_accuracy")
        return cls(
            method=method,
            target_greedy=target["greedy_accuracy"],
            target_interval=(interval["low"], interval["high"]) if interval else None,
            target_mean_at_k=target["mean_at_k"],
            target_pass_at_k=target["pass_at_k"],
            old_skill_greedy=metrics.get("old_skill", {}).get("greedy_accuracy"),
            kl_nats_per_token=metrics["drift"]["kl_nats_per_token"],
            response_tokens=target["response_tokens"],
        )

    def to_dict(self, k: int) -> dict[str, Any]:
        """Plain data, sampled figures named after their k."""
        plain = asdict(self)
        for figure in ("mean", "pass"):
            plain[f"target_{figure}_at_{k}"] = plain.pop(f"target_{figure}_at_k")
        return plain


def equal(common: RunConfig, rows: Sequence[Row], *, leaked: int = 0) -> tuple[str, ...]:
    """What all methods had in common, and each thing that they had not."""
    train, trained = common.train, [row for row in rows if row.steps]
    sentences = [
        f"Equal for all: the base model, seed {train.seed}, {train.prompts_per_step} prompts a "
        f"step in the same order, {_end(train.steps, train.max_tokens)}, the reward, and the "
        "held-out prompts. What a method makes of a prompt differs: see trained tokens and seconds."
    ]
    most = max((row.examples for row in trained), default=0)
    for row in trained:
        if row.examples < most:
            sentences.append(
                f"{row.method} could train on {row.examples} of the {most} prompts only, for the "
                "others have no response it learns from; so its prompts are not the same."
            )
        if train.max_tokens and row.trained_tokens < train.max_tokens:
            sentences.append(
                f"{row.method} ended at {row.steps} steps with {row.trained_tokens:,} of the "
                f"{train.max_tokens:,} tokens; raise --steps to spend the whole budget."
            )
    if leaked:
        sentences.append(
            f"{leaked} held-out prompts are in the training file as well: what is measured on them "
            "is memory, not skill. `gft-lite data fix --against` takes them out."
        )
    return tuple(sentences)


def learning_rates(rows: Sequence[Row], prompts: int) -> str:
    """How the learning rates came about."""
    trained = [row for row in rows if row.learning_rate is not None]
    if not any(row.learning_rates_tried for row in trained):
        common_rates = {row.learning_rate for row in trained}
        if len(common_rates) == 1:
            return (
                f"All at learning rate {common_rates.pop():g}, which was chosen for none of them: "
                "methods have different best rates, so compare some with --rates."
            )
    rates = []
    for row in trained:
        tried = ", ".join(f"{rate:g}" for rate in row.learning_rates_tried)
        origin = "as given"
        if row.chosen_on:
            origin = f"the best of {tried} on {prompts} other held-out prompts"
        elif tried:
            origin = f"compared before with {tried}"
        rates.append(f"{row.method} {row.learning_rate:g} ({origin})")
    return f"Learning rates: {'; '.join(rates)}."


def _end(steps: int, budget: int | None) -> str:
    if budget is None:
        return f"{steps} steps"
    return f"the step in which {budget:,} response tokens were trained on, {steps} steps at most"
