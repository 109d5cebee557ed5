"""Charts as inline SVG without scripts: line charts, and the dot chart of methods side by side.

Pure functions from figures to markup; colours are classes of the style sheet. A chart can be read
without colour: every line has a dash pattern and its name at its end. Its `<desc>` gives the same
in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gft_lite.report.html import text
from gft_lite.report.numbers import Point, downsample, percent, running_mean, short_percent, ticks


@dataclass(frozen=True)
class Scale:
    """Data → pixels on one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def svg(
    name: str, title: str, described: str, width: float, height: float, parts: Sequence[str]
) -> str:
    """The element around a drawing, with its title and description."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{name}-t {name}-d">\n'
        f'<title id="{name}-t">{text(title)}</title>\n'
        f'<desc id="{name}-d">{text(described)}</desc>\n'
        f"{''.join(parts)}</svg>\n"
    )


WIDTH, HEIGHT = 360, 214
LEFT, TOP, BOTTOM = 46, 12, 34
LABEL_GAP = 13  # between names at line ends
SMOOTHED_FROM = 40  # points; below that every value is shown as it is
MARKED_UP_TO = 24  # points; below that each has a dot
Format = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """One line. points: (x, y), finite, in order of x; colour: a class of report.css that also
    sets the dash pattern."""

    name: str
    points: tuple[Point, ...]
    colour: str


def line_chart(
    name: str,
    title: str,
    lines: Sequence[Line],
    *,
    say: Format,
    bounds: tuple[float | None, float | None] = (None, None),
    x_name: str = "step",
    smooth: bool = True,
) -> str:
    """An SVG line chart; nothing where no line has a point.

    Args:
        name: unique in the document; ids are made of it.
        title: what is drawn, for those who do not see it.
        lines: what to draw; empty ones are left out.
        say: writes a value of the y axis.
        bounds: values that the y axis includes, None if the data alone decides.
        x_name: what the x axis counts.
        smooth: draw long series as a running mean, with the single values faint behind it.
    """
    drawn = [line for line in lines if line.points]
    if not drawn:
        return ""
    named = len(drawn) > 1
    right = WIDTH - (16 + max(6.4 * len(line.name) for line in drawn) if named else 12)
    xs = [x for line in drawn for x, _ in line.points]
    x = Scale(*_range(min(xs), max(xs)), LEFT + 4, right)
    shown = [_shown(line, smooth) for line in drawn]
    ys = [v for points in shown for _, v in points] + [b for b in bounds if b is not None]
    if any(_is_smoothed(line, smooth) for line in drawn):
        ys += _without_outliers([v for line in drawn for _, v in line.points])
    y = Scale(*_padded(min(ys), max(ys), bounds), HEIGHT - BOTTOM, TOP)
    parts = [_y_axis(y, say, right), _x_axis(x, right, x_name)]
    for line, points in zip(drawn, shown, strict=True):
        if _is_smoothed(line, smooth):
            parts.append(_path(downsample(line.points), x, y, f"faint {line.colour}"))
        parts.append(_path(downsample(points), x, y, f"line {line.colour}"))
        dots = points if len(points) <= MARKED_UP_TO else points[-1:]
        parts += [_dot(x(px), y(py), line.colour) for px, py in dots]
    if named:
        ends = [(x(points[-1][0]), y(points[-1][1])) for points in shown]
        places = spread([end for _, end in ends])
        parts += [_name(*known) for known in zip(drawn, ends, places, strict=True)]
    described = "; ".join(_in_words(line, say, x_name) for line in drawn)
    return svg(name, title, described, WIDTH, HEIGHT, parts)


def spread(places: Sequence[float], gap: float = LABEL_GAP) -> list[float]:
    """Move label positions apart, as little as needed, without changing their order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    out = [places[i] for i in order]
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + gap)
    overflow = (out[-1] - (HEIGHT - BOTTOM)) if out else 0.0
    if overflow > 0:
        out[-1] -= overflow
        for i in range(len(out) - 2, -1, -1):
            out[i] = min(out[i], out[i + 1] - gap)
    back = dict(zip(order, out, strict=True))
    return [back[i] for i in range(len(places))]


# --- parts of a line chart ---


def _is_smoothed(line: Line, smooth: bool) -> bool:
    return smooth and len(line.points) >= SMOOTHED_FROM


def _shown(line: Line, smooth: bool) -> list[Point]:
    if not _is_smoothed(line, smooth):
        return list(line.points)
    return running_mean(line.points, window(len(line.points)))


def window(count: int) -> int:
    """Values in the running mean of a long series: an odd number, about a tenth of it."""
    return max(3, min(101, count // 10) | 1)


def _range(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 1, high + 1)


def _padded(
    low: float, high: float, bounds: tuple[float | None, float | None]
) -> tuple[float, float]:
    if high <= low:
        spare = abs(high) / 2 or 1.0
        return (low if bounds[0] == low else low - spare, high + spare)
    spare = (high - low) * 0.06
    return (
        low if bounds[0] is not None and low >= bounds[0] else low - spare,
        high if bounds[1] is not None and high <= bounds[1] else high + spare,
    )


def _without_outliers(values: Sequence[float]) -> list[float]:
    """The range of single values that the axis makes room for: all but the outer hundredth."""
    ordered = sorted(values)
    cut = len(ordered) // 100
    return [ordered[cut], ordered[-1 - cut]]


def _y_axis(y: Scale, say: Format, right: float) -> str:
    out = []
    for value in ticks(y.low, y.high):
        kind = "zero" if value == 0 else "rule"
        out.append(
            f'<path class="{kind}" d="M{LEFT} {y(value)}H{right:.1f}"/>'
            f'<text class="tick end" x="{LEFT - 6}" y="{y(value) + 4:.1f}">{say(value)}</text>\n'
        )
    return "".join(out)


def _x_axis(x: Scale, right: float, x_name: str) -> str:
    whole = [v for v in ticks(x.low, x.high) if v == int(v)] or [x.high]
    marks = "".join(
        f'<text class="tick middle" x="{x(v)}" y="{HEIGHT - BOTTOM + 16}">{v:,.0f}</text>\n'
        for v in whole
        if x.low <= v <= x.high
    )
    middle = (LEFT + right) / 2
    return f'{marks}<text class="axis" x="{middle:.1f}" y="{HEIGHT - 3}">{text(x_name)}</text>\n'


def _path(points: Sequence[Point], x: Scale, y: Scale, css: str) -> str:
    if len(points) < 2:
        return ""
    bottom, top = HEIGHT - BOTTOM, 0.0
    pixels = [(x(px), min(bottom, max(top, y(py)))) for px, py in points]
    start = f"M{pixels[0][0]:g} {pixels[0][1]:g}"
    rest = "".join(f"L{b[0]:g} {b[1]:g}" for a, b in pairwise(pixels) if a != b)
    return f'<path class="{css}" d="{start}{rest}"/>\n'


def _name(line: Line, end: tuple[float, float], place: float) -> str:
    """The name beside the line's end, with a short lead if it had to move."""
    return (
        f'<path class="lead {line.colour}" d="M{end[0]:g} {end[1]:g}L{end[0] + 9:g} {place:g}"/>'
        f'<text class="name" x="{end[0] + 12:.1f}" y="{place + 4:.1f}">{text(line.name)}</text>\n'
    )


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle class="dot {colour}" cx="{x}" cy="{y}" r="3"/>\n'


def _in_words(line: Line, say: Format, x_name: str) -> str:
    (x0, y0), (x1, y1) = line.points[0], line.points[-1]
    if len(line.points) == 1:
        return f"{line.name}: {say(y0)} at {x_name} {x0:g}"
    low, high = min(v for _, v in line.points), max(v for _, v in line.points)
    return (
        f"{line.name}: {say(y0)} at {x_name} {x0:.0f}, {say(y1)} at {x_name} {x1:.0f}, "
        f"between {say(low)} and {say(high)}"
    )


DOT_WIDTH, DOT_ROW, DOT_TOP, DOT_BOTTOM = 416, 40, 32, 28
DOT_LEFT, DOT_RIGHT = 104, 354


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
    height = DOT_TOP + DOT_ROW * len(drawn) + DOT_BOTTOM
    x = Scale(0.0, 1.0, DOT_LEFT, DOT_RIGHT)
    parts = [_dot_axis(x, height)]
    for i, pair in enumerate(drawn):
        parts.append(_dot_row(pair, x, DOT_TOP + DOT_ROW * (i + 0.5)))
    words = "; ".join(
        f"{p.name}: target {percent(p.target)}, old skill {percent(p.old_skill)}" for p in drawn
    )
    return svg(name, title, words, DOT_WIDTH, height, parts)


def _dot_axis(x: Scale, height: float) -> str:
    out = []
    for share in (0.0, 0.5, 1.0):
        out.append(
            f'<path class="rule" d="M{x(share)} {DOT_TOP}V{height - DOT_BOTTOM}"/>'
            f'<text class="tick middle" x="{x(share)}" y="{height - 8}">'
            f"{short_percent(share)}</text>\n"
        )
    out.append(
        f'<circle class="mark ink" cx="{DOT_LEFT + 4}" cy="11" r="5"/>'
        f'<text class="tick" x="{DOT_LEFT + 16}" y="15">target</text>'
        f'<path class="ring ink" d="{_diamond(DOT_LEFT + 80, 11)}"/>'
        f'<text class="tick" x="{DOT_LEFT + 92}" y="15">old skill</text>\n'
    )
    return "".join(out)


def _dot_row(pair: Pair, x: Scale, y: float) -> str:
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
