"""The monitor's window, kept incrementally: percentiles are computed only when a policy asks.

In: what was reported since the decision before. Out: a `Snapshot`, by the definitions that the monitor uses.
It must not know an upload before its report, nor how long a waiting one will take.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.snapshot import Percentiles

    Entry = tuple[int, list[float], list[float], float, float, int]
    """Arrivals, response times, service times, their sums, late uploads."""
    Values = Callable[[Entry], list[float]]


class LazyPercentiles:
    """`Percentiles` that sort only when asked."""

    __slots__ = ("_entries", "_sorted", "_values", "count", "mean")

    def __init__(self, count: int, mean: float, entries: tuple[Entry, ...], values: Values) -> None:
        self.count = count
        self.mean = mean
        self._entries = entries
        self._values = values
        self._sorted: list[float] | None = None

    def _rank(self, share: float) -> float:
        if self._sorted is None:
            self._sorted = sorted(value for entry in self._entries for value in self._values(entry))
        return self._sorted[max(0, math.ceil(share * self.count) - 1)]

    @property
    def p50(self) -> float:
        """Median."""
        return self._rank(0.5)

    @property
    def p95(self) -> float:
        """95th percentile."""
        return self._rank(0.95)

    @property
    def p99(self) -> float:
        """99th percentile."""
        return self._rank(0.99)

    @property
    def maximum(self) -> float:
        """Largest value."""
        return self._rank(1.0)


class Window:
    """Sums over the last `length` decision intervals."""

    def __init__(self, length: int, interval: float, objective: float) -> None:
        self.seconds = length * interval
        self._objective = objective
        empty: Entry = (0, [], [], 0.0, 0.0, 0)
        self._entries: deque[Entry] = deque([empty] * length, maxlen=length)
        self.arrivals = 0
        self.count = 0
        self.late = 0
        self._response_sum = 0.0
        self._service_sum = 0.0

    def add(self, arrivals: int, responses: list[float], services: list[float]) -> None:
        """Note one interval: uploads that arrived, and those that were reported."""
        old = self._entries[0]
        count = len(responses)
        if count:
            objective = self._objective
            response_sum, service_sum = math.fsum(responses), math.fsum(services)
            late = sum(1 for response in responses if response > objective)
            self._entries.append((arrivals, responses, services, response_sum, service_sum, late))
            self.count += count
            self.late += late
            self._response_sum += response_sum
            self._service_sum += service_sum
        else:
            self._entries.append((arrivals, responses, services, 0.0, 0.0, 0))
        self.arrivals += arrivals - old[0]
        if old[1]:
            self.count -= len(old[1])
            self.late -= old[5]
            if self.count:
                self._response_sum -= old[3]
                self._service_sum -= old[4]
            else:  # rounding errors end with the window
                self._response_sum = self._service_sum = 0.0

    @property
    def response_time(self) -> Percentiles | None:
        """Of the reported uploads; None where there are none."""
        return self._percentiles(self._response_sum, _responses)

    @property
    def service_time(self) -> Percentiles | None:
        """Of the reported uploads; None where there are none."""
        return self._percentiles(self._service_sum, _services)

    @property
    def waiting_time(self) -> Percentiles | None:
        """Response less service, of the reported uploads; None where there are none."""
        return self._percentiles(self._response_sum - self._service_sum, _waits)

    @property
    def attainment(self) -> float | None:
        """Share of the reported uploads that met the objective; None where there are none."""
        return 1 - self.late / self.count if self.count else None

    def _percentiles(self, total: float, values: Values) -> Percentiles | None:
        if not self.count:
            return None
        lazy = LazyPercentiles(self.count, total / self.count, tuple(self._entries), values)
        return cast("Percentiles", lazy)


def _responses(entry: Entry) -> list[float]:
    return entry[1]


def _services(entry: Entry) -> list[float]:
    return entry[2]


def _waits(entry: Entry) -> list[float]:
    return [response - service for response, service in zip(entry[1], entry[2], strict=True)]
