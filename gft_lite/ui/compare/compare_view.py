"""What the Compare tab shows, as markup: columns with their proof, answers, figures.

Input are the events of `gft_lite.model_server`; every text in them goes through `text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from gft_lite.report.html import notes, section, table
from gft_lite.report.numbers import at_k, figure, percent
from gft_lite.ui.html import progress, styled, text

STYLE = f"<style>{Path(__file__).with_name('compare_columns.css').read_text('utf-8')}</style>"
LETTERS = "0ABCD"
SHARES = ("greedy_accuracy", "mean_at_k", "pass_at_k")

Column = Mapping[str, Any]


@dataclass
class Answers:
    """One prompt and what its columns have said so far."""

    columns: list[Column] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    texts: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    scores: list[Mapping[str, Any]] = field(default_factory=list)
    stopped: bool = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Learn from one event."""
        match event["say"]:
            case "columns":
                self.columns, self.remarks = event["columns"], event["remarks"]
            case "text":
                self.texts[event["column"]] = event
            case "scores":
                self.scores = event["scores"]
            case "stopped":
                self.stopped = True

    def html(self) -> str:
        """Columns side by side, one below the other on a phone."""
        cells = "".join(self._cell(i, column) for i, column in enumerate(self.columns))
        return styled(notes(self.remarks), f'<div class="columns">{cells}</div>')

    def _cell(self, i: int, column: Column) -> str:
        said = self.texts.get(i, {})
        ended = bool(said.get("ended")) or self.stopped
        state = ""
        if said.get("cut"):
            state = "Cut off at the longest answer."
        elif self.stopped and not said.get("ended"):
            state = "Stopped."
        return answer_cell(
            i,
            str(column["name"]),
            str(said.get("text", "")),
            proof=_proof(column),
            score=self.scores[i] if i < len(self.scores) else None,
            state=state,
            growing=not ended,
        )


def answer_cell(
    i: int,
    name: str,
    answer: str,
    *,
    proof: str = "",
    score: Mapping[str, Any] | None = None,
    state: str = "",
    growing: bool = False,
) -> str:
    """One column's answer. `proof` is finished markup, the rest plain text."""
    said = f'<p class="remark">{text(state)}</p>' if state else ""
    busy = ' aria-busy="true"' if growing else ""
    badge = mark(score) if score else ""
    return (
        f'<article class="m-{i}{" growing" if growing else ""}"{busy}>'
        f'<div class="top"><h3><i>{LETTERS[i]}</i>{text(name)}</h3>{badge}</div>'
        f'{proof}<pre tabindex="0">{text(answer)}</pre>{said}</article>'
    )


def mark(score: Mapping[str, Any]) -> str:
    """A reward as a badge: sign, figure and colour say the same."""
    value = float(score["value"])
    if score["verdict"] != "ok":
        words = {"unparsed": "no readable answer", "timeout": "checking took too long"}
        said = words.get(score["verdict"], "could not be checked")
        return f'<span class="verdict unread">? {said}</span>'
    kind, sign = ("right", "✓") if value >= 1 else ("wrong", "✗") if value <= 0 else ("partly", "~")
    return f'<span class="verdict {kind}">{sign} reward {value:.2f}</span>'


def figures(scored: Mapping[str, Any]) -> str:
    """Everything about a file: warnings, figures with intervals, differences, answers."""
    columns: Sequence[Column] = scored["columns"]
    return styled(
        notes(scored["remarks"]),
        section(
            f"Figures over {scored['prompts']:,} prompts",
            [f'<div class="figures">{_table(columns)}</div>'],
            "Shares of prompts solved, with 95 % intervals over prompts. Intervals that overlap "
            "widely may be chance.",
        ),
        section("Is the difference real?", [notes(scored["pairs"])] if scored["pairs"] else []),
        section(
            "Answers",
            [_asked(columns, row, i) for i, row in enumerate(scored["rows"])],
            "Greedy answers. Prompts on which the columns disagree most come first.",
        ),
    )


def working(sentence: str, share: float = 0.0) -> str:
    """What is being done, and how far it is."""
    bar = progress(share, sentence) if share else ""
    return styled(f'<p class="quiet" role="status">{text(sentence)}</p>', bar)


def quiet(sentences: Sequence[str]) -> str:
    """Remarks that are not warnings, or nothing."""
    items = "".join(f"<li>{text(s)}</li>" for s in sentences)
    return styled(f'<ul class="quiet">{items}</ul>') if items else ""


def _proof(column: Column) -> str:
    if column["adapter_sha256"] is None:
        said = "The model as it was before any training."
        return f'<p class="proof">{said}</p>'
    return (
        f'<p class="proof">Weights <code>{text(column["adapter_sha256"][:12])}</code> · logits '
        f"differ from the base by {figure(column['mean_logit_difference'])} on average, "
        f"{figure(column['max_logit_difference'])} at most</p>"
    )


def _table(columns: Sequence[Column]) -> str:
    some: Mapping[str, Any] = next((c["figures"] for c in columns if c["figures"]), {})
    shares = {"greedy_accuracy": "Greedy"}
    if k := some.get("k", 0):
        shares |= {f"{n}_at_k": at_k(n, k, some.get("temperature")) for n in ("mean", "pass")}
    retained = any(c["old_skill"] for c in columns)
    head = ["", *shares.values(), *(["Old skill, greedy"] if retained else [])]
    head += ["Moved from base", "Cut off", "Unreadable", "Weights", "Logit difference"]
    rows = []
    for i, column in enumerate(columns):
        found = column["figures"]
        row = [f'<span class="who m-{i}"><i>{LETTERS[i]}</i>{text(column["name"])}</span>']
        row += [_share(i, found, name) for name in shares]
        row += [_old_skill(i, column)] if retained else []
        row += [
            f"{_minus(column['kl_nats_per_token'])}<small>nats per token</small>" if i else "–",
            str(found["truncated"]),
            str(found["unparsed"]),
            f"<code>{text((column['adapter_sha256'] or '–')[:12])}</code>",
            f"{figure(column['mean_logit_difference'])}"
            f"<small>at most {figure(column['max_logit_difference'])}</small>"
            if i
            else "–",
        ]
        rows.append(row)
    return table("Figures of every column", head, rows)


def _minus(value: float) -> str:
    return f"{value:z.4f}".replace("-", "−")


def _share(i: int, found: Mapping[str, Any], name: str) -> str:
    """A share, its interval in figures, and both as a bar."""
    around = found["intervals"][name]
    low, high = 100 * around["low"], 100 * around["high"]
    return (
        f"{percent(found[name])}"
        f'<span class="span m-{i}" aria-hidden="true">'
        f'<i style="left:{low:.1f}%;width:{max(high - low, 0.5):.1f}%"></i>'
        f'<b style="left:{100 * found[name]:.1f}%"></b></span>'
        f"<small>{percent(around['low'])} to {percent(around['high'])}</small>"
    )


def _old_skill(i: int, column: Column) -> str:
    found = column["old_skill"]
    cell = _share(i, found, "greedy_accuracy")
    against = f"<small>against base: p = {column['old_skill_p_value']:.2g}</small>"
    return cell + (against if i else "")


def _chip(i: int, score: Mapping[str, Any]) -> str:
    """A column's letter and whether it was right."""
    value = float(score["value"])
    sign, said = ("✓", "right") if value >= 1 else ("✗", "wrong") if value <= 0 else ("~", "partly")
    return f'<span class="chip m-{i}" title="{said}"><i>{LETTERS[i]}</i>{sign}</span>'


def _asked(columns: Sequence[Column], row: Mapping[str, Any], place: int) -> str:
    chips = "".join(_chip(i, score) for i, score in enumerate(row["scores"]))
    cells = "".join(
        answer_cell(i, str(column["name"]), said, score=score)
        for i, (column, said, score) in enumerate(
            zip(columns, row["texts"], row["scores"], strict=True)
        )
    )
    expected = f'<p class="quiet">Expected: {text(row["answer"])}</p>' if row["answer"] else ""
    return (
        f'<details class="asked"{" open" if place == 0 else ""}>'
        f"<summary>{chips}{text(shorten(row['prompt'], 120, placeholder=' …'))}</summary>"
        f'<p class="prompt">{text(row["prompt"])}</p>{expected}'
        f'<div class="columns">{cells}</div></details>'
    )
