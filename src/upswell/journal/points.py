"""The course of things, condensed: one row an application and interval, at three resolutions, for charts.

What comes in: the monitor's rounds. What goes out: rows of the table `points`. An interval ends with the
first round that is at least a step younger than its begin, so no round falls between two. Counts are of the
interval; percentiles are of the uploads that ended in it, to 2.5 %; workers are means over its rounds, the
queue and `desired` maxima.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upswell.journal.rows import JournalEntry, ReportRow

STEPS = (1, 30, 300)
"""Seconds of an interval, at least: for minutes, for hours, for weeks."""

SHARES = (0.06, 0.08, 0.2)
"""Shares of the journal's bytes that the points of each step may fill."""

BYTES_A_POINT = 110

FINEST_FOR = 500
"""With more applications than this the finest step is left out: it would be a row for each in each round."""

_EARLY = 0.25
"""An interval may be shorter than its step by this share: rounds come a little early or late."""
_QUIET_SECONDS = 20.0
"""Where nothing happens, the finest step has a row only so often."""
_GROWTH = 1.05
_SMALLEST_MS = 1.0

WORKER_STATES = ("starting", "standby", "idle", "busy", "draining")

COLUMNS = (
    "app_id", "step", "at", "seconds", "arrived", "stored", "in_time", "dead", "failed",
    "p50", "p95", "p99", "maximum", "ready", "in_flight", "desired", "demand", *WORKER_STATES,
)  # fmt: skip
"""Times of uploads are in milliseconds, `at` is when the interval ended."""

ADD_POINT = f"INSERT OR REPLACE INTO points ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names of columns
FORGET_POINTS = (
    "DELETE FROM points WHERE step = ?1"
    " AND at < (SELECT at FROM points WHERE step = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)"
)


class Standing(Struct, frozen=True):
    """What a list of applications is sorted by: 3 in alarm, 2 objective missed, 1 failures, 0 well."""

    trouble: int
    workers: int
    queued: int


def standing(entry: JournalEntry) -> Standing:
    """Return how an application stands by its newest entry."""
    snapshot = entry.snapshot
    trouble = 3 if entry.decision.alarms else 2 if snapshot.misses else 1 if snapshot.failures else 0
    return Standing(trouble, snapshot.workers.running, snapshot.messages_ready or 0)


class _Interval:
    """One application's sums since `begin`."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.counts: Counter[str] = Counter()
        self.times: Counter[int] = Counter()
        self.maximum = 0.0
        self.rounds = 0
        self.sums: Counter[str] = Counter()
        self.most: dict[str, float | None] = {"ready": None, "in_flight": None, "desired": None}

    def add(self, arrived: int, entry: JournalEntry, ended: Sequence[ReportRow]) -> None:
        """Take in a round."""
        self.rounds += 1
        self.counts["arrived"] += arrived
        slo = entry.snapshot.slo.seconds
        for report in ended:
            self.counts[report.outcome] += 1
            if report.outcome == "stored":
                took = report.response_time
                self.counts["in_time"] += took <= slo
                self.maximum = max(self.maximum, took)
                self.times[_bin(took)] += 1
        for state, count in entry.snapshot.workers.by_state().items():
            self.sums[state] += count
        snapshot = entry.snapshot
        for name, value in (
            ("ready", snapshot.messages_ready),
            ("in_flight", snapshot.messages_unacknowledged),
            ("desired", entry.decision.desired_workers),
        ):
            before = self.most[name]
            if value is not None and (before is None or value > before):
                self.most[name] = value

    def row(self, app_id: str, step: int, entry: JournalEntry) -> tuple[object, ...]:
        """Return the columns, at the end of the interval."""
        count = self.counts
        known = bool(self.times)
        at_shares = [self.percentile(share) if known else None for share in (0.5, 0.95, 0.99)]
        return (
            app_id, step, round(entry.at, 2), round(entry.at - self.begin, 2),
            count["arrived"], count["stored"], count["in_time"], count["dead"], count["failed"],
            *at_shares, round(1000 * self.maximum) if known else None,
            self.most["ready"], self.most["in_flight"], self.most["desired"], demand(entry),
            *(_short(self.sums[state] / self.rounds) for state in WORKER_STATES),
        )  # fmt: skip

    def percentile(self, share: float) -> int:
        """Return the milliseconds that a share of the uploads stayed within."""
        wanted, seen = share * sum(self.times.values()), 0
        for place in sorted(self.times):
            seen += self.times[place]
            if seen >= wanted:
                return min(round(1000 * self.maximum), round(_SMALLEST_MS * _GROWTH ** (place - 0.5)))
        return round(1000 * self.maximum)


class PointCounter:
    """Condenses rounds into points."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], _Interval] = {}
        self._arrived: dict[str, tuple[int, int]] = {}
        self._quiet_since: dict[str, tuple[float, tuple[object, ...]]] = {}

    def take(self, entries: Sequence[JournalEntry], reports: Iterable[ReportRow]) -> list[tuple[object, ...]]:
        """Count one round; return the rows of the intervals that it ends."""
        ended: defaultdict[str, list[ReportRow]] = defaultdict(list)
        for report in reports:
            ended[report.app_id].append(report)
        rows: list[tuple[object, ...]] = []
        steps = STEPS if len(entries) <= FINEST_FOR else STEPS[1:]
        for entry in entries:
            arrived, mine = self._newly_arrived(entry), ended.pop(entry.app_id, [])
            for step in steps:
                row = self._add(step, entry, arrived, mine)
                if row is not None and not (step == STEPS[0] and self._is_quiet(row)):
                    rows.append(row)
        return rows

    def _add(
        self, step: int, entry: JournalEntry, arrived: int, ended: Sequence[ReportRow]
    ) -> tuple[object, ...] | None:
        key = (entry.app_id, step)
        interval = self._open.get(key)
        if interval is None:
            # What happened before the first round of a monitor belongs to no interval that we know.
            self._open[key] = _Interval(entry.at)
            return None
        interval.add(arrived, entry, ended)
        if entry.at - interval.begin < step * (1 - _EARLY):
            return None
        self._open[key] = _Interval(entry.at)
        return interval.row(entry.app_id, step, entry)

    def _newly_arrived(self, entry: JournalEntry) -> int:
        """Return how many uploads came since the round before; the monitor's count begins with its epoch."""
        total = entry.snapshot.arrivals
        if total is None:
            return 0
        epoch, before = self._arrived.get(entry.app_id, (entry.epoch, total))
        self._arrived[entry.app_id] = (entry.epoch, total)
        return max(0, total - before) if epoch == entry.epoch else 0

    def _is_quiet(self, row: tuple[object, ...]) -> bool:
        """Return whether nothing has happened since a row that is still young."""
        app_id, at, rest = str(row[0]), float(str(row[2])), row[4:]
        since, before = self._quiet_since.get(app_id, (-math.inf, ()))
        happened = any(row[place] for place in range(4, 9))  # the counts of uploads
        if not happened and rest == before and at - since < _QUIET_SECONDS:
            return True
        self._quiet_since[app_id] = (at, rest)
        return False


def _bin(seconds: float) -> int:
    milliseconds = max(_SMALLEST_MS, 1000 * seconds)
    return math.ceil(math.log(milliseconds / _SMALLEST_MS) / math.log(_GROWTH))


def demand(entry: JournalEntry) -> float | None:
    """Return the workers that the arriving work keeps busy: rate x service time / slots; None: unknown."""
    snapshot = entry.snapshot
    if snapshot.arrival_rate is None or snapshot.service_time is None:
        return None
    return _short(snapshot.arrival_rate * snapshot.service_time.mean / max(1, snapshot.slots_per_worker))


def _short(value: float) -> float:
    """Return a number that takes few bytes: whole where it is whole."""
    rounded = round(value, 2)
    return int(rounded) if rounded == int(rounded) else rounded
