"""Markup of the Compare tab, made from the events of `gft_lite.model_server`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from gft_lite.report.html import Markup, render
from gft_lite.report.numbers import at_k, figure, percent

Column = Mapping[str, Any]


@dataclass
class Answers:
    """The answers of all columns to one prompt, as far as they have arrived."""

    columns: list[Column] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    texts: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    scores: list[Mapping[str, Any]] = field(default_factory=list)
    stopped: bool = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Add the content of one event."""
        match event["say"]:
            case "columns":
                self.columns, self.remarks = event["columns"], event["remarks"]
            case "text":
                self.texts[event["column"]] = event
            case "scores":
                self.scores = event["scores"]
            case "stopped":
                self.stopped = True

    def html(self) -> Markup:
        """Columns side by side, one below the other on a phone."""
        return render(
            "ui/answers.html",
            columns=self.columns,
            remarks=self.remarks,
            texts=self.texts,
            scores=self.scores,
            stopped=self.stopped,
            figure=figure,
        )


def scores_view(scored: Mapping[str, Any], left_out: Sequence[str] = ()) -> Markup:
    """The scores on a file: warnings, shares with intervals, differences, answers."""
    figures: Mapping[str, Any] = next((c["figures"] for c in scored["columns"] if c["figures"]), {})
    shares = [("greedy_accuracy", "Greedy")]
    if k := figures.get("k", 0):
        temperature = figures.get("temperature")
        shares += [(f"{name}_at_k", at_k(name, k, temperature)) for name in ("mean", "pass")]
    return render(
        "ui/scores.html",
        scored=scored,
        left_out=left_out,
        shares=shares,
        figure=figure,
        percent=percent,
        shorten=shorten,
    )
