"""The recent reports of one application: reports come in, counts and percentiles go out.

Counts (uploads finished, failed, in time) are exact: they are kept in 60 buckets a window, so a window
reaches back between 59/60 and the whole of its seconds. Percentiles come from the newest `capacity` reports
of the window; what an older one of a busier window would add to them is lost. Must not know: messages,
brokers, clocks.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.analysis.snapshot import Percentiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUCKETS = 60
NOT_KNOWN = math.nan
"""A duration that a report does not tell."""

_FIRST_ROWS = 32
_FLUSH_AT = 256
_SERVICE_MEMORY = 100
_QUANTILES = (0.5, 0.95, 0.99)


class Summary(Struct, frozen=True, kw_only=True):
    """What a window holds: uploads stored, dead and in time, attempts failed, distributions in seconds.

    `service_is_old` says that no report of the window told a service time and that the newest older ones
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


class Window:
    """A ring of the newest reports and a queue of counting buckets; memory is 32 bytes a report kept.

    Args:
        seconds: how far back the window reaches.
        capacity: reports kept for the percentiles, at most.
    """

    def __init__(self, seconds: float, capacity: int) -> None:
        self.seconds = seconds
        self.capacity = capacity
        self._bucket_seconds = seconds / BUCKETS
        # Each bucket: [number since 1970, stored, dead, failed, in time]
        self._buckets: deque[list[int]] = deque()
        self._pending: list[tuple[float, float, float, float]] = []
        # Rows: received at, response time, waiting time, service time
        self._rows: NDArray[np.float64] = np.empty((4, _FIRST_ROWS))
        self._next = 0
        self._filled = 0

    def stored(self, at: float, response: float, waiting: float, service: float, *, in_time: bool) -> None:
        """Take in an upload that was stored; times that are not known are `NOT_KNOWN`."""
        bucket = self._bucket(at)
        bucket[1] += 1
        bucket[4] += in_time
        self._keep((at, response, waiting, service))

    def unsuccessful(self, at: float, waiting: float, service: float, *, dead: bool) -> None:
        """Take in a failed attempt, or (`dead`) an upload given up: its slot was busy all the same."""
        self._bucket(at)[2 if dead else 3] += 1
        self._keep((at, NOT_KNOWN, waiting, service))

    def summary(self, now: float) -> Summary:
        """Return what the window up to `now` holds."""
        self._expire(now)
        self._flush()
        stored = dead = failed = in_time = 0
        for _, more_stored, more_dead, more_failed, more_in_time in self._buckets:
            stored += more_stored
            dead += more_dead
            failed += more_failed
            in_time += more_in_time
        rows = self._rows[:, : self._filled]
        live = rows[1:, rows[0] > now - self.seconds]
        response, waiting, service = _percentiles(live)
        service_is_old = False
        if service is None and self._filled:
            service = self._remembered_service_time()
            service_is_old = service is not None
        return Summary(
            stored=stored,
            dead=dead,
            failed=failed,
            in_time=in_time,
            response_time=response,
            waiting_time=waiting,
            service_time=service,
            service_is_old=service_is_old,
        )

    def _remembered_service_time(self) -> Percentiles | None:
        """Return the service times of the newest reports, however old: work takes about as long as it did."""
        newest = np.arange(self._next - min(self._filled, _SERVICE_MEMORY), self._next)
        return _percentiles(self._rows[3:4, newest])[0]

    def _bucket(self, at: float) -> list[int]:
        number = int(at / self._bucket_seconds)
        buckets = self._buckets
        if not buckets or buckets[-1][0] < number:
            buckets.append([number, 0, 0, 0, 0])
            if len(buckets) > BUCKETS + 1:
                buckets.popleft()
            return buckets[-1]
        for bucket in reversed(buckets):
            if bucket[0] <= number:  # a late report may miss its bucket by a neighbour, never by a window
                return bucket
        return buckets[0]

    def _expire(self, now: float) -> None:
        oldest = int((now - self.seconds) / self._bucket_seconds)
        while self._buckets and self._buckets[0][0] <= oldest:
            self._buckets.popleft()

    def _keep(self, row: tuple[float, float, float, float]) -> None:
        self._pending.append(row)
        if len(self._pending) >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        """Write the pending reports into the ring: one numpy call for many is far cheaper than many."""
        if not self._pending and self._rows.shape[1] <= max(self.capacity, _FIRST_ROWS):
            return
        new = np.array(self._pending[-self.capacity :], dtype=np.float64).reshape(-1, 4).T
        self._pending.clear()
        self._fit(self._filled + new.shape[1])
        size = self._rows.shape[1]
        first = min(size - self._next, new.shape[1])
        self._rows[:, self._next : self._next + first] = new[:, :first]
        self._rows[:, : new.shape[1] - first] = new[:, first:]
        self._next = (self._next + new.shape[1]) % size
        self._filled = min(size, self._filled + new.shape[1])

    def _fit(self, wanted: int) -> None:
        """Grow the ring by doubling up to `capacity`; shrink it to the newest after that was lowered."""
        size = self._rows.shape[1]
        largest = max(self.capacity, _FIRST_ROWS)
        if size < min(wanted, largest):
            new_size = min(largest, max(2 * size, wanted))
        elif size > largest:
            new_size = largest
        else:
            return
        kept = min(self._filled, new_size)
        rows = np.empty((4, new_size))
        rows[:, :kept] = self._rows[:, np.arange(self._next - kept, self._next)]
        self._rows, self._filled, self._next = rows, kept, kept % new_size


def _percentiles(rows: NDArray[np.float64]) -> list[Percentiles | None]:
    """Return each row's distribution by nearest rank, without what is not known; None where nothing is."""
    if not rows.shape[1]:
        return [None] * len(rows)
    rows = np.sort(
        rows, axis=1
    )  # 3 to 50 microseconds up to 10,000 values, a tenth of a sorted list's; NaN last
    if np.isnan(rows[:, -1]).any():
        counts: list[int] = (rows.shape[1] - np.isnan(rows).sum(axis=1)).tolist()
        return [
            _of_sorted(row[None, :count])[0] if count else None
            for row, count in zip(rows, counts, strict=True)
        ]
    return list(_of_sorted(rows))


def _of_sorted(rows: NDArray[np.float64]) -> list[Percentiles]:
    count = rows.shape[1]
    ranks = [math.ceil(quantile * count) - 1 for quantile in _QUANTILES]
    totals: list[float] = np.add.reduce(rows, axis=1).tolist()
    picked: list[list[float]] = rows[:, [*ranks, -1]].tolist()
    return [
        Percentiles(count=count, mean=total / count, p50=p50, p95=p95, p99=p99, maximum=maximum)
        for total, (p50, p95, p99, maximum) in zip(totals, picked, strict=True)
    ]
