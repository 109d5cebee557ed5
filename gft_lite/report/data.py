"""The report on a data file as a page."""

from __future__ import annotations

from pathlib import Path

from gft_lite.data import KINDS, Report
from gft_lite.report.html import details, notes, page, pre, section, table, text, tiles, write_page

SHOWN_BAD_ROWS = 500


def data_page(report: Report) -> str:
    """The report on a data file as one HTML document."""
    recognised = report.recognised
    lead = f"{recognised.kind}, read as '{recognised.format}': {recognised.why}."
    return page(
        title=f"Data: {Path(report.path).name}",
        kicker="gft-lite data check",
        headline=data_headline(report),
        lead=lead,
        html=data_sections(report),
    )


def data_headline(report: Report) -> str:
    """How much of the file can be used, in one sentence."""
    return f"{report.usable:,} of {report.rows:,} rows can be used"


def data_sections(report: Report) -> list[str]:
    """What stands below the page's headline, as finished markup."""
    return [
        counts(report),
        section("How it was read", [notes(reading(report))]),
        section("Lengths", [_lengths(report)]),
        section("Columns", [columns(report)]),
        section("Doubtful rows", findings(report)),
        section("Rows that cannot be used", [bad_rows(report)]),
    ]


def counts(report: Report) -> str:
    """How many rows there are, and how many of them are bad or doubtful."""
    return tiles(
        [
            ("Rows", f"{report.rows:,}", f"{report.groups:,} groups"),
            ("Bad", f"{report.bad:,}", "cannot be used"),
            (
                "Doubts",
                f"{sum(report.counts.values()):,}",
                report.judged and f"reward {report.judged}",
            ),
            ("With answer", f"{report.with_answer:,}", ""),
        ]
    )


def write_data_page(report: Report, path: Path) -> Path:
    """Write the page.

    Raises:
        RunError: it cannot be written there.
    """
    return write_page(path, data_page(report))


def reading(report: Report) -> list[str]:
    """What it was taken for, in sentences."""
    recognised = report.recognised
    sentences = [recognised.meaning] if recognised.meaning else []
    if recognised.runner_up:
        sentences.append(f"Runner-up: '{recognised.runner_up}' ({recognised.runner_up_why})")
    sentences += recognised.notes
    if recognised.unused:
        sentences.append(f"Columns not used: {', '.join(recognised.unused)}")
    return sentences


def _lengths(report: Report) -> str:
    units = {"characters": report.characters} | ({"tokens": report.tokens} if report.tokens else {})
    rows = [
        [
            text(f"{part}, {unit}"),
            *(f"{n:,}" for n in (q.shortest, q.median, q.p90, q.p99, q.longest)),
        ]
        for unit, parts in units.items()
        for part, q in parts.items()
        if q.count
    ]
    return (
        table("Lengths", ["", "shortest", "median", "p90", "p99", "longest"], rows) if rows else ""
    )


def columns(report: Report) -> str:
    """What stands in which column."""
    rows = [
        [
            text(column.name),
            f"{column.filled:,}",
            text(", ".join(f"{kind} {count:,}" for kind, count in column.kinds.items())),
            f"{column.longest:,}",
        ]
        for column in report.columns
    ]
    heads = ["column", "with a value", "what stands there", "longest text"]
    return table("Columns", heads, rows) if rows else ""


def findings(report: Report) -> list[str]:
    """Doubtful rows, folded, a kind at a time."""
    parts = []
    for kind, (meaning, todo) in KINDS.items():
        count = report.counts.get(kind, 0)
        if count:
            of_kind = [finding for finding in report.findings if finding.kind == kind]
            listed = "\n".join(
                f"row {finding.row}" + (f": {finding.detail}" if finding.detail else "")
                for finding in of_kind
            )
            more = f"\n… and {count - len(of_kind):,} more" if count > len(of_kind) else ""
            summary = f"{kind} ({count:,}): {meaning}; {todo}"
            parts.append(details(summary, pre(listed + more)))
    return parts


def bad_rows(report: Report) -> str:
    """Every row that cannot be used, with its reason."""
    shown = "\n".join(str(row) for row in report.bad_rows[:SHOWN_BAD_ROWS])
    more = report.bad - SHOWN_BAD_ROWS
    return pre(shown + (f"\n… and {more:,} more" if more > 0 else "")) if shown else ""
