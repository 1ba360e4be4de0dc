"""A report for a terminal: figures, days or hours, reasons. What was missed is red, and said in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from upswell.cli.look.report import MOST_REASONS, day_of, facts, headline, hour_of, share
from upswell.cli.look.status_table import WRONG, console, indented
from upswell.cli.text import number
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from upswell.analysis.period_totals import PeriodTotals
    from upswell.cli.look.report import AppReport, ReasonSum

HOURS_AT_MOST = 48
"""A period of more hours is shown by day, and of its hours those that missed the target."""
MISSED_AT_MOST = 12
HELD = {True: "held", False: "MISSED", None: "-"}


def print_report(reports: list[AppReport]) -> None:
    """Print reports, one below the other."""
    out = console()
    for report in reports:
        for part in _parts(report):
            out.print(part)


def _parts(report: AppReport) -> Iterator[RenderableType]:
    style = WRONG if report.total.held is False else "bold"
    yield Text.assemble((f"{report.app_id}: ", "bold"), (headline(report), style))
    yield indented(Text(f"{hour_of(report.begin)} to {hour_of(report.end)}"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts(report):
        grid.add_row(name, Text(value, WRONG if value.startswith("overdrawn") else ""))
    yield indented(grid)
    if len(report.hours) <= HOURS_AT_MOST:
        yield _periods(report, report.hours, "hour")
    else:
        yield _periods(report, report.days, "day")
        missed = [hour for hour in report.hours if hour.held is False]
        if missed:
            yield _periods(report, missed[-MISSED_AT_MOST:], "missed hour")
            if len(missed) > MISSED_AT_MOST:
                more = len(missed) - MISSED_AT_MOST
                yield indented(Text(f"and {more} earlier ones: --html or --json shows all"))
    for title, reasons in (("failures", report.failures), ("decisions", report.decisions)):
        if reasons:
            yield _reasons(title, reasons)
    yield Text("")


def _periods(report: AppReport, periods: list[PeriodTotals], title: str) -> Padding:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, no_wrap=True)
    table.add_column("target", no_wrap=True)
    for name in ("in time", "uploads", "late", "dead", "cost", "peak"):
        table.add_column(name, justify="right", no_wrap=True)
    told = day_of if title == "day" else hour_of
    for period in periods:
        table.add_row(
            told(period.begin),
            Text(HELD[period.held], WRONG if period.held is False else ""),
            share(period.attainment),
            number(period.ended),
            number(period.late),
            Text(number(period.dead), WRONG if period.dead else ""),
            report.cost(period),
            number(period.peak_workers),
        )
    return Padding(table, (1, 0, 0, 2), expand=False)


def _reasons(title: str, reasons: list[ReasonSum]) -> Padding:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    most = sorted(reasons, key=lambda one: -one.count)
    for one in most[:MOST_REASONS]:
        table.add_row(one.what, number(one.count), Text(safe(one.reason)))
    if len(most) > MOST_REASONS:
        left = most[MOST_REASONS:]
        table.add_row(
            "others", number(sum(one.count for one in left)), f"{len(left)} more reasons: --json shows all"
        )
    return Padding(table, (1, 0, 0, 2), expand=False)
