"""The figures of the experiments as SVG files that stand alone, in the colours of the reports."""

from __future__ import annotations

from gft_lite.report.charts import Line
from gft_lite.report.html import stylesheet
from gft_lite.report.numbers import Point

CSS = stylesheet()
FONT = "svg { font-family: system-ui, sans-serif; font-size: 10.5px; background: var(--paper); }"


def standalone(svg: str) -> str:
    """An inline drawing as a file of its own: namespace and colours come along."""
    head, rest = svg.split(">", 1)
    style = f"<style>{CSS}{FONT}</style>"
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def line(name: str, colour: str, points: dict[float, float]) -> Line:
    """One line of a chart from x → y."""
    ordered: tuple[Point, ...] = tuple(sorted(points.items()))
    return Line(name, ordered, colour)
