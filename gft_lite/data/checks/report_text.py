"""A report on a data file as text for a terminal and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from gft_lite.data.checks.report import Column, Lengths, Report
from gft_lite.data.checks.warnings import KINDS, Finding
from gft_lite.data.formats.recognise import Recognition
from gft_lite.data.rows import BadRow

SHOWN_BAD_ROWS = 200
SHOWN_OF_A_KIND = 5


def report_json(report: Report) -> dict[str, object]:
    """The report as plain JSON values; every key is always present."""
    return asdict(report) | {"bad": report.bad}


def read_report(document: Mapping[str, Any]) -> Report:
    """The report of a document that `report_json` made; keys of older versions are ignored."""
    values = {each.name: document[each.name] for each in fields(Report)}
    recognised = document["recognised"]
    tuples = {key: tuple(value) for key, value in recognised.items() if isinstance(value, list)}
    for unit in ("characters", "tokens"):
        parts = document[unit]
        values[unit] = parts and {part: Lengths(**lengths) for part, lengths in parts.items()}
    for key, kind in (("bad_rows", BadRow), ("columns", Column), ("findings", Finding)):
        values[key] = tuple(kind(**each) for each in document[key])
    return Report(**values | {"recognised": Recognition(**recognised | tuples)})


def report_text(report: Report) -> str:
    """The report for a terminal; bad rows and warnings by row number."""
    recognised = report.recognised
    lines = [f"{report.path}: {recognised.kind}, read as '{recognised.format}'"]
    if recognised.meaning:
        lines.append(f"  meaning    {recognised.meaning}")
    lines.append(f"  because    {recognised.why}")
    if recognised.runner_up:
        lines.append(f"  runner-up  '{recognised.runner_up}': {recognised.runner_up_why}")
    lines += [f"  note       {note}" for note in recognised.notes]
    if recognised.unused:
        lines.append(f"  not used   {', '.join(recognised.unused)}")
    lines += [
        "",
        f"rows         {report.rows:>9,}   usable {report.usable:,}, bad {report.bad:,}",
        f"with expert  {report.with_expert:>9,}   {report.experts:,} expert responses",
        f"with teacher {report.with_teachers:>9,}   {report.teachers:,} teacher responses",
        f"with answer  {report.with_answer:>9,}",
        f"repeated     {report.repeated_prompts:>9,}   rows whose prompt an earlier row has",
        f"groups       {report.groups:>9,}   examples, rows with one prompt and answer together",
    ]
    lines += _table("characters", report.characters)
    if report.tokens is not None:
        lines += _table("tokens", report.tokens)
    lines += _columns(report)
    lines += _findings(report)
    if report.bad_rows:
        lines += ["", f"bad rows ({report.bad:,}):"]
        lines += [f"  {row}" for row in report.bad_rows[:SHOWN_BAD_ROWS]]
        if report.bad > SHOWN_BAD_ROWS:
            lines.append(f"  … and {report.bad - SHOWN_BAD_ROWS:,} more; --json lists all")
        lines.append(
            "Fix them, write a clean file with `gft-lite data fix`, or pass --skip-bad-rows when "
            "training to drop them."
        )
    return "\n".join(lines)


def _table(unit: str, parts: Mapping[str, Lengths]) -> list[str]:
    heads = ("shortest", "median", "p90", "p99", "longest")
    rows = ["", f"{unit:<12}" + "".join(f"{head:>10}" for head in heads)]
    for part, q in parts.items():
        if q.count:
            values = (q.shortest, q.median, q.p90, q.p99, q.longest)
            rows.append(f"{part:<12}" + "".join(f"{value:>10,}" for value in values))
    return rows if len(rows) > 2 else []


def _columns(report: Report) -> list[str]:
    if not report.columns:
        return []
    lines = ["", "columns      with a value   what stands there"]
    for column in report.columns:
        kinds = ", ".join(
            f"{kind} {count:,}" if len(column.kinds) > 1 else kind
            for kind, count in column.kinds.items()
        )
        longest = f", at most {column.longest:,} characters" if column.longest else ""
        lines.append(f"{column.name[:24]:<14}{column.filled:>11,}   {kinds or 'nothing'}{longest}")
    return lines


def _findings(report: Report) -> list[str]:
    reward = f", reward {report.judged}" if report.judged else ""
    if not report.counts:
        return ["", f"nothing doubtful found{reward}"]
    lines = ["", f"doubtful{reward}:"]
    for kind, (meaning, todo) in KINDS.items():
        count = report.counts.get(kind, 0)
        if not count:
            continue
        lines.append(f"  {kind} ({count:,}): {meaning}; {todo}")
        shown = [finding for finding in report.findings if finding.kind == kind][:SHOWN_OF_A_KIND]
        for finding in shown:
            lines.append(f"    row {finding.row}" + (f": {finding.detail}" * bool(finding.detail)))
        if count > len(shown):
            lines.append(f"    … and {count - len(shown):,} more")
    return lines
