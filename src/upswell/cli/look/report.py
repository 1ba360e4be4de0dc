"""`upswell report`: was the objective held, what did it cost, what failed, why were there so many workers.

It reads the sums of hours in the journal, so that a month is answered as quickly as a minute.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from upswell.analysis.billing import HOUR
from upswell.analysis.period_totals import ROUNDING, PeriodTotals
from upswell.cli.cost import total_text, upload_text
from upswell.cli.journals import application, open_journal, parse_time
from upswell.cli.options import app_option, with_settings
from upswell.cli.text import counted, number
from upswell.errors import JournalError

if TYPE_CHECKING:
    from upswell.journal import JournalReader
    from upswell.settings import Settings

FAILURES, DECISIONS = ("failed", "dead"), ("scale out", "scale in", "hold")
_FOR_EVER = 10**9
MOST_REASONS = 8
"""Reasons printed of each list; JSON has all."""


class ReasonSum(Struct, frozen=True):
    """How often something happened for one reason."""

    what: str
    reason: str
    count: int


class AppReport(Struct, frozen=True, kw_only=True):
    """One application's period: the whole, its days and hours, and the reasons of what happened."""

    app_id: str
    slo: str
    begin: float
    end: float
    total: PeriodTotals
    days: list[PeriodTotals]
    hours: list[PeriodTotals]
    failures: list[ReasonSum]
    decisions: list[ReasonSum]
    price_per_worker_hour: float
    currency: str

    @property
    def not_observed(self) -> int:
        """Hours of the period in which no monitor ran, from the first recorded one on."""
        return round((self.end - self.total.begin) / HOUR) - self.total.hours

    def cost(self, total: PeriodTotals) -> str:
        """Return what a period cost: worker-hours, or their price."""
        return total_text(total.worker_seconds, self.price_per_worker_hour, self.currency)

    def cost_each(self) -> str:
        """Return the cost of the uploads in time; empty where there is none."""
        total = self.total
        if not total.in_time or not total.worker_seconds:
            return ""
        return upload_text(total.worker_seconds / total.in_time, self.price_per_worker_hour, self.currency)


@click.command("report")
@click.argument("journal", required=False)
@click.option(
    "--since",
    default="7d",
    show_default=True,
    metavar="TIME",
    help="Begin: 7d, 12h or 90min ago, or a time such as 2026-11-24T14:00 (local unless it has a zone).",
)
@click.option("--until", metavar="TIME", help="End, in the same form. Default: now.")
@app_option(required=False, help="Application. Default: all in the journal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--html", "as_html", is_flag=True, help="Print a page: one file, without requests to elsewhere."
)
@with_settings("report", quiet="warning")
def command(
    journal: str | None,
    *,
    since: str,
    until: str | None,
    app: str | None,
    settings: Settings,
    as_json: bool,
    as_html: bool,
) -> None:
    """Report whether the objective was held, what it cost and what failed, by hour and day.

    JOURNAL is its file, or a state folder (default: state_dir). Whole hours are reported.
    """
    if as_json and as_html:
        raise click.UsageError("--json and --html cannot be combined")
    reader = open_journal(journal, settings)
    now = time.time()
    begin = parse_time(since, now, now, "--since")
    end = now if until is None else parse_time(until, now, now, "--until")
    if begin >= end:
        raise JournalError(f"--since must be before --until, got {since} and {until or 'now'}")
    if begin < now < end:
        end = now  # hours to come are not hours without a monitor
    reports = read_report(reader, settings, begin, end, app)
    if as_json:
        click.echo(msgspec.json.encode([_as_json(one) for one in reports]).decode())
    elif as_html:
        from upswell.cli.look.report_page import page  # noqa: PLC0415 - only for --html

        click.echo(page(reports))
    else:
        from upswell.cli.look.report_table import print_report  # noqa: PLC0415 - only for terminals

        print_report(reports)


def read_report(
    reader: JournalReader, settings: Settings, begin: float, end: float, app: str | None
) -> list[AppReport]:
    """Return the reports of the named application, else of each of which something was recorded.

    Raises:
        JournalError: nothing was recorded of the period.
    """
    hours = int(begin // HOUR), int(-(-end // HOUR))
    totals = reader.totals("period", *hours, app)
    if not totals:
        raise JournalError(_nothing(reader, app))
    by_day, by_hour = reader.totals("day", *hours, app), reader.totals("hour", *hours, app)
    reasons = reader.reasons(*hours, app)
    found: list[AppReport] = []
    for total in totals:
        own, latest = settings.for_app(total.app_id), reader.latest(total.app_id)
        mine = [ReasonSum(what, why, count) for name, what, why, count in reasons if name == total.app_id]
        found.append(
            AppReport(
                app_id=total.app_id,
                slo=str(latest.snapshot.slo) if latest else own.slo,
                begin=hours[0] * HOUR,
                end=hours[1] * HOUR,
                total=total,
                days=[day for day in by_day if day.app_id == total.app_id],
                hours=[hour for hour in by_hour if hour.app_id == total.app_id],
                failures=[one for one in mine if one.what in FAILURES],
                decisions=[one for one in mine if one.what in DECISIONS],
                price_per_worker_hour=own.price_per_worker_hour,
                currency=own.currency,
            )
        )
    return found


def _nothing(reader: JournalReader, app: str | None) -> str:
    if app is not None:
        application(reader, app)  # raises where there is none of that name
    all_of_it = reader.totals("period", 0, _FOR_EVER, app)
    if all_of_it:
        begin, end = min(one.begin for one in all_of_it), max(one.end for one in all_of_it)
        return f"nothing is recorded of this period; the journal has {hour_of(begin)} to {hour_of(end)}"
    return "nothing is recorded yet; what an earlier version recorded counts once a monitor has started"


def headline(report: AppReport) -> str:
    """Return in words whether the objective was held."""
    held = {True: "held", False: "MISSED", None: "no uploads"}[report.total.held]
    return f"target {report.slo} {held}"


def facts(report: AppReport) -> list[tuple[str, str]]:
    """Return the period's figures, each with its name."""
    total = report.total
    found = [("uploads", _uploads(total))]
    if total.budget_left is not None:
        left = f"{total.budget_left:.0%} left" if total.budget_left >= 0 else "overdrawn"
        used = f"{number(total.missed)} late or dead, {number(int(total.allowed + ROUNDING))} allowed"
        found.append(("error budget", f"{left}: {used}"))
    known = [hour for hour in report.hours if hour.held is not None]
    if known:
        held = sum(hour.held is True for hour in known)
        found.append(("hours", f"target held in {number(held)} of {number(len(known))} with uploads"))
    worker_hours = f"{total.worker_seconds / HOUR:,.2f} worker-hours"
    priced = f"{report.cost(total)}; " if report.price_per_worker_hour > 0 else ""
    each = f", {report.cost_each()} in time" if report.cost_each() else ""
    found.append(("cost", f"{priced}{worker_hours}{each}"))
    peak = f"at most {counted(total.peak_workers, 'worker')} at once, {counted(total.scalings, 'change')}"
    found.append(("workers", peak))
    unknown = [f"nothing before {hour_of(total.begin)}"] if total.begin > report.begin else []
    if report.not_observed > 0:
        unknown.append(f"{counted(report.not_observed, 'hour')} without a monitor")
    if unknown:
        found.append(("not recorded", ", ".join(unknown)))
    return found


def _uploads(total: PeriodTotals) -> str:
    if total.attainment is None:
        return "none ended"
    return (
        f"{number(total.ended)}, {share(total.attainment)} in time, {number(total.late)} late, "
        f"{number(total.dead)} dead; {counted(total.failed, 'failed attempt')}"
    )


def day_of(at: float) -> str:
    """Return the local day of an instant."""
    return time.strftime("%a %Y-%m-%d", time.localtime(at))


def hour_of(at: float) -> str:
    """Return the local day and hour of an instant."""
    return time.strftime("%a %Y-%m-%d %H:%M", time.localtime(at))


def share(value: float | None) -> str:
    """Return a share as per cent, of which 100 % means all and none is rounded up to it.

    >>> share(1.0), share(0.99999), share(0.97123), share(None)
    ('100%', '99.99%', '97.12%', '-')
    """
    if value is None:
        return "-"
    return "100%" if value == 1 else f"{int(value * 10_000) / 100:.2f}%"


def _as_json(report: AppReport) -> dict[str, Any]:
    return {
        "app_id": report.app_id,
        "slo": report.slo,
        "begin": report.begin,
        "end": report.end,
        "hours_not_observed": report.not_observed,
        "price_per_worker_hour": report.price_per_worker_hour or None,
        "currency": report.currency if report.price_per_worker_hour else None,
        "total": _totals_json(report.total, report),
        "days": [_totals_json(day, report) for day in report.days],
        "hours": [_totals_json(hour, report) for hour in report.hours],
        "failures": report.failures,
        "decisions": report.decisions,
    }


def _totals_json(total: PeriodTotals, report: AppReport) -> dict[str, Any]:
    priced = report.price_per_worker_hour > 0
    told = {name: value for name, value in asdict(total).items() if name != "app_id"}
    return {
        **told,
        "late": total.late,
        "attainment": total.attainment,
        "held": total.held,
        "error_budget_left": total.budget_left,
        "worker_hours": total.worker_seconds / HOUR,
        "price": total.worker_seconds / HOUR * report.price_per_worker_hour if priced else None,
    }
