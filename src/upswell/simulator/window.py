"""The monitor's window, kept incrementally: one entry a decision interval, percentiles only when a policy asks.

In: what was reported since the decision before. Out: a `Snapshot`, by the definitions that the monitor uses. It must not know an upload
before its report, nor how long a waiting one will take.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.analysis.snapshot import Percentiles


class LazyPercentiles:
    """`Percentiles` that sort only when asked; valid while the decision is made."""

    __slots__ = ("_parts", "_sorted", "count", "mean")

    def __init__(self, count: int, mean: float, parts: Iterable[list[float]]) -> None:
        self.count = count
        self.mean = mean
        self._parts = parts
        self._sorted: list[float] | None = None

    def _rank(self, share: float) -> float:
        if self._sorted is None:
            self._sorted = sorted(value for part in self._parts for value in part)
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
        self._length = length
        self.seconds = length * interval
        self._objective = objective
        empty = (0, (), (), 0.0, 0.0, 0)
        self._entries: deque[tuple[int, list[float], list[float], float, float, int]] = deque(
            cast("list[tuple[int, list[float], list[float], float, float, int]]", [empty] * length),
            maxlen=length,
        )
        self._quiet = length
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
    def arrival_rate(self) -> float:
        """Uploads that arrived per second."""
        return self.arrivals / self.seconds

    @property
    def throughput(self) -> float:
        """Uploads that were reported per second."""
        return self.count / self.seconds

    @property
    def response_time(self) -> Percentiles | None:
        """Of the reported uploads; None where there are none."""
        return self._percentiles(self._response_sum, 1)

    @property
    def service_time(self) -> Percentiles | None:
        """Of the reported uploads; None where there are none."""
        return self._percentiles(self._service_sum, 2)

    @property
    def waiting_time(self) -> Percentiles | None:
        """Response less service, of the reported uploads; None where there are none."""
        if not self.count:
            return None
        parts = (
            [response - service for response, service in zip(entry[1], entry[2], strict=True)]
            for entry in self._entries
        )
        mean = (self._response_sum - self._service_sum) / self.count
        return cast("Percentiles", LazyPercentiles(self.count, mean, parts))

    @property
    def attainment(self) -> float | None:
        """Share of the reported uploads that met the objective; None where there are none."""
        return 1 - self.late / self.count if self.count else None

    def _percentiles(self, total: float, column: int) -> Percentiles | None:
        if not self.count:
            return None
        parts = (cast("list[float]", entry[column]) for entry in self._entries)
        return cast("Percentiles", LazyPercentiles(self.count, total / self.count, parts))
