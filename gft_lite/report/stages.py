"""The stages of a pipeline: what each was, and where it ended."""

from __future__ import annotations

from gft_lite.report.html import table, text
from gft_lite.report.numbers import MISSING, duration, look, number, percent, power, total
from gft_lite.report.panels import label
from gft_lite.report.record import Record
from gft_lite.runs import stage_number

COLUMNS = (
    "Stage",
    "Reference",
    "Steps",
    "Learning rate",
    "Target, greedy",
    "mean@k",
    "pass@k",
    "Old skill",
    "KL, nats/token",
    "Trained tokens",
    "Training",
)


def stage_table(record: Record) -> str:
    """One line a stage that has begun; nothing for a run without stages."""
    if not record.stages:
        return ""
    return table("The stages of this run", COLUMNS, [_cells(stage) for stage in record.stages])


def _cells(stage: Record) -> list[str]:
    last, done = stage.last_eval, stage.state == "finished"
    moved = number(last, "drift.kl_nats_per_token")
    state = "" if done else f"<small>{text(stage.state)}</small>"
    return [
        f"{stage_number(stage.run.path)} {text(label(stage.method))}{state}",
        text(str(look(stage.config, "model.reference") or MISSING)),
        str(len(stage.steps)),
        power(number(stage.config, "train.learning_rate")),
        percent(number(last, "target.greedy_accuracy")),
        percent(number(last, "target.mean_at_k")),
        percent(number(last, "target.pass_at_k")),
        percent(number(last, "old_skill.greedy_accuracy")),
        MISSING if moved is None else f"{moved:z.3f}",
        f"{total(stage.steps, 'trained_tokens'):,.0f}",
        duration(stage.seconds),
    ]
