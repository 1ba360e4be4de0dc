"""The recent reports of one application: reports come in, counts and percentiles go out.

Counts (uploads finished, failed, in time) are exact: they are kept in 60 buckets a window, so a window
reaches back between 59/60 and the whole of its seconds. Percentiles come from the newest `capacity` reports
of the window; what an older one of a busier window would add to them is lost. It knows neither
messages, brokers nor clocks.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.analysis.snapshot import Percentiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUCKETS = 60
NOT_KNOWN = math.nan
"""A duration that a report does not contain."""

_FIRST_COLUMNS = 32
_FLUSH_AT = 4 * 64
SERVICE_MEMORY = 100
"""Older reports that stand in where the window has no service time."""


class WindowSummary(Struct, frozen=True, kw_only=True, gc=False):
    """What a window holds: uploads stored, dead and in time, attempts failed, distributions in seconds.

    `service_is_old` says that no report of the window has a service time and that the newest older ones
    stand in.
    """

    stored: int
    dead: int
    failed: int
    in_time: int
    response_time: Percentiles | None
    waiting_time: Percentiles | None
    service_time: Percentiles | None
    service_is_old: bool


class WindowCounts(Struct, gc=False):
    """Uploads of one bucket, or of all: `number` is the bucket's, counted since 1970."""

    number: int = 0
    stored: int = 0
    dead: int = 0
    failed: int = 0
    in_time: int = 0


class ReportWindow:
    """The newest reports in order of arrival, and counting buckets; memory is 20 bytes a report kept.

    Durations are kept to seven digits: sorting them takes a quarter of the time that sixteen take.

    Args:
        seconds: how far back the window reaches.
        capacity: reports kept for the percentiles, at most; may be changed at any time.
    """

    def __init__(self, seconds: float, capacity: int) -> None:
        self.seconds = seconds
        self.capacity = capacity
        self._bucket_seconds = seconds / BUCKETS
        self._buckets: deque[WindowCounts] = deque()
        self._totals = WindowCounts()
        self._newest = WindowCounts()
        self._newest_from = self._newest_until = math.inf  # the instants that the newest bucket counts
        self._pending = array("d")  # four numbers a report: received at, and its durations
        self._newest_at = 0.0
        # Of each report kept, when it was received, and response, waiting and service time; from start to
        # end it is the window's.
        self._at: NDArray[np.float64] = np.empty(_FIRST_COLUMNS)
        self._durations: NDArray[np.float32] = np.empty((3, _FIRST_COLUMNS), np.float32)
        self._start = self._end = 0

    def stored(self, at: float, response: float, waiting: float, service: float, *, in_time: bool) -> None:
        """Take in an upload that was stored; times that are not known are `NOT_KNOWN`."""
        bucket = self._newest if self._newest_from <= at < self._newest_until else self._bucket(at)
        totals = self._totals
        bucket.stored += 1
        totals.stored += 1
        if in_time:
            bucket.in_time += 1
            totals.in_time += 1
        self._keep(at, response, waiting, service)

    def unsuccessful(self, at: float, waiting: float, service: float, *, dead: bool) -> None:
        """Take in a failed attempt, or (`dead`) an upload given up: its slot was busy all the same."""
        for counts in (self._bucket(at), self._totals):
            counts.dead += dead
            counts.failed += not dead
        self._keep(at, NOT_KNOWN, waiting, service)

    def summary(self, now: float) -> WindowSummary:
        """Return what the window up to `now` holds."""
        self._expire(now)
        if self._pending:
            self._flush()
        start, end = self._start, self._end
        start += int(self._at[start:end].searchsorted(now - self.seconds, "right"))
        self._start = start = max(start, end - self.capacity)
        response, waiting, service = _percentiles(self._durations[:, start:end])
        service_is_old = False
        if service is None and end:
            # Work takes about as long as it did: the newest of the older reports stand in.
            (service,) = _percentiles(self._durations[2:, max(0, end - SERVICE_MEMORY) : end])
            service_is_old = service is not None
        totals = self._totals
        return WindowSummary(
            stored=totals.stored,
            dead=totals.dead,
            failed=totals.failed,
            in_time=totals.in_time,
            response_time=response,
            waiting_time=waiting,
            service_time=service,
            service_is_old=service_is_old,
        )

    def _bucket(self, at: float) -> WindowCounts:
        number = int(at / self._bucket_seconds)
        buckets = self._buckets
        if not buckets or buckets[-1].number < number:
            self._newest = WindowCounts(number)
            self._newest_from = number * self._bucket_seconds
            self._newest_until = self._newest_from + self._bucket_seconds
            buckets.append(self._newest)
            if len(buckets) > BUCKETS + 1:
                self._drop_oldest_bucket()
            return self._newest
        for bucket in reversed(buckets):
            if bucket.number <= number:  # a late report may miss its bucket by a neighbour, never by a window
                return bucket
        return buckets[0]

    def _expire(self, now: float) -> None:
        oldest = int((now - self.seconds) / self._bucket_seconds)
        while self._buckets and self._buckets[0].number <= oldest:
            self._drop_oldest_bucket()

    def _drop_oldest_bucket(self) -> None:
        bucket, totals = self._buckets.popleft(), self._totals
        totals.stored -= bucket.stored
        totals.dead -= bucket.dead
        totals.failed -= bucket.failed
        totals.in_time -= bucket.in_time
        if bucket is self._newest:
            self._newest_from = math.inf

    def _keep(self, at: float, response: float, waiting: float, service: float) -> None:
        # A report that came late stands among its neighbours, so that times only rise.
        if at < self._newest_at:
            at = self._newest_at
        else:
            self._newest_at = at
        self._pending.extend((at, response, waiting, service))
        if len(self._pending) >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        """Write the pending reports behind the others: one numpy call for many is far cheaper than many."""
        new = np.frombuffer(self._pending).reshape(-1, 4)[-self.capacity :].T
        count = new.shape[1]
        if self._end + count > len(self._at):
            self._make_room(count)
        end = self._end + count
        self._at[self._end : end] = new[0]
        self._durations[:, self._end : end] = new[1:]
        self._end = end
        self._pending = array("d")

    def _make_room(self, count: int) -> None:
        """Move the columns still wanted to the front, of a larger array where they fill more than half."""
        first = max(0, min(self._start, self._end - SERVICE_MEMORY), self._end - self.capacity)
        kept = self._end - first
        size = max(_FIRST_COLUMNS, min(2 * (kept + count), self.capacity + _FLUSH_AT // 4), kept + count)
        at, durations = np.empty(size), np.empty((3, size), np.float32)
        at[:kept], durations[:, :kept] = self._at[first : self._end], self._durations[:, first : self._end]
        self._at, self._durations = at, durations
        self._start, self._end = max(0, self._start - first), kept


def _percentiles(rows: NDArray[np.float32]) -> list[Percentiles | None]:
    """Return each row's distribution by nearest rank, without what is not known; None where nothing is."""
    count = rows.shape[1]
    if not count:
        return [None] * len(rows)
    rows = np.sort(rows, axis=1)  # 2 to 20 microseconds up to 10,000 values, a tenth of a sorted list's
    totals: list[float] = np.add.reduce(rows, axis=1).tolist()
    at_ranks: list[list[float]] = rows.take(_ranks(count), axis=1).tolist()
    return [
        _percentiles_of_known(rows[number])
        if math.isnan(total)
        else _of_sorted(count, total, at_ranks[number])
        for number, total in enumerate(totals)
    ]


def _percentiles_of_known(row: NDArray[np.float32]) -> Percentiles | None:
    known = row[: int(np.searchsorted(row, np.nan))]  # sorted, NaN stands last
    count = len(known)
    return _of_sorted(count, float(known.sum()), known.take(_ranks(count)).tolist()) if count else None


@lru_cache
def _ranks(count: int) -> NDArray[np.intp]:
    ranks = [math.ceil(0.5 * count) - 1, math.ceil(0.95 * count) - 1, math.ceil(0.99 * count) - 1, count - 1]
    return np.array(ranks)


def _of_sorted(count: int, total: float, at_ranks: list[float]) -> Percentiles:
    p50, p95, p99, maximum = at_ranks
    return Percentiles(count=count, mean=total / count, p50=p50, p95=p95, p99=p99, maximum=maximum)
