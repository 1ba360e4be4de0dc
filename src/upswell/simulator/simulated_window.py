"""The monitor's window, kept incrementally: percentiles are computed only when a policy asks.

In: what was reported since the decision before. Out: counts and distributions, by the definitions of
`analysis/report_window.py`. It knows no upload before its report, nor how long a waiting one takes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, cast

from upswell.analysis.report_window import SERVICE_MEMORY
from upswell.analysis.snapshot import Ranked

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.snapshot import Percentiles

    Entry = tuple[list[float], list[float], float, float, int]
    """Response times, service times, their sums, late uploads."""
    Values = Callable[[Entry], list[float]]

CAPACITY = 10_000
"""Reports kept for percentiles: what a monitor keeps of its only application."""


class LazyPercentiles(Ranked):
    """Sorted only when asked."""

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


class SimulatedWindow:
    """Sums over the last `length` decision intervals; percentiles over their newest `capacity` reports."""

    def __init__(self, length: int, interval: float, objective: float, capacity: int = CAPACITY) -> None:
        self.seconds = length * interval
        self._objective = objective
        self._capacity = capacity
        self._entries: deque[Entry] = deque([_EMPTY] * length, maxlen=length)
        self.count = 0
        self.late = 0
        self._response_sum = 0.0
        self._service_sum = 0.0
        self._older: deque[float] = deque(maxlen=SERVICE_MEMORY)
        self.response_time: Percentiles | None = None
        """Of the reported uploads; None without any."""
        self.waiting_time: Percentiles | None = None
        """Response less service, of the reported uploads; None without any."""
        self.service_time: Percentiles | None = None
        """Of the reported uploads; where there are none, of the newest older ones; None where none ever."""

    @property
    def service_is_old(self) -> bool:
        """Whether older reports stand in for the service time."""
        return self.count == 0 and self.service_time is not None

    @property
    def attainment(self) -> float | None:
        """Share of the reported uploads that met the objective; None without any."""
        return 1 - self.late / self.count if self.count else None

    def add(self, responses: list[float], services: list[float]) -> int:
        """Note one interval's reports, oldest first; return how many of them were late."""
        old = self._entries[0]
        if not responses and not old[0]:  # nothing came and nothing goes: what was worked out still holds
            self._entries.append(_EMPTY)
            return 0
        if old[0]:
            self._forget(old)
        entry = _EMPTY
        if responses:
            entry = self._entry(responses, services)
            self._older += services[-SERVICE_MEMORY:]
        self._entries.append(entry)
        self._distribute()
        return entry[4]

    def _entry(self, responses: list[float], services: list[float]) -> Entry:
        objective = self._objective
        response_sum, service_sum = math.fsum(responses), math.fsum(services)
        late = 0
        if max(responses) > objective:
            late = sum(1 for response in responses if response > objective)
        self.count += len(responses)
        self.late += late
        self._response_sum += response_sum
        self._service_sum += service_sum
        return responses, services, response_sum, service_sum, late

    def _forget(self, old: Entry) -> None:
        self.count -= len(old[0])
        self.late -= old[4]
        if self.count:
            self._response_sum -= old[2]
            self._service_sum -= old[3]
        else:  # rounding errors end with the window
            self._response_sum = self._service_sum = 0.0

    def _distribute(self) -> None:
        """Recompute the distributions."""
        count, responses, services = self.count, self._response_sum, self._service_sum
        if not count:
            self.response_time = self.waiting_time = None
            older = list(self._older)
            total = math.fsum(older)
            self.service_time = _Lazy(
                len(older), total / len(older), (([], older, 0.0, total, 0),), _services
            )
            return
        if count > self._capacity:
            entries = _newest(self._entries, self._capacity)
            count = self._capacity
            responses = math.fsum(entry[2] for entry in entries)
            services = math.fsum(entry[3] for entry in entries)
        else:
            entries = tuple(self._entries)
        self.response_time = _Lazy(count, responses / count, entries, _responses)
        self.service_time = _Lazy(count, services / count, entries, _services)
        self.waiting_time = _Lazy(count, (responses - services) / count, entries, _waits)


def _newest(entries: deque[Entry], capacity: int) -> tuple[Entry, ...]:
    """Return the entries that hold the newest reports, cut to exactly `capacity` of them."""
    found: list[Entry] = []
    room = capacity
    for entry in reversed(entries):
        count = len(entry[0])
        if count >= room:
            responses, services = entry[0][count - room :], entry[1][count - room :]
            found.append((responses, services, math.fsum(responses), math.fsum(services), 0))
            break
        found.append(entry)
        room -= count
    return tuple(reversed(found))


# To a reader of the snapshot they are `Percentiles`.
_Lazy = cast("Callable[[int, float, tuple[Entry, ...], Values], Percentiles]", LazyPercentiles)


def _responses(entry: Entry) -> list[float]:
    return entry[0]


def _services(entry: Entry) -> list[float]:
    return entry[1]


def _waits(entry: Entry) -> list[float]:
    return [response - service for response, service in zip(entry[0], entry[1], strict=True)]


_EMPTY: Entry = ([], [], 0.0, 0.0, 0)
