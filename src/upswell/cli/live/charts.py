"""A row of numbers as bars in a few lines of text. Pure.

What is not known leaves its column empty; zero is the lowest bar. Above the lower of two numbers a bar is
shaded. A mark (an objective, a wish) is a dash over the bars that do not reach it, and a bar above it may
have another colour: all can be seen without colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    Numbers = Sequence[float | None]


class ChartStyle(Struct, frozen=True, kw_only=True):
    """How bars look: eighths from empty to full, full but shaded, the mark; and their colours."""

    eighths: str = " ▁▂▃▄▅▆▇█"
    shade: str = "▒"
    dash: str = "╌"
    bar: str = "cyan"
    over: str = ""
    mark: str = "yellow"

    def in_ascii(self) -> ChartStyle:
        """Return the same for a terminal that shows nothing else."""
        return ChartStyle(
            eighths=" ...:::##", shade=":", dash="-", bar=self.bar, over=self.over, mark=self.mark
        )


class Columns(Struct, frozen=True):
    """What is drawn, a number for each column: the bars, their lower part (None: all of it), the marks."""

    values: Numbers
    marks: Numbers
    lower: Numbers | None = None


def bars(columns: Columns, rows: int, top: float, style: ChartStyle) -> list[Text]:
    """Return `rows` lines, the highest first; `top` is what a full column stands for."""
    lines = [Text(no_wrap=True) for _ in range(rows)]
    lower = columns.lower or columns.values
    for value, low, mark in zip(columns.values, lower, columns.marks, strict=True):
        height = 0 if value is None else _eighths(value, rows, top)
        plain = 0 if low is None else _eighths(low, rows, top)
        marked = None if mark is None else min(rows - 1, _eighths(mark, rows, top) // 8)
        above = value is not None and mark is not None and value > mark
        colour = style.over if above and style.over else style.bar
        for row, line in enumerate(reversed(lines)):
            filled = min(8, max(0, height - 8 * row))
            if row == marked and filled == 0:
                line.append(style.dash, style.mark)
            elif filled == 8 and 8 * row >= plain:  # noqa: PLR2004 - eighths
                line.append(style.shade, colour)
            else:
                line.append(style.eighths[filled], colour)
    return lines


def _eighths(value: float, rows: int, top: float) -> int:
    """Return the height of a bar in eighths of a line; what is known is at least one high."""
    share = min(1.0, max(0.0, value / top)) if top > 0 else 0.0
    return max(1, round(share * rows * 8))
