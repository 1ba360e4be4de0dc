"""The journal as the page asks for it: few rows, whatever the period.

In: an application and a period. Out: columns for charts, decisions, uploads, the list of applications. A
period is read at the step that gives some hundred rows, and condensed in SQL where there would be more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from upswell.journal import JournalEntry, JournalReader, ReportRow
from upswell.journal.points import STEPS, WORKER_STATES
from upswell.journal.recorder import has_table, read_entry
from upswell.journal.schema import REQUEST_IDS_SINCE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

MOST_ROWS = 1200
"""Rows of a chart: two or three a pixel are enough."""

MOST_DECISIONS = 200
MOST_UPLOADS = 3000

_SUMS = ("arrived", "stored", "in_time", "dead", "failed")
_MOST = ("p95", "p99", "maximum", "ready", "in_flight", "desired")
_MEANS = ("demand", *WORKER_STATES)
CHART_COLUMNS = ("at", "seconds", *_SUMS, "p50", *_MOST, *_MEANS)

_CONDENSED = (
    f"SELECT max(at), sum(seconds), {', '.join(f'sum({name})' for name in _SUMS)},"  # noqa: S608 - names of columns
    " CAST(sum(p50 * stored) / nullif(sum(CASE WHEN p50 IS NULL THEN 0 ELSE stored END), 0) AS INTEGER),"
    f" {', '.join(f'max({name})' for name in _MOST)},"
    f" {', '.join(f'round(sum({name} * seconds) / sum(seconds), 2)' for name in _MEANS)}"
    " FROM points WHERE app_id = ?1 AND step = ?2 AND at > ?3 AND at <= ?4"
    " GROUP BY CAST((at - ?3) / ?5 AS INTEGER) ORDER BY at"
)
_AS_IT_IS = (
    f"SELECT {', '.join(CHART_COLUMNS)} FROM points"  # noqa: S608 - as above
    " WHERE app_id = ?1 AND step = ?2 AND at > ?3 AND at <= ?4 ORDER BY at"
)

_REPORTS_BOUNDS = "SELECT (SELECT min(id) FROM reports), (SELECT max(id) FROM reports)"
"""Two look-ups; of both in one SELECT SQLite makes a scan."""

_SORTS = {
    "trouble": "trouble DESC, queued DESC, app_id",
    "workers": "workers DESC, app_id",
    "queued": "queued DESC, app_id",
    "name": "app_id",
}


class Chart(Struct, frozen=True):
    """Columns of equal length, of intervals of at least `step` seconds; times of uploads in milliseconds.

    Where several intervals were condensed to one, percentiles and queue are the highest of them.
    """

    step: int
    width: float
    columns: dict[str, list[Any]]


class ListedApps(Struct, frozen=True):
    """A page of the list of applications, and sums over all that were found."""

    found: int
    in_alarm: int
    missing: int
    workers: int
    queued: int
    entries: list[JournalEntry]


class PageJournal(JournalReader):
    """Reads what the page shows; a journal of an earlier version has no charts."""

    def chart(self, app: str, begin: float, end: float) -> Chart:
        """Return the course of an application from after `begin` to `end`, in seconds since 1970.

        Raises:
            JournalError: the file is there and cannot be read. So do all readers.
        """
        span = max(1.0, end - begin)
        with self._connected() as found:
            if found is None or not has_table(found[0], "points"):
                return Chart(STEPS[0], STEPS[0], {name: [] for name in CHART_COLUMNS})
            step = _step(found[0], app, begin, span)
            width = max(float(step), span / MOST_ROWS)
            if width > step:
                rows = found[0].execute(_CONDENSED, (app, step, begin, end, width)).fetchall()
            else:
                rows = found[0].execute(_AS_IT_IS, (app, step, begin, end)).fetchall()
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in CHART_COLUMNS]
        return Chart(step, width, dict(zip(CHART_COLUMNS, columns, strict=True)))

    def changes(self, app: str, begin: float, end: float) -> list[tuple[int, JournalEntry]]:
        """Return the newest decisions of a period that changed something, by their numbers, oldest first."""
        query = (
            "SELECT id, entry FROM decisions WHERE app_id = ? AND changed AND at >= ? AND at <= ?"
            " ORDER BY at DESC LIMIT ?"
        )
        with self._connected() as found:
            if found is None:
                return []
            connection, version = found
            rows = connection.execute(query, (app, begin, end, MOST_DECISIONS))
            return [(number, read_entry(version, text)) for number, text in rows][::-1]

    def decision(self, app: str, number: int) -> JournalEntry | None:
        """Return a decision by its number, or None where it is not there any more."""
        query = "SELECT entry FROM decisions WHERE id = ? AND app_id = ?"
        return next(iter(self._entries(query, number, app)), None)

    def ended(self, app: str, begin: float, end: float) -> list[ReportRow]:
        """Return the attempts that ended in a period, at most `MOST_UPLOADS`, the slowest before others."""
        query = (
            "SELECT app_id, arrived_at, finished_at, waiting_time, service_time, outcome, {} FROM reports"
            " WHERE id BETWEEN ? AND ? AND app_id = ? AND finished_at >= ? AND finished_at < ?"
            " ORDER BY finished_at - arrived_at DESC LIMIT ?"
        )
        with self._connected() as found:
            if found is None:
                return []
            connection, version = found
            query = query.format("request_id" if version >= REQUEST_IDS_SINCE else "NULL")
            bounds = connection.execute(_REPORTS_BOUNDS).fetchone()
            first, last = (_report_at(connection, at, *bounds) for at in (begin, end))
            asked = (first - 5000, last + 5000, app, begin, end, MOST_UPLOADS)
            return [ReportRow(*row) for row in connection.execute(query, asked)]

    def listed(self, search: str, sort: str, offset: int, limit: int) -> ListedApps:
        """Return the applications whose names contain a text, in this order."""
        where = "FROM latest WHERE instr(lower(app_id), ?) > 0"
        sums = "count(*), sum(trouble = 3), sum(trouble = 2), sum(workers), sum(queued)"
        counts = next(self._read("points", f"SELECT {sums} {where}", search.lower()), None)
        if counts is None:  # the columns came with that table
            known = [entry for app in self.applications() if (entry := self.latest(app)) is not None]
            found = [entry for entry in known if search.lower() in entry.app_id.lower()]
            return ListedApps(len(found), 0, 0, 0, 0, found[offset : offset + limit])
        order = _SORTS.get(sort, _SORTS["trouble"])
        entries = self._entries(
            f"SELECT entry {where} ORDER BY {order} LIMIT ? OFFSET ?", search.lower(), limit, offset
        )
        found, in_alarm, missing, workers, queued = (int(count or 0) for count in counts)
        return ListedApps(found, in_alarm, missing, workers, queued, entries)

    def sparks(self, apps: Sequence[str], since: float) -> dict[str, list[list[Any]]]:
        """Return (at, p95 in milliseconds, workers, arrived) of each application since then."""
        query = (
            "SELECT app_id, at, p95, starting + idle + busy + standby + draining, arrived FROM points"
            " WHERE app_id IN (SELECT value FROM json_each(?)) AND step = ? AND at > ? ORDER BY app_id, at"
        )
        found: dict[str, list[list[Any]]] = {}
        for app, *rest in self._read("points", query, msgspec.json.encode(apps).decode(), STEPS[1], since):
            found.setdefault(app, []).append(rest)
        return found

    def prices(self, apps: Sequence[str]) -> dict[str, float]:
        """Return what an hour of a worker costs in the settings of each application's monitor, where told."""
        query = (
            "SELECT app_id, json_extract(settings, '$.price_per_worker_hour') FROM settings"
            " WHERE app_id IN (SELECT value FROM json_each(?))"
        )
        rows = self._read("settings", query, msgspec.json.encode(apps).decode())
        return {app: float(price) for app, price in rows if price is not None}


def _step(connection: sqlite3.Connection, app: str, begin: float, span: float) -> int:
    """Return the finest step that is not too fine for the period and reaches back as far as any."""
    query = "SELECT min(at) FROM points WHERE app_id = ? AND step = ?"
    oldest = {step: connection.execute(query, (app, step)).fetchone()[0] for step in STEPS}
    known = [at for at in oldest.values() if at is not None]
    reach = max(begin, min(known, default=begin)) + 0.02 * span
    for step in STEPS:
        at = oldest[step]
        if span / step <= 2 * MOST_ROWS and at is not None and at - 2 * step <= reach:
            return step
    return STEPS[-1] if oldest[STEPS[-1]] is not None else STEPS[0]


def _report_at(connection: sqlite3.Connection, at: float, lowest: int | None, highest: int | None) -> int:
    """Return the number of a report that ended about then: they are almost in the order of time."""
    query = "SELECT finished_at FROM reports WHERE id >= ? ORDER BY id LIMIT 1"

    def ended(number: int) -> float:
        return next(connection.execute(query, (number,)), (math.inf,))[0]

    numbers = range(lowest or 0, highest or 0)
    return numbers.start + bisect_left(numbers, at, key=ended)
