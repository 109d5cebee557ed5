"""A dot chart: one row a method, what it learned and what it kept, on one axis from 0 to 100 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gft_lite.report.drawing import Scale, svg
from gft_lite.report.html import text
from gft_lite.report.numbers import percent, short_percent

WIDTH, ROW, TOP, BOTTOM = 416, 40, 32, 28
LEFT, RIGHT = 104, 354


@dataclass(frozen=True)
class Pair:
    """One row: shares in [0, 1], None where unknown."""

    name: str
    colour: str
    target: float | None
    old_skill: float | None


def dot_chart(name: str, title: str, pairs: Sequence[Pair]) -> str:
    """An SVG dot chart; nothing where nothing was measured."""
    drawn = [p for p in pairs if p.target is not None or p.old_skill is not None]
    if not drawn:
        return ""
    height = TOP + ROW * len(drawn) + BOTTOM
    x = Scale(0.0, 1.0, LEFT, RIGHT)
    parts = [_axis(x, height)]
    for i, pair in enumerate(drawn):
        parts.append(_row(pair, x, TOP + ROW * (i + 0.5)))
    words = "; ".join(
        f"{p.name}: target {percent(p.target)}, old skill {percent(p.old_skill)}" for p in drawn
    )
    return svg(name, title, words, WIDTH, height, parts)


def _axis(x: Scale, height: float) -> str:
    out = []
    for share in (0.0, 0.5, 1.0):
        out.append(
            f'<path class="rule" d="M{x(share)} {TOP}V{height - BOTTOM}"/>'
            f'<text class="tick middle" x="{x(share)}" y="{height - 8}">'
            f"{short_percent(share)}</text>\n"
        )
    out.append(
        f'<circle class="mark ink" cx="{LEFT + 4}" cy="11" r="5"/>'
        f'<text class="tick" x="{LEFT + 16}" y="15">target</text>'
        f'<path class="ring ink" d="{_diamond(LEFT + 80, 11)}"/>'
        f'<text class="tick" x="{LEFT + 92}" y="15">old skill</text>\n'
    )
    return "".join(out)


def _row(pair: Pair, x: Scale, y: float) -> str:
    places = {"mark": pair.target, "ring": pair.old_skill}
    known = {kind: share for kind, share in places.items() if share is not None}
    low, high = min(known.values()), max(known.values())
    out = [
        f'<text class="row" x="0" y="{y + 5}">{text(pair.name)}</text>'
        f'<path class="link {pair.colour}" d="M{x(low)} {y}H{x(high)}"/>'
    ]
    for kind, share in known.items():
        shape = (
            f'<circle class="mark {pair.colour}" cx="{x(share)}" cy="{y}" r="6"/>'
            if kind == "mark"
            else f'<path class="ring {pair.colour}" d="{_diamond(x(share), y)}"/>'
        )
        left = len(known) > 1 and share == low and (low < high or kind == "mark")
        place, side = (x(share) - 12, "end") if left else (x(share) + 12, "start")
        out.append(
            f'{shape}<text class="value {side}" x="{place:.1f}" y="{y + 4}">'
            f"{percent(share)}</text>\n"
        )
    return "".join(out)


def _diamond(x: float, y: float, size: float = 7) -> str:
    return f"M{x} {y - size}L{x + size} {y}L{x} {y + size}L{x - size} {y}Z"
