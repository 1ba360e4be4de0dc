"""Uploads as the simulator reads them: sorted arrivals and service times, in chunks of bounded memory.

In: arrays, or an iterable of arrays, or a CSV file with the columns `arrival_s,service_s`. Out: a stream that
the engine consumes from the front. It knows nothing of workers.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from upswell.errors import TraceError
from upswell.workload.columns import read_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Chunk = tuple[NDArray[np.float64], NDArray[np.float64]]

CHUNK = 65_536
"""Uploads turned into Python floats at once: few enough for the cache, enough to hide the loop around."""


def check(arrivals: NDArray[np.float64], services: NDArray[np.float64], after: float = -np.inf) -> None:
    """Raise a TraceError unless arrivals and service times pair up and are finite, sorted, not negative."""
    if len(arrivals) != len(services):
        raise TraceError(
            f"each arrival needs one service time, got {len(arrivals)} arrivals and {len(services)} times"
        )
    if len(arrivals) == 0:
        return
    for name, values in (("arrivals", arrivals), ("service times", services)):
        if not np.isfinite(values).all():
            index = int(np.argmin(np.isfinite(values)))
            raise TraceError(f"{name} must be finite numbers, got {values[index]:g} (upload {index + 1})")
    index = int(np.argmin(services))
    if services[index] < 0:
        raise TraceError(f"service times must be >= 0 s, got {services[index]:g} (upload {index + 1})")
    before = np.concatenate(([after], arrivals[:-1]))
    if bool(np.any(arrivals < before)):
        index = int(np.argmax(arrivals < before))
        raise TraceError(
            f"arrivals must be sorted, each at or after the one before, got {arrivals[index]:g} after "
            f"{before[index]:g} (upload {index + 1})"
        )


def read_jobs(path: str | Path) -> Chunk:
    """Return (arrivals, service times) of a CSV file with header `arrival_s,service_s`, or a `.gz` of one.

    Raises:
        TraceError: the file cannot be read, lacks a column, or holds what `check` refuses.
    """
    arrivals, services = read_columns(path, "arrival_s", "service_s")
    if len(arrivals) == 0:
        raise TraceError(f"the trace has no uploads: {path}")
    check(arrivals, services)
    if arrivals[0] < 0:
        raise TraceError(f"arrivals must be >= 0 s, got {arrivals[0]:g} (upload 1)")
    return arrivals, services


def in_chunks(arrivals: NDArray[np.float64], services: NDArray[np.float64]) -> Iterator[Chunk]:
    """Yield the uploads in pieces of `CHUNK`."""
    for begin in range(0, len(arrivals), CHUNK):
        yield arrivals[begin : begin + CHUNK], services[begin : begin + CHUNK]


class JobStream:
    """Uploads in order of arrival: `arrivals[head:arrived]` wait, a worker took those before `head`."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self._exhausted = False
        self.arrivals: list[float] = []
        self.services: list[float] = []
        self.head = 0
        self.arrived = 0
        self.last = 0.0
        self.total = 0
        self.work = 0.0
        self._load()
        self.first = self.arrivals[0] if self.arrivals else 0.0

    def _load(self) -> bool:
        """Append the next chunk, forget what was taken; return whether there was one."""
        for arrivals, services in self._chunks:
            if len(arrivals) == 0:
                continue
            check(arrivals, services, self.last if self.arrivals else -np.inf)
            self.arrivals = self.arrivals[self.head :]
            self.services = self.services[self.head :]
            self.arrived -= self.head
            self.head = 0
            self.arrivals += arrivals.tolist()
            self.services += services.tolist()
            self.last = self.arrivals[-1]
            self.total += len(arrivals)
            self.work += float(services.sum())
            return True
        self._exhausted = True
        return False

    def arrive_until(self, now: float) -> None:
        """Let all uploads up to `now` arrive."""
        arrivals, arrived = self.arrivals, self.arrived
        if arrived < len(arrivals) and arrivals[arrived] > now:
            return
        while True:
            self.arrived = bisect_right(self.arrivals, now, self.arrived)
            if self.arrived < len(self.arrivals) or self._exhausted or not self._load():
                return

    def arrive_chunk(self) -> bool:
        """Let a whole chunk arrive; return whether there was one."""
        if self.arrived == len(self.arrivals) and not self._exhausted:
            self._load()
        new = len(self.arrivals) - self.arrived
        self.arrived = len(self.arrivals)
        return new > 0

    @property
    def waiting(self) -> int:
        """Uploads that have arrived and not begun."""
        return self.arrived - self.head

    @property
    def over(self) -> bool:
        """Whether every upload has arrived and begun."""
        return self.head == len(self.arrivals) and self._exhausted

    @property
    def ended(self) -> bool:
        """Whether every upload has arrived."""
        return self._exhausted and self.arrived == len(self.arrivals)
