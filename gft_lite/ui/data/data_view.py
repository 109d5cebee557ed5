"""Markup of a data file: report, length histograms, rendered examples, and the dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gft_lite.data import Lengths, Report
from gft_lite.report.charts import svg
from gft_lite.report.data import bad_rows, columns, counts, findings, reading
from gft_lite.report.html import Markup, figure, render
from gft_lite.report.numbers import percent

WIDTH, HEIGHT, BASE = 300, 120, 96
PART_NAMES = {"prompt": "Prompts", "expert": "Expert answers", "teacher": "Teacher answers"}
CSS = {"prompt": "c-1", "expert": "c-expert", "teacher": "c-teacher"}
VERDICTS = {"unparsed": "no answer found in it", "timeout": "took too long to check"}


def report_view(report: Report) -> Markup:
    """How the file was read, and every row that is bad or doubtful."""
    return render(
        "ui/data_report.html",
        report=report,
        counts=Markup(counts(report)),
        reading=reading(report),
        bad_rows=Markup(bad_rows(report)),
        findings=[Markup(finding) for finding in findings(report)],
        columns=Markup(columns(report)),
        histograms=[Markup(histogram(part, report.characters[part])) for part in PART_NAMES],
    )


def histogram(part: str, lengths: Lengths) -> str:
    """The lengths of the texts of one part, in characters; empty if there are no texts."""
    if not lengths.count or not lengths.bins:
        return ""
    bar_width = WIDTH / len(lengths.bins)
    scale = BASE / max(lengths.bins)  # pixels per text
    drawing = render(
        "ui/histogram.html",
        bars=[
            (i * bar_width, BASE - scale * n, max(1.0, bar_width - 1), scale * n)
            for i, n in enumerate(lengths.bins)
        ],
        css=CSS[part],
        base=BASE,
        full_width=WIDTH,
        shortest=lengths.shortest,
        p99=lengths.p99,
    )
    title = f"{PART_NAMES[part]}, characters"
    caption = (
        f"{lengths.count:,} texts: half have at most {lengths.median:,} characters, nine of ten at "
        f"most {lengths.p90:,}, the longest {lengths.longest:,}."
    )
    return figure(title, svg(f"hist-{part}", title, caption, WIDTH, HEIGHT, [drawing]), caption)


def examples_view(previews: Sequence[Mapping[str, Any]], model: str) -> Markup:
    """The first demonstration of each row with its chat template, the trained part marked."""
    examples: dict[int, Mapping[str, Any]] = {}
    for preview in previews:
        examples.setdefault(preview["row"], preview)
    model = "the demo model" if model == "tiny" else model
    return render("ui/examples.html", model=model, examples=list(examples.values()))


def dry_run_view(dry_run: Mapping[str, Any], reward: str) -> Markup:
    """The rewards of the demonstrations, experts that fail, and groups without contrast."""
    degenerate = dry_run["equal"] + dry_run["alone"]
    tiles = [
        (f"{name} right", percent(tally["full"] / tally["scored"]), f"of {tally['scored']:,}")
        for name, tally in (("Experts", dry_run["expert"]), ("Teachers", dry_run["teacher"]))
        if tally["scored"]
    ]
    groups = f"of {dry_run['groups']:,}, by demonstrations"
    tiles += [
        ("Groups with contrast", f"{dry_run['contrast']:,}", groups),
        ("Degenerate so far", f"{degenerate:,}", "until self responses differ"),
    ]
    return render(
        "ui/dry_run.html",
        dry_run=dry_run,
        reward=reward,
        tiles=tiles,
        remarks=_remarks(dry_run),
        verdicts=VERDICTS,
    )


def _remarks(dry_run: Mapping[str, Any]) -> list[str]:
    remarks = []
    expert, groups = dry_run["expert"], dry_run["groups"]
    if expert["scored"] and dry_run["failing"] > expert["scored"] / 2:
        remarks.append(
            "Most experts get no reward. Check that the reward expects the answer in the form that "
            "the data has, or choose another reward."
        )
    elif dry_run["failing"]:
        remarks.append(
            f"{dry_run['failing']:,} experts are wrong by this reward: group training learns away "
            "from them, plain imitation would copy them."
        )
    if groups and dry_run["alone"] == groups:
        remarks.append(
            "Every prompt has one demonstration at most, so contrast comes from self responses. "
            "That is the usual case; teachers help if the model never succeeds."
        )
    return remarks
