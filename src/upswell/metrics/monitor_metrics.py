"""What the monitor tells Prometheus of each application.

What comes in: each round's entries. What goes out: figures. The busiest applications of the settings have
series of their own; all others, and those that only messages name, share the series of `OTHER`. Every count
goes to the series that its application has at that moment, so each series only grows, and their sum is true.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

from upswell.analysis.billing import HOUR
from upswell.journal.points import WORKER_STATES
from upswell.metrics.busiest import busiest
from upswell.metrics.figures import OTHER, Distribution, Figure, of
from upswell.monitor.alarms import ALARMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from upswell.analysis.billing import Bill
    from upswell.analysis.snapshot import Snapshot
    from upswell.journal import JournalEntry
    from upswell.settings import Settings, Slo

Counts = dict[tuple[str, ...], float]
"""By metric and the values of its labels behind `app`."""

EDGES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""Upper edges of the response times' buckets, in seconds; an application's objective is one more."""

CHOOSE_SECONDS = 60.0
"""So often the busiest applications are chosen anew."""

FADES = 0.5
"""What is left of an application's activity at each choice: a burst is forgotten in some minutes."""


class ResponseTimes:
    """A histogram that only grows."""

    def __init__(self, slo: Slo | None) -> None:
        edges = EDGES if slo is None else {*EDGES, slo.seconds}
        self.slo = slo
        self._edges = sorted(edges)
        self._counts = [0] * (len(self._edges) + 1)
        self._sum = 0.0

    def add(self, times: Sequence[float]) -> None:
        """Count response times, in seconds."""
        for time in times:
            self._counts[bisect_left(self._edges, time)] += 1
        self._sum += sum(times)

    def distribution(self) -> Distribution:
        """Return it as it is now."""
        buckets = zip(self._edges, accumulate(self._counts), strict=False)
        return Distribution(tuple(buckets), sum(self._counts), self._sum)


class Series:
    """The counts of one application, or of all others together."""

    def __init__(self) -> None:
        self.times = ResponseTimes(None)
        self.counts: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for direction in ("out", "in"):
            self.counts["upswell_scale_decisions_total", direction] = 0.0


class MonitorMetrics:
    """Counts what each round shows; asked for figures, it answers from the newest.

    The settings' `apps` may have series of their own, at most `metrics_apps` at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self._newest: dict[str, JournalEntry] = {}
        self._before: dict[str, tuple[Counts, Counts]] = {}
        self._series: defaultdict[str, Series] = defaultdict(Series)
        self._shown: frozenset[str] = frozenset()
        self._activity: defaultdict[str, float] = defaultdict(float)
        self._chosen_at: float | None = None
        self.reload(settings)

    def reload(self, settings: Settings) -> None:
        """Go on with other settings."""
        self._most = settings.metrics_apps
        own = {app_id: settings.for_app(app_id) for app_id in settings.apps}
        self._prices = {app: (s.price_per_worker_hour, s.currency) for app, s in own.items()}
        self._chosen_at = None

    def take(self, entries: Sequence[JournalEntry]) -> None:
        """Take in a round; an empty one: nothing is observed any more, and counting begins anew."""
        self._newest = {entry.app_id: entry for entry in entries}
        if not entries:
            self._before.clear()
        for entry in entries:
            # A first round's uploads count for the choice, but nothing has a series yet.
            self._activity[entry.app_id] += len(entry.snapshot.recent_response_times)
        if entries and (self._chosen_at is None or entries[0].at - self._chosen_at >= CHOOSE_SECONDS):
            self._choose(entries[0].at)
        for entry in entries:
            self._count(entry)

    def _choose(self, at: float) -> None:
        self._chosen_at = at
        self._activity = defaultdict(
            float, {app: FADES * self._activity[app] for app in self._newest if app in self._prices}
        )
        self._shown = busiest(self._shown, self._activity, self._most)
        for gone in self._series.keys() - self._shown - {OTHER}:
            del self._series[gone]
        for gone in self._before.keys() - self._newest.keys():
            del self._before[gone]

    def _count(self, entry: JournalEntry) -> None:
        app_id, snapshot = entry.app_id, entry.snapshot
        own = app_id in self._shown
        series = self._series[app_id if own else OTHER]
        if own and series.times.slo != snapshot.slo:
            series.times = ResponseTimes(snapshot.slo)
        series.times.add(snapshot.recent_response_times)
        totals, billed = _totals(snapshot), _billed(entry.bill)
        # A bill goes on from the journal's; what was billed before is not counted again.
        totals_before, billed_before = self._before.get(app_id) or ({}, billed)
        for key, delta in _growth(totals, totals_before):
            series.counts[key] += delta
        price, currency = self._prices.get(app_id, (0.0, ""))
        for key, delta in _growth(billed, billed_before):
            series.counts[key] += delta
            if price:
                series.counts["upswell_cost_total", currency] += delta / HOUR * price
        if entry.changed and entry.decision.desired_workers != entry.decision.before:
            direction = "out" if entry.decision.desired_workers > entry.decision.before else "in"
            series.counts["upswell_scale_decisions_total", direction] += 1
        self._before[app_id] = totals, billed

    def figures(self) -> Iterator[Figure]:
        """Give all figures: of each application that is shown, and of all others together."""
        scaled = sum(app_id in self._prices for app_id in self._newest)
        yield Figure("upswell_applications", ("scaled",), scaled)
        yield Figure("upswell_applications", ("unknown",), len(self._newest) - scaled)
        yield Figure(
            "upswell_late_applications", (), sum(entry.snapshot.misses for entry in self._newest.values())
        )
        others: list[JournalEntry] = []
        for app_id, entry in self._newest.items():
            if app_id not in self._shown:
                others.append(entry)
                continue
            slo = entry.snapshot.slo
            yield Figure("upswell_objective_seconds", (app_id,), slo.seconds)
            yield Figure("upswell_objective_ratio", (app_id,), slo.share)
            yield from _now(app_id, [entry])
        if others:
            yield from _now(OTHER, others)
        for app_id, series in self._series.items():
            yield Figure("upswell_response_time_seconds", (app_id,), series.times.distribution())
            for (metric, *labels), value in series.counts.items():
                yield Figure(metric, (app_id, *labels), value)


def _totals(snapshot: Snapshot) -> Counts:
    """Return an application's sums since its observation began."""
    totals = snapshot.totals
    counts: Counts = {}
    if totals is not None:
        counts["upswell_uploads_total", "stored"] = totals.stored
        counts["upswell_uploads_total", "failed"] = totals.failed
        counts["upswell_uploads_total", "dead"] = totals.dead
        counts["upswell_uploads_in_time_total",] = totals.in_time
    if snapshot.arrivals is not None:
        counts["upswell_arrivals_total",] = snapshot.arrivals
    return counts


def _billed(bill: Bill | None) -> Counts:
    """Return an application's worker-seconds by state."""
    if bill is None:
        return {}
    return {("upswell_worker_seconds_total", state): getattr(bill, state) for state in WORKER_STATES}


def _growth(now: Counts, before: Counts) -> Iterator[tuple[tuple[str, ...], float]]:
    """Give by how much each sum grew; one that fell has begun anew at zero."""
    for key, value in now.items():
        delta = value - before.get(key, 0.0)
        yield key, delta if delta >= 0 else value


def _now(app_id: str, entries: Sequence[JournalEntry]) -> Iterator[Figure]:
    """Give the figures of this instant of one application, or of several together."""
    snapshots = [entry.snapshot for entry in entries]
    workers: dict[str, int] = dict.fromkeys(WORKER_STATES, 0)
    for snapshot in snapshots:
        for state, count in snapshot.workers.by_state().items():
            workers[state] += count
    for state, count in workers.items():
        yield Figure("upswell_workers", (app_id, state), count)
    yield Figure(
        "upswell_desired_workers", (app_id,), sum(entry.decision.desired_workers for entry in entries)
    )
    yield from of("upswell_queue_messages", _sum(s.messages_ready for s in snapshots), app_id, "ready")
    in_flight = _sum(s.messages_unacknowledged for s in snapshots)
    yield from of("upswell_queue_messages", in_flight, app_id, "in_flight")
    oldest = max((s.oldest_age for s in snapshots if s.oldest_age is not None), default=None)
    yield from of("upswell_queue_oldest_age_seconds", oldest, app_id)
    for alarm in ALARMS:
        count = sum(alarm in entry.decision.alarms for entry in entries)
        yield Figure("upswell_alarm", (app_id, alarm), count)


def _sum(values: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
