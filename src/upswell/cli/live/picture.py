"""One application as lines of a given width and height. Pure: what comes in is shown, nothing is looked up.

From above: the title; response times with a chart against the objective; workers with a chart against what
was decided; further facts; what is wrong; the last decisions, the newest at the bottom; the keys. Where there
is less room the charts shrink first, then old decisions go. Who gives text from elsewhere makes it safe.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from rich.console import Group
from rich.text import Text

from upswell.cli.live.charts import ChartStyle, Columns, bars
from upswell.cli.live.history import PointHistory
from upswell.cli.text import number, seconds
from upswell.settings import Slo

if TYPE_CHECKING:
    from rich.console import RenderableType

    from upswell.analysis.snapshot import Percentiles

LABEL = 10
"""Columns of the labels, left of facts and charts."""
MOST_ROWS = (14, 8)
"""Lines of the two charts, at most; at least one."""
FEWEST_DECISIONS = 5
"""Lines that decisions have before the charts grow."""
WRONG = "bold red"


class Picture(Struct, kw_only=True):
    """What is to be drawn; texts are one line each, `decisions` have (when, what, style)."""

    title: str
    right: Text
    history: PointHistory
    slo: Slo | None
    now: float
    span: float
    holds: float
    response: Text
    workers: Text
    facts: Sequence[tuple[str, Text]] = ()
    problems: Sequence[Text] = ()
    decisions: Sequence[tuple[str, str, str]] = ()
    footer: str = ""


def drawn(picture: Picture, width: int, height: int, *, ascii_only: bool = False) -> RenderableType:
    """Return exactly `height` lines of at most `width` columns."""
    decisions = [line for decision in picture.decisions for line in _decision(decision, width)]
    problems = [line for problem in picture.problems for line in _folded(problem, width)]
    footer = [Text(picture.footer, "dim")] if picture.footer else []
    fixed = 3 + len(picture.facts) + len(problems) + len(footer)
    free = height - fixed
    wanted = min(len(decisions), FEWEST_DECISIONS)
    rows = _chart_rows(free - wanted)
    response, workers = _charts(picture, width, rows, ascii_only=ascii_only)
    lines = [
        _title(picture, width),
        _fact("response", picture.response),
        *response,
        _fact("workers", picture.workers),
        *workers,
        *(_fact(label, text) for label, text in picture.facts),
        *problems,
    ]
    room = height - len(lines) - len(footer)
    shown = decisions[-room:] if room > 0 else []
    lines += [*shown, *[Text()] * (room - len(shown)), *footer]
    return fitted(lines, width, height)


def fitted(lines: list[Text], width: int, height: int) -> Group:
    """Return lines that are cut where the terminal ends."""
    for line in lines[:height]:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return Group(*lines[:height])


def response_text(times: Percentiles | None) -> Text:
    """Return the response times of a window in words."""
    p50, p95 = (times.p50, times.p95) if times else (None, None)
    return Text(f"p50 {seconds(p50)}, p95 {seconds(p95)}")


def _chart_rows(free: int) -> tuple[int, int]:
    """Return the lines of the two charts where `free` are left for both."""
    second = max(1, min(MOST_ROWS[1], free * 2 // 5))
    return max(1, min(MOST_ROWS[0], free - second)), second


def _charts(
    picture: Picture, width: int, rows: tuple[int, int], *, ascii_only: bool
) -> tuple[list[Text], list[Text]]:
    count = max(1, width - LABEL)

    def columns(of: str) -> list[float | None]:
        return picture.history.columns(
            lambda point: getattr(point, of), count, picture.span, picture.now, picture.holds
        )

    p95, limit = columns("p95"), picture.slo.seconds if picture.slo else None
    top = max([value for value in p95 if value is not None], default=0.0)
    top = max(top, 1.25 * limit) if limit else top
    look = ChartStyle(bar="green", over=WRONG)
    spread = Columns(p95, [limit] * count, columns("p50"))
    response = bars(spread, rows[0], top, look.in_ascii() if ascii_only else look)
    workers, desired = columns("workers"), columns("desired")
    most = max([value for value in (*workers, *desired) if value is not None], default=0.0)
    # Workers that have what was decided need no mark over them.
    marks = [
        want if want and (run is None or run < want) else None
        for run, want in zip(workers, desired, strict=True)
    ]
    look = ChartStyle()
    running = bars(Columns(workers, marks), rows[1], max(1.0, most), look.in_ascii() if ascii_only else look)
    return _labelled(response, seconds(top)), _labelled(running, number(round(most)))


def _labelled(lines: list[Text], top: str) -> list[Text]:
    """Put the scale before a chart: what its full height stands for, and 0."""
    labels = [top, *[""] * (len(lines) - 2), "0"] if len(lines) > 1 else [top]
    return [
        Text.assemble((f"{label:>{LABEL - 1}} ", "dim"), line)
        for label, line in zip(labels, lines, strict=True)
    ]


def _title(picture: Picture, width: int) -> Text:
    gap = max(1, width - len(picture.title) - len(picture.right))
    return Text.assemble((picture.title, "bold"), " " * gap, picture.right)


def _fact(label: str, text: Text) -> Text:
    return Text.assemble((f"{label:<{LABEL}}", "bold"), text)


def _folded(text: Text, width: int) -> list[Text]:
    """Return a text in lines, indented from the second on."""
    lines = textwrap.wrap(text.plain, width, subsequent_indent="  ", break_on_hyphens=False)
    return [Text(line, text.style) for line in lines]


def _decision(decision: tuple[str, str, str], width: int) -> list[Text]:
    at, what, style = decision
    indent = " " * (len(at) + 2)
    lines = textwrap.wrap(
        f"{at}  {what}", max(width, len(indent) + 10), subsequent_indent=indent, break_on_hyphens=False
    )
    return [Text(line, style) for line in lines]
