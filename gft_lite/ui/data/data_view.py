"""A data file as markup: the report, its lengths, rendered examples, and the dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gft_lite.data import Lengths, Report
from gft_lite.report.charts import svg
from gft_lite.report.data import bad_rows, columns, counts, findings, reading
from gft_lite.report.html import details, figure, grid, notes, tiles
from gft_lite.report.numbers import percent
from gft_lite.ui.html import styled, text

WIDTH, HEIGHT, BASE = 300, 120, 96
PART_NAMES = {"prompt": "Prompts", "expert": "Expert answers", "teacher": "Teacher answers"}
CSS = {"prompt": "c-1", "expert": "c-expert", "teacher": "c-teacher"}


def report_view(report: Report) -> str:
    """What was recognised, and every row that is bad or doubtful."""
    found = report.recognised
    bad, doubts = bad_rows(report), findings(report)
    return styled(
        f"<h3>{report.usable:,} of {report.rows:,} rows can be used</h3>",
        f'<p class="meta">Read as <b>{text(found.format)}</b> ({text(found.kind)}): '
        f"{text(found.why)}.</p>",
        counts(report),
        f'<p class="meta">{text(". ".join(reading(report)))}.</p>',
        _details(f"Rows that cannot be used ({report.bad:,})", bad),
        *doubts,
        _details("What stands in which column", columns(report)),
        grid([histogram(part, report.characters[part]) for part in PART_NAMES]),
    )


def histogram(part: str, lengths: Lengths) -> str:
    """How long the texts of one part are; nothing where there are none."""
    if not lengths.count or not lengths.bins:
        return ""
    most, wide = max(lengths.bins), WIDTH / len(lengths.bins)
    bars = "".join(
        f'<rect class="bar-of {CSS[part]}" x="{i * wide:.1f}" y="{BASE - BASE * n / most:.1f}" '
        f'width="{max(1.0, wide - 1):.1f}" height="{BASE * n / most:.1f}"/>'
        for i, n in enumerate(lengths.bins)
    )
    ends = (
        f'<path class="zero" d="M0 {BASE}H{WIDTH}"/>'
        f'<text class="tick" x="0" y="{BASE + 16}">{lengths.shortest:,}</text>'
        f'<text class="tick end" x="{WIDTH}" y="{BASE + 16}">{lengths.p99:,}</text>'
    )
    title = f"{PART_NAMES[part]}, characters"
    said = (
        f"{lengths.count:,} texts: half have at most {lengths.median:,} characters, nine of ten at "
        f"most {lengths.p90:,}, the longest {lengths.longest:,}."
    )
    return figure(title, svg(f"hist-{part}", title, said, WIDTH, HEIGHT, [bars, ends]), said)


def examples_view(previews: Sequence[Mapping[str, Any]], model: str) -> str:
    """One demonstration of each row as the model will see it, the trained part marked."""
    shown: dict[int, Mapping[str, Any]] = {}
    for each in previews:
        shown.setdefault(each["row"], each)
    model = "the demo model" if model == "tiny" else model
    articles = "".join(
        f'<article class="rendered"><p class="meta">Row {each["row"]} · '
        f"{each['prompt_tokens']:,} prompt tokens, <b>{each['response_tokens']:,} trained</b></p>"
        f'<p class="tokens" dir="auto"><span class="given">{text(each["prompt"])}</span>'
        f'<mark class="trained">{text(each["response"])}</mark></p></article>'
        for each in shown.values()
    )
    return styled(
        f"<h3>As {text(model)} will read them</h3>"
        '<p class="legend">The chat template is applied. Only the <mark class="trained">marked '
        "tokens</mark> are trained on; the rest is read.</p>",
        f'<div class="rendered-list">{articles}</div>',
    )


def dry_run_view(found: Mapping[str, Any], reward: str) -> str:
    """What demonstrations earn, experts that fail, and groups without contrast."""
    expert, teacher, groups = found["expert"], found["teacher"], found["groups"]
    flat = found["equal"] + found["alone"]
    items = [(f"{name} right", *_right(tally)) for name, tally in _sources(expert, teacher)]
    items += [
        ("Groups with contrast", f"{found['contrast']:,}", f"of {groups:,}, by demonstrations"),
        ("Degenerate so far", f"{flat:,}", "until self responses differ"),
    ]
    failed = "".join(
        f'<li><p class="meta">Row {each["row"]} · expected <b>{text(each["answer"])}</b>'
        f'{_verdict(each["verdict"])}</p><p class="said">{text(each["question"])}</p>'
        f'<p class="tokens">… {text(each["end"])}</p></li>'
        for each in found["failed"]
    )
    more = found["failing"] - len(found["failed"])
    rest = f'<p class="more">… and {more:,} more</p>' if more > 0 else ""
    return styled(
        f"<h3>What the reward “{text(reward)}” says</h3>",
        tiles(items),
        notes(_remarks(found)),
        _details(
            f"Experts that their own verifier gives nothing ({found['failing']:,})",
            f'<ul class="failed">{failed}</ul>{rest}' if failed else "",
        ),
        _details(f"Rows the reward cannot use ({found['unusable']:,})", notes(found["complaints"])),
    )


def _sources(
    expert: Mapping[str, Any], teacher: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any]]]:
    pairs = (("Experts", expert), ("Teachers", teacher))
    return [(name, tally) for name, tally in pairs if tally["scored"]]


def _right(tally: Mapping[str, Any]) -> tuple[str, str]:
    return percent(tally["full"] / tally["scored"]), f"of {tally['scored']:,}"


def _remarks(found: Mapping[str, Any]) -> list[str]:
    out = []
    expert, groups = found["expert"], found["groups"]
    if expert["scored"] and found["failing"] > expert["scored"] / 2:
        out.append(
            "Most experts earn nothing. Check that the reward looks for the form in which the "
            "data answers, or choose another reward."
        )
    elif found["failing"]:
        out.append(
            f"{found['failing']:,} experts are wrong by this reward: group training learns away "
            "from them, plain imitation would copy them."
        )
    if groups and found["alone"] == groups:
        out.append(
            "Every prompt has one demonstration at most, so contrast comes from the model's own "
            "answers. That is the usual case; teachers help where the model never succeeds."
        )
    return out


def _verdict(verdict: str) -> str:
    words = {"unparsed": "no answer found in it", "timeout": "took too long to check"}
    return f" · {words[verdict]}" if verdict in words else ""


def _details(summary: str, html: str) -> str:
    return details(summary, html) if html else ""
