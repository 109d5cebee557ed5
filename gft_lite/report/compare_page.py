"""A comparison as one self-contained HTML file; every text that is not ours is escaped."""

from __future__ import annotations

from pathlib import Path

from gft_lite.adapters.compare import Comparison, Row
from gft_lite.report.html import details, facts, notes, page, pre, section, table, text, write_page
from gft_lite.report.numbers import at_k, figure, percent

SHOWN_ROWS = 200
MARKS = {True: "✓ ", False: "✗ "}


def write_compare_page(comparison: Comparison, path: Path) -> Path:
    """Write the page.

    Raises:
        RunError: it cannot be written there.
    """
    names = [c.name for c in comparison.columns]
    document = page(
        title=f"Compare {comparison.model}",
        kicker="Adapters side by side",
        headline=" · ".join(names),
        lead=f"{len(comparison.rows)} prompts, base {comparison.model}, one model in memory.",
        html=compare_sections(comparison),
    )
    return write_page(path, document)


def compare_sections(comparison: Comparison) -> list[str]:
    """What stands below the page's headline, as finished markup."""
    return [
        notes(comparison.remarks),
        _figures(comparison),
        _identities(comparison),
        _differences(comparison),
        _samples(comparison),
    ]


def _figures(comparison: Comparison) -> str:
    scored = [(c.name, c.evaluation) for c in comparison.columns if c.evaluation]
    if not scored:
        return ""
    sampled = any(e.k for _, e in scored)
    columns = ["", "Greedy", "95 % interval"]
    first = scored[0][1]
    columns += [at_k(name, first.k, first.temperature) for name in ("mean", "pass") if sampled]
    rows = []
    for name, e in scored:
        around = e.intervals["greedy_accuracy"]
        rows.append(
            [
                text(name),
                percent(e.greedy_accuracy),
                f"{percent(around.low)} to {percent(around.high)}",
                *([percent(e.mean_at_k), percent(e.pass_at_k)] if sampled else []),
                str(e.truncated),
                str(e.unparsed),
            ]
        )
    table_ = table("Share of prompts solved", [*columns, "Cut off", "No answer found"], rows)
    return section("Figures", [table_])


def _identities(comparison: Comparison) -> str:
    rows = [
        [
            text(c.name),
            text(c.identity.adapter or "–"),
            text((c.identity.adapter_sha256 or "–")[:16]),
            figure(c.identity.max_logit_difference),
            figure(c.identity.mean_logit_difference),
        ]
        for c in comparison.columns
    ]
    columns = ["", "Folder", "sha256 of the weights", "Largest logit difference", "Mean"]
    base = facts(
        [
            ("Base", comparison.model),
            ("Revision", comparison.revision or "–"),
            ("Hash of the base's weights", (comparison.base_weights_sha256 or "–")[:16]),
        ]
    )
    intro = "Differences are to the base's logits, over all positions of fixed prompts."
    return section("Who is who", [base, table("Identity of every column", columns, rows)], intro)


def _differences(comparison: Comparison) -> str:
    rows = [
        [
            f"{text(p.b)} against {text(p.a)}",
            str(p.counts.both),
            str(p.counts.only_a),
            str(p.counts.only_b),
            str(p.counts.neither),
            f"{p.counts.p_value:.2g}",
            figure(p.reward.difference),
            f"{figure(p.reward.interval.low)} to {figure(p.reward.interval.high)}",
            f"{p.reward.p_value:.2g}",
        ]
        for p in comparison.pairs
    ]
    if not rows:
        return ""
    columns = ["", "Both right", "Only the second", "Only the first", "Neither", "McNemar p"]
    columns += ["Mean reward", "95 % interval", "p"]
    intro = "The same prompts for both: exact McNemar test, paired bootstrap over prompts."
    words = notes([p.in_words() for p in comparison.pairs])
    return section("Differences", [words, table("Paired differences", columns, rows)], intro)


def _samples(comparison: Comparison) -> str:
    shown = comparison.rows[:SHOWN_ROWS]
    blocks = [details(_summary(row), _answers(comparison, row)) for row in shown]
    intro = "Prompts that some columns solve and others do not come first."
    if len(comparison.rows) > SHOWN_ROWS:
        intro += f" The first {SHOWN_ROWS} of {len(comparison.rows)}."
    return section("Answers", blocks, intro)


def _summary(row: Row) -> str:
    return "".join(MARKS[c] for c in row.correct) + row.prompt[:120]


def _answers(comparison: Comparison, row: Row) -> str:
    parts = [pre(row.prompt)]
    if row.answer is not None:
        parts.append(facts([("Expected", row.answer)]))
    marks = [MARKS[c] for c in row.correct] or [""] * len(row.texts)
    for column, mark, answer in zip(comparison.columns, marks, row.texts, strict=True):
        parts += [f"<h3>{mark}{text(column.name)}</h3>\n", pre(answer)]
    return "".join(parts)
