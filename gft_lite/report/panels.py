"""Which curves there are, and what each of them means in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gft_lite.config.methods import LOSS_MEANING, REGISTRY
from gft_lite.report.charts import Format, Line, line_chart
from gft_lite.report.html import figure
from gft_lite.report.numbers import figure as plain
from gft_lite.report.numbers import number, series, short_percent
from gft_lite.report.record import Event, Record
from gft_lite.types import SOURCES


@dataclass(frozen=True)
class Panel:
    """One chart of a run.

    curves: (name at the line's end, field of a step event, colour class; empty is the method's).
    measured: the same for fields of an evaluation.
    methods: only drawn for these; empty is all.
    """

    key: str
    title: str
    meaning: str
    curves: tuple[tuple[str, str, str], ...]
    say: Format = plain
    bounds: tuple[float | None, float | None] = (0.0, None)
    methods: tuple[str, ...] = ()
    measured: tuple[tuple[str, str, str], ...] = ()


def _by_source(field: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((source, f"{field}_{source}", f"c-{source}") for source in SOURCES)


def _one(field: str, name: str = "value") -> tuple[tuple[str, str, str], ...]:
    return ((name, field, ""),)


LOSS = Panel("loss", "Loss", LOSS_MEANING, _one("loss"), bounds=(None, None))
PANELS = (
    Panel(
        "reward",
        "Reward by source",
        "Mean reward of expert, teacher and self responses; the model's own "
        "line is the one that training moves.",
        _by_source("reward"),
    ),
    Panel(
        "rectified",
        "Rectified fraction by source",
        "Share of trained tokens that the model gave a probability below τ: each of them counts "
        "only by that probability.",
        _by_source("rectified_fraction"),
        short_percent,
        methods=("gft",),
    ),
    Panel(
        "sign",
        "Rectified fraction by sign",
        "The same share in answers that are encouraged (positive advantage) and discouraged "
        "(negative).",
        (
            ("positive", "rectified_fraction_positive", "c-1"),
            ("negative", "rectified_fraction_negative", "c-2"),
        ),
        short_percent,
        methods=("gft",),
    ),
    Panel(
        "entropy",
        "Entropy of self responses",
        "Nats per token: how open the model's choices are on responses that it samples at the "
        "temperature of training, for held-out prompts at each evaluation and, if the method "
        "samples, for the prompts of each step. A fall to zero means that it gives one response "
        "only; a rise to twice its early level often precedes a collapse.",
        _one("entropy_nats_per_token", "training"),
        measured=(("held out", "entropy_nats_per_token", "c-2"),),
    ),
    Panel(
        "kl",
        "KL to the reference",
        "Nats per token on self responses: how far the model has moved from its start.",
        _one("kl_nats_per_token"),
    ),
    Panel(
        "degenerate",
        "Degenerate groups",
        "Share of groups whose rewards are all equal: they have no contrast and teach nothing.",
        _one("degenerate_share"),
        short_percent,
    ),
    Panel(
        "grad",
        "Gradient norm",
        "Before clipping. Spikes are steps in which a few tokens pull hard.",
        _one("grad_norm"),
    ),
    Panel(
        "length",
        "Length of self responses",
        "Mean tokens of an answer that the model sampled.",
        _one("self_response_tokens"),
    ),
    Panel(
        "truncated",
        "Truncated self responses",
        "Share of sampled answers that the length limit cut off.",
        _one("truncated_share"),
        short_percent,
    ),
)
MEMORY = Panel(
    "memory",
    "Peak memory",
    "GiB held at most so far: on the GPU, or by the process if there is no GPU.",
    _one("peak_memory_gib"),
)
TIME = Panel(
    "time",
    "Seconds a step",
    "Where the time goes: sampling answers, scoring them, and the update.",
    (
        ("sampling", "rollout_seconds", "c-1"),
        ("scoring", "scoring_seconds", "c-2"),
        ("update", "train_seconds", "c-3"),
    ),
)


def panel_figure(panel: Panel, record: Record, *, prefix: str = "", title: str = "") -> str:
    """One panel of one run; nothing if the run has no such values."""
    if panel.methods and not {*panel.methods} & {*record.methods}:
        return ""
    lines = [
        Line(name, series(record.steps, field), css or f"{colour(record.method)} solid")
        for name, field, css in panel.curves
    ]
    lines += [Line(name, series(record.evals, field), css) for name, field, css in panel.measured]
    shown = title or panel.title
    chart = line_chart(f"{prefix}{panel.key}", shown, lines, say=panel.say, bounds=panel.bounds)
    left_out = _left_out(panel, record.steps)
    remark = f" {left_out} values that are no finite number are not drawn." if left_out else ""
    meaning = panel.meaning
    if panel is LOSS and record.method in REGISTRY:
        meaning = REGISTRY[record.method].loss_meaning
    return figure(shown, chart, meaning + remark) if chart else ""


def accuracy_figure(
    key: str,
    title: str,
    meaning: str,
    lines: Sequence[Line],
    *,
    x_name: str = "step",
) -> str:
    """Shares between 0 and 100 %, measured now and then; nothing if there are none."""
    chart = line_chart(
        key, title, lines, say=short_percent, bounds=(0.0, 1.0), x_name=x_name, smooth=False
    )
    return figure(title, chart, meaning) if chart else ""


def over_seconds(record: Record, field: str) -> tuple[tuple[float, float], ...]:
    """(seconds trained so far, value) of every evaluation that has a value."""
    points = []
    for step, value in series(record.evals, field):
        spent = sum(
            number(e, "seconds") or 0.0 for e in record.steps if (number(e, "step") or 0) <= step
        )
        points.append((spent, value))
    return tuple(points)


def label(method: str) -> str:
    """'gft' → 'GFT'; the name of an unknown method in capitals."""
    if method in REGISTRY:
        return REGISTRY[method].label
    return "base" if method == "base" else method.upper() or "run"


def colour(method: str) -> str:
    """The colour class of a method or of the base."""
    return f"c-{method}" if method in REGISTRY or method == "base" else "c-one"


def _left_out(panel: Panel, steps: Sequence[Event]) -> int:
    return sum(_is_no_number(event, field) for event in steps for _, field, _ in panel.curves)


def _is_no_number(event: Mapping[str, object], field: str) -> bool:
    return event.get(field) is not None and number(event, field) is None
