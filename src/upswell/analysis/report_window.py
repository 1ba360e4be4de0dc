"""The recent reports of one application: reports come in, counts and percentiles go out.

Counts (uploads finished, failed, in time) are exact: they are kept in 60 buckets a window, so a window
reaches back between 59/60 and the whole of its seconds. Percentiles come from the newest `capacity` reports
of the window; what an older one of a busier window would add to them is lost. It knows neither
messages, brokers nor clocks.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, cast

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from upswell.analysis.snapshot import Percentiles, Ranked

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKETS = 60
NOT_KNOWN = math.nan
"""A duration that a report does not contain."""

_FIRST_COLUMNS = 32
_SPARE_COLUMNS = 64
SERVICE_MEMORY = 100
"""Older reports that stand in where the window has no service time."""


class WindowTimes(Ranked, Struct, gc=False, eq=False):
    """Sorted only when asked; `values` are those of one duration, all known, and nobody else changes them."""

    values: NDArray[np.float32]
    count: int
    is_sorted: bool = False

    def _sorted(self) -> NDArray[np.float32]:
        if not self.is_sorted:
            values = self.values.copy()
            values.sort()  # 2 to 20 microseconds up to 10,000 values, a tenth of a sorted list's
            self.values, self.is_sorted = values, True
        return self.values

    def _rank(self, share: float) -> float:
        return self._sorted().item(math.ceil(share * self.count) - 1)

    @property
    def mean(self) -> float:
        """Mean; of the sorted values, so that their order makes no difference to its last digits."""
        return float(np.add.reduce(self._sorted())) / self.count


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
        self._newest_at = 0.0
        # Of each report kept, when it was received, and response, waiting and service time; from start to
        # end it is the window's. What stands there is never changed: summaries look at it later.
        self._at = array("d")
        self._durations = array("f")
        self._rows = _rows_of(self._durations)
        self._size = self._start = self._end = 0
        self._known_from = 0
        """From this report on all durations are known."""

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
        end = self._end
        start = bisect_right(self._at, now - self.seconds, self._start, end)
        self._start = start = max(start, end - self.capacity)
        response, waiting, service = self._times(start)
        service_is_old = False
        if service is None and end:
            # Work takes about as long as it did: the newest of the older reports stand in.
            service = _times_of_known(self._rows[2, max(0, end - SERVICE_MEMORY) : end])
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

    def _times(self, start: int) -> list[Percentiles | None]:
        """Return the distribution of each duration, from a report on; None where nothing is known."""
        rows, count = self._rows[:, start : self._end], self._end - start
        if start < self._known_from or not count:
            return [_times_of_known(row) for row in rows]
        return [_Times(row, count) for row in rows]

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
        end = self._end
        if end == self._size:
            self._make_room()
            end = self._end
        self._at[end] = at
        durations, size = self._durations, self._size
        durations[end], durations[size + end], durations[2 * size + end] = response, waiting, service
        self._end = end + 1
        if math.isnan(response + waiting + service):
            self._known_from = end + 1

    def _make_room(self) -> None:
        """Move the reports still wanted to the front of new memory, which they may fill by half at most.

        Of as many reports as may be kept there is only some to spare.
        """
        end = self._end
        first = max(0, min(self._start, end - SERVICE_MEMORY), end - self.capacity)
        kept = end - first
        size = max(_FIRST_COLUMNS, kept + 1, min(2 * (kept + 1), self.capacity + _SPARE_COLUMNS))
        at, durations = array("d", bytes(8 * size)), array("f", bytes(12 * size))
        rows = _rows_of(durations)
        at[:kept], rows[:, :kept] = self._at[first:end], self._rows[:, first:end]
        self._at, self._durations, self._rows, self._size = at, durations, rows, size
        self._start, self._end = max(0, self._start - first), kept
        self._known_from = max(0, self._known_from - first)


# To a reader of the snapshot they are `Percentiles`.
_Times = cast("Callable[[NDArray[np.float32], int], Percentiles]", WindowTimes)


def _rows_of(durations: array[float]) -> NDArray[np.float32]:
    """Return the same memory as three rows: an array is written to far faster, one report at a time."""
    return np.frombuffer(durations, np.float32).reshape(3, -1)


def _times_of_known(row: NDArray[np.float32]) -> Percentiles | None:
    known = row[~np.isnan(row)]
    return _Times(known, len(known)) if len(known) else None
