"""A report on data as text and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gft_lite.data.checks.columns import Column
from gft_lite.data.checks.report import Lengths, Report
from gft_lite.data.checks.warnings import KINDS, Finding
from gft_lite.data.formats.recognise import Recognition
from gft_lite.data.rows import BadRow

SHOWN_BAD_ROWS = 200
SHOWN_OF_A_KIND = 5


def report_json(report: Report) -> dict[str, object]:
    """The report as plain JSON values; every key is always there."""
    return asdict(report) | {"bad": report.bad}


def read_report(document: Mapping[str, Any]) -> Report:
    """The report that `report_json` made a document of."""
    plain = {key: value for key, value in document.items() if key != "bad"}
    found = plain["recognised"]
    tuples = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
    units = {
        unit: plain[unit] and {part: Lengths(**q) for part, q in plain[unit].items()}
        for unit in ("characters", "tokens")
    }
    lists = {
        key: tuple(kind(**each) for each in plain[key])
        for key, kind in (("bad_rows", BadRow), ("columns", Column), ("findings", Finding))
    }
    return Report(**plain | {"recognised": Recognition(**found | tuples)} | units | lists)


def report_text(report: Report) -> str:
    """The report for a terminal, bad rows and doubts by number."""
    found = report.recognised
    lines = [f"{report.path}: {found.kind}, read as '{found.format}'"]
    if found.meaning:
        lines.append(f"  meaning    {found.meaning}")
    lines.append(f"  because    {found.why}")
    if found.runner_up:
        lines.append(f"  runner-up  '{found.runner_up}': {found.runner_up_why}")
    lines += [f"  note       {note}" for note in found.notes]
    if found.unused:
        lines.append(f"  not used   {', '.join(found.unused)}")
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
    if report.scripts:
        shown = ", ".join(f"{name} {count:,}" for name, count in report.scripts.items())
        lines += ["", f"script of the prompts (not their language): {shown}"]
    if report.effort:
        shown = ", ".join(f"{name} {share:.0%}" for name, share in report.effort.items())
        lines.append(f"compute, roughly: {shown}")
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
    for part, found in parts.items():
        if found.count:
            values = (found.shortest, found.median, found.p90, found.p99, found.longest)
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
    judged = f", reward {report.judged}" if report.judged else ""
    if not report.counts:
        return ["", f"nothing doubtful found{judged}"]
    lines = ["", f"doubtful{judged}:"]
    for kind, (meaning, todo) in KINDS.items():
        count = report.counts.get(kind, 0)
        if not count:
            continue
        lines.append(f"  {kind} ({count:,}): {meaning}; {todo}")
        kept = [finding for finding in report.findings if finding.kind == kind][:SHOWN_OF_A_KIND]
        for finding in kept:
            lines.append(f"    row {finding.row}" + (f": {finding.detail}" * bool(finding.detail)))
        if count > len(kept):
            lines.append(f"    … and {count - len(kept):,} more")
    return lines
