"""The methods side by side: a dot chart and the table of final figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gft_lite.report.dots import Pair, dot_chart
from gft_lite.report.html import facts, figure, table, text
from gft_lite.report.numbers import at_k, duration, number, percent, power
from gft_lite.report.panels import colour, label

Row = Mapping[str, Any]


def _columns(k: int, temperature: object) -> tuple[str, ...]:
    return (
        "Method",
        "Target, greedy",
        at_k("mean", k, temperature),
        at_k("pass", k, temperature),
        "Old skill",
        "KL, nats/token",
        "Steps",
        "Training",
        "Trained tokens",
        "Peak memory",
        "Learning rate",
    )


def _reading(k: int) -> tuple[tuple[str, str], ...]:
    return (
        ("Target, old skill", "Share of held-out problems that the greedy answer gets right."),
        (f"mean@{k}", f"Average over {k} sampled answers a problem."),
        (f"pass@{k}", f"At least one of the {k} is right."),
        ("KL", "How far the model moved on the responses of the base model."),
        ("Training", "Time in optimizer steps, sampling included."),
        ("Trained tokens", "Response tokens that went through the loss."),
        ("Bold", "The highest share among the trained methods."),
    )


def comparison_chart(rows: Sequence[Row], k: int) -> str:
    """What every method learned and kept, in one picture."""
    pairs = [
        Pair(
            label(str(row.get("method", ""))),
            colour(str(row.get("method", ""))),
            number(row, "target_greedy"),
            number(row, "old_skill_greedy"),
        )
        for row in rows
    ]
    title = "Learned and kept"
    chart = dot_chart("pairs", title, pairs)
    caption = "Further right is better for both: the target is what was taught, the old skill is "
    caption += "what the model could do before."
    if not chart:
        return ""
    return f'<div class="beside">\n{figure(title, chart, caption)}{facts(_reading(k))}</div>\n'


def comparison_table(rows: Sequence[Row], k: int, temperature: object = None) -> str:
    """All final figures, and what each column means."""
    if not rows:
        return ""
    shown = [_cells(row, rows, k) for row in rows]
    return table("Final figures of every method", _columns(k, temperature), shown)


def _cells(row: Row, rows: Sequence[Row], k: int) -> list[str]:
    method = str(row.get("method", ""))
    sampled = (f"target_mean_at_{k}", f"target_pass_at_{k}")
    tokens, peak = number(row, "trained_tokens"), number(row, "peak_memory_gib")
    trained = method != "base"
    steps = number(row, "steps")
    tried = row.get("learning_rates_tried")
    rates = [power(number({"v": v}, "v")) for v in tried] if isinstance(tried, list) else []
    rate = text(power(number(row, "learning_rate"))) if trained else "–"
    return [
        f'<span class="key {colour(method)}"></span>{text(label(method))}'
        + (f"<small>{text(row['options'])}</small>" if row.get("options") else ""),
        _share(row, "target_greedy", rows) + _interval(row),
        *(_share(row, key, rows) for key in (*sampled, "old_skill_greedy")),
        _three_decimals(number(row, "kl_nats_per_token")),
        f"{steps:.0f}" if trained and steps is not None else "–",
        text(duration(number(row, "seconds"))) if trained else "–",
        f"{tokens:,.0f}" if trained and tokens is not None else "–",
        f"{peak:.1f}\u00a0GiB" if peak is not None else "–",
        rate + (f"<small>tried {text(', '.join(rates))}</small>" if rates and trained else ""),
    ]


def _share(row: Row, key: str, rows: Sequence[Row]) -> str:
    """A share; bold where no trained method has a higher one."""
    value = number(row, key)
    trained = [number(r, key) for r in rows if r.get("method") != "base"]
    best = max((v for v in trained if v is not None), default=None)
    is_best = value is not None and value == best and row.get("method") != "base"
    return f"<b>{percent(value)}</b>" if is_best else percent(value)


def _interval(row: Row) -> str:
    around = row.get("target_interval")
    if not isinstance(around, list) or len(around) != 2:
        return ""
    low, high = (number({"v": value}, "v") for value in around)
    return f"<small>{percent(low)} to {percent(high)}</small>"


def _three_decimals(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}"
