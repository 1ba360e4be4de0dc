"""The payloads of the page: each a whole state, made from the journal in a thread and from the broker.

In: an application, or what the list of them is sorted by. Out: dictionaries for JSON. What changes slowly is
read seldom and shared by all pages.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from upswell.analysis.billing import HOUR
from upswell.dashboard.present import budget, cost, decision_line, decision_whole, notices, present_state
from upswell.errors import JournalError
from upswell.journal.points import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.dashboard.lecture import Lecture
    from upswell.dashboard.live import Live
    from upswell.dashboard.page_journal import PageJournal
    from upswell.journal import JournalEntry
    from upswell.settings import Settings

T = TypeVar("T")

TAIL_SECONDS = 20.0
SLOW_SECONDS = 5.0
"""Sums of hours and the small charts of the list are read so often."""
SPARK_SECONDS = 1800.0
SPARKS_SECONDS = 15.0
LEAST_LATE_SECONDS = 10.0
LATE_INTERVALS = 4
MOST_LISTED = 200
WEEK_HOURS = 7 * 24
_REMEMBERED = 2000


class Remembered:
    """Values that may be a little old."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._known: dict[Any, tuple[float, Any]] = {}

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """Return the value of a key, made anew where it is too old."""
        now = self._monotonic()
        at, value = self._known.get(key, (-self._seconds, None))
        if now - at >= self._seconds:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            value = make()
            self._known[key] = (now, value)
        return value


class Views:
    """What the pages are told."""

    def __init__(
        self, settings: Settings, journal: PageJournal, live: Live, lecture: Lecture | None = None
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._live = live
        self._lecture = lecture
        self._slow = Remembered(SLOW_SECONDS)
        self._sparks = Remembered(SPARKS_SECONDS)
        self._rounds: dict[str, tuple[float, dict[str, Any]]] = {}
        self._late_after = max(LEAST_LATE_SECONDS, LATE_INTERVALS * settings.decision_interval)

    async def application(self, app: str) -> dict[str, Any]:
        """Return the present state of one application."""
        depth, workers = await asyncio.gather(self._live.depth(app), self._live.workers(app))
        told = await asyncio.to_thread(self._application, app)
        return {**told, "depth": depth, "list": workers, **self._about_us()}

    def _about_us(self) -> dict[str, Any]:
        """Return who is missing, and the story that is told."""
        if self._lecture is None:
            return {"parts": self._live.missing_parts(), "lecture": None}
        if self._lecture.over:  # nothing is expected to run
            return {"parts": [], "notices": [], "lecture": self._lecture.told()}
        return {"parts": self._live.missing_parts(), "lecture": self._lecture.told()}

    def _application(self, app: str) -> dict[str, Any]:
        now = time.time()
        entry = self._journal.latest(app)
        told: dict[str, Any] = {"now": now, "notices": notices(entry, now, self._late_after), "state": None}
        if entry is None:
            return told
        return {**told, **self._round(app, entry, now)}

    def _round(self, app: str, entry: JournalEntry, now: float) -> dict[str, Any]:
        """Return what a round brought; read once, as long as there is none that is newer."""
        at, known = self._rounds.get(app, (0.0, {}))
        if at == entry.at:
            return known
        if len(self._rounds) >= _REMEMBERED:
            self._rounds.clear()
        journal = self._journal
        price, currency = self._slow.get(("prices", (app,)), lambda: self._prices((app,)))[app]
        today, day, week = self._slow.get(("totals", app), lambda: self._totals(app, now))
        tail = journal.chart(app, entry.at - TAIL_SECONDS, entry.at)
        newest = journal.changes(app, entry.at - TAIL_SECONDS, entry.at)
        known = {
            "state": present_state(entry, price, currency),
            "cost": cost(entry, today, day, price),
            "budget": budget(week),
            "tail": tail.columns if tail.step == STEPS[0] else None,
            "changes": [decision_line(*one) for one in newest],
        }
        self._rounds[app] = (entry.at, known)
        return known

    def _prices(self, apps: tuple[str, ...]) -> dict[str, tuple[float, str]]:
        """Return what an hour of a worker of each application costs, and in which currency."""
        # Those that are scaled under settings that are not ours.
        told = self._journal.prices([app for app in apps if app not in self._settings.apps])
        owns = {app: self._settings.for_app(app) for app in apps}
        return {app: (told.get(app, own.price_per_worker_hour), own.currency) for app, own in owns.items()}

    def _totals(self, app: str, now: float) -> tuple[Any, Any, Any]:
        midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0).timestamp()  # noqa: DTZ006 - the day of whoever looks
        end = int(now // HOUR) + 1
        begins = (int(midnight // HOUR), end - 24, end - WEEK_HOURS)
        found = [self._journal.totals("period", begin, end, app) for begin in begins]
        return tuple(totals[0] if totals else None for totals in found)  # type: ignore[return-value] - three

    async def overview(self, search: str, sort: str, offset: int) -> dict[str, Any]:
        """Return a page of the list of applications."""
        told = await asyncio.to_thread(self._overview, search, sort, offset)
        return {**told, **self._about_us()}

    def _overview(self, search: str, sort: str, offset: int) -> dict[str, Any]:
        now = time.time()
        listed = self._journal.listed(search, sort, offset, MOST_LISTED)
        names = tuple(entry.app_id for entry in listed.entries)
        prices = self._slow.get(("prices", names), lambda: self._prices(names))
        apps = [
            {**present_state(entry, *prices[entry.app_id]), "old": now - entry.at > self._late_after}
            for entry in listed.entries
        ]
        return {
            "now": now,
            "found": listed.found,
            "in_alarm": listed.in_alarm,
            "missing": listed.missing,
            "workers": listed.workers,
            "queued": listed.queued,
            "offset": offset,
            "apps": apps,
        }

    def sparks(self, search: str, sort: str, offset: int) -> dict[str, Any]:
        """Return the last half hour of each application on a page of the list: small, and read seldom."""
        listed = self._journal.listed(search, sort, offset, MOST_LISTED)
        names = tuple(entry.app_id for entry in listed.entries)
        since = time.time() - SPARK_SECONDS
        return self._sparks.get(names, lambda: self._journal.sparks(names, since))

    def chart(self, app: str, begin: float, end: float) -> dict[str, Any]:
        """Return the course of an application, and the decisions of the period."""
        chart = self._journal.chart(app, begin, end)
        changes = self._journal.changes(app, begin, end)
        return {
            "step": chart.step,
            "width": chart.width,
            "columns": chart.columns,
            "changes": [decision_line(*one) for one in changes],
        }

    def decision(self, app: str, number: int) -> dict[str, Any]:
        """Return a decision with all that it was made from; one that is forgotten is a JournalError."""
        entry = self._journal.decision(app, number)
        if entry is None:
            raise JournalError("this decision is not in the journal any more")
        return decision_whole(number, entry)

    def uploads(self, app: str, begin: float, end: float) -> dict[str, Any]:
        """Return the uploads that ended in a period: when, seconds in all, waiting, service, outcome, id."""
        rows = self._journal.ended(app, begin, end)
        return {
            "begin": begin,
            "end": end,
            "uploads": [
                [
                    round(row.finished_at, 2),
                    round(row.response_time, 3),
                    row.waiting_time,
                    row.service_time,
                    row.outcome,
                    row.request_id,
                ]
                for row in rows
            ],
        }

    def settings_of(self, app: str) -> dict[str, Any]:
        """Return what an application is scaled under, as far as a what-if question may change it."""
        known = self._journal.settings(app) or msgspec.structs.asdict(self._settings.for_app(app))
        names = ("policy", "min_workers", "max_workers", "standby_workers", "price_per_worker_hour")
        return {name: known.get(name) for name in names}
