"""What every drawing needs: a scale, and an element with a title and a description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gft_lite.report.html import text


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
