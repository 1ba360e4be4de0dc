"""A picture as text: shapes on a canvas, and axes that turn values into places. No library is needed.

In: numbers and colours. Out: SVG. It does not know what the numbers mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Point = tuple[float, float]

INK, FAINT, GRID = "#1f2933", "#66727f", "#e4e8ec"
CHARACTER = 6.4
"""Width of a character at the size of labels, about."""


class Axis(Struct, frozen=True, kw_only=True):
    """Values from `low` to `high` on pixels from `begin` to `end`, in equal steps or (`log`) equal ratios."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; what lies outside is moved to the end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)


def even_ticks(low: float, high: float, about: int = 6, units: Sequence[float] = (1, 2, 5)) -> list[float]:
    """Return round values from `low` to `high`, about so many: a unit times a power of ten apart."""
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = min((unit * power * ten for ten in (1, 10) for unit in units), key=lambda s: abs(s - rough))
    return [step * n for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def ratio_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between, or only the powers where those are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    units = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)  # noqa: PLR2004 - more would touch
    return [
        unit * 10.0**d
        for d in decades
        for unit in units
        if low <= unit * 10.0**d * (1 + 1e-9) <= high * 1.000001
    ]


class Canvas:
    """Collects shapes; `text()` is the file."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._width, self._height, self._title = width, height, title
        self._shapes: list[str] = []

    def line(
        self, start: Point, end: Point, *, colour: str = GRID, width: float = 1.0, dashes: str = ""
    ) -> None:
        """Draw a straight line."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._shapes.append(
            f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
            f'stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
        )

    def path(self, points: Sequence[Point], *, colour: str, width: float = 1.8) -> None:
        """Draw a line through points."""
        self._shapes.append(
            f'<polyline points="{_places(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            'stroke-linejoin="round"/>'
        )

    def area(self, points: Sequence[Point], *, colour: str) -> None:
        """Fill a polygon."""
        self._shapes.append(f'<polygon points="{_places(points)}" fill="{colour}"/>')

    def box(self, corner: Point, width: float, height: float, *, colour: str) -> None:
        """Fill a rectangle."""
        place = f'x="{corner[0]:.1f}" y="{corner[1]:.1f}"'
        self._shapes.append(f'<rect {place} width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def dot(self, at: Point, *, colour: str, radius: float = 5.0, hollow: bool = False) -> None:
        """Draw a disc, or (`hollow`) a ring."""
        fill = f'fill="white" stroke="{colour}" stroke-width="2.5"' if hollow else f'fill="{colour}"'
        self._shapes.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" {fill}/>')

    def label(
        self,
        at: Point,
        text: str,
        *,
        anchor: str = "start",
        colour: str = INK,
        size: float = 12.0,
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """Write a text; `anchor` is start, middle or end; `turned` reads upwards."""
        weight = ' font-weight="600"' if bold else ""
        turn = f' transform="rotate(-90 {at[0]:.1f} {at[1]:.1f})"' if turned else ""
        self._shapes.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" fill="{colour}" '
            f'font-size="{size:g}"{weight}{turn}>{escape(text)}</text>'
        )

    def text(self) -> str:
        """Return the picture as SVG."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self._width:g}" height="{self._height:g}" '
            f'viewBox="0 0 {self._width:g} {self._height:g}" '
            'font-family="system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif">\n'
            f"<title>{escape(self._title)}</title>\n"
            f'<rect width="{self._width:g}" height="{self._height:g}" fill="white"/>\n'
            + "\n".join(self._shapes)
            + "\n</svg>\n"
        )


class Panel:
    """A titled rectangle with two axes, a grid and a legend to its right."""

    def __init__(self, canvas: Canvas, title: str, x: Axis, y: Axis) -> None:
        self.canvas, self.x, self.y = canvas, x, y
        self._legend = 0
        canvas.label((x.begin, y.end - 16), title, size=14, bold=True)

    def grid(
        self,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        *,
        x_text: Callable[[float], str],
        y_text: Callable[[float], str],
        x_title: str,
        y_title: str,
    ) -> None:
        """Draw grid lines and what they stand for."""
        x, y, canvas = self.x, self.y, self.canvas
        for tick in x_ticks:
            canvas.line((x(tick), y.begin), (x(tick), y.end))
            canvas.label((x(tick), y.begin + 17), x_text(tick), anchor="middle", colour=FAINT)
        for tick in y_ticks:
            canvas.line((x.begin, y(tick)), (x.end, y(tick)))
            canvas.label((x.begin - 8, y(tick) + 4), y_text(tick), anchor="end", colour=FAINT)
        canvas.label(((x.begin + x.end) / 2, y.begin + 36), x_title, anchor="middle", colour=FAINT)
        canvas.label(
            (x.begin - 58, (y.begin + y.end) / 2), y_title, anchor="middle", colour=FAINT, turned=True
        )

    def name(self, text: str, colour: str, *, filled: bool = False) -> None:
        """Add a line to the legend."""
        at = self.y.end + 8 + 19 * self._legend
        self._legend += 1
        left = self.x.end + 16
        if filled:
            self.canvas.box((left, at - 7), 18, 10, colour=colour)
        else:
            self.canvas.line((left, at - 2), (left + 18, at - 2), colour=colour, width=2.5)
        self.canvas.label((left + 25, at + 2), text)


def _places(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
