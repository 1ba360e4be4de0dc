"""What a simulated fleet cost and how long its uploads took, in bounded memory.

In: starts, ends and response times as they happen. Out: a `SimulatedOutcome`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS_PER_DOUBLING = 128
_SMALLEST = 1e-4
_BINS = 40 * _BINS_PER_DOUBLING
_FLUSH = 65_536


class SimulatedOutcome(Struct, frozen=True, kw_only=True):
    """One simulated run, in seconds and worker-seconds; dead and unfinished uploads count as late."""

    uploads: int
    finished: int
    late: int
    attainment: float
    work: float
    """Sum of the service times of all uploads."""
    cost: float
    """Billed worker-seconds, from asking for a worker to its end: start-up, standby and draining included."""
    cost_starting: float
    cost_busy: float
    cost_idle: float
    cost_standby: float
    cost_draining: float
    mean_waiting: float
    p50: float
    p95: float
    p99: float
    maximum: float
    peak_workers: int
    starts: int
    scalings: int
    """Decisions that changed the number of workers wanted."""
    redelivered: int = 0
    dead: int = 0
    timeline: tuple[tuple[float, int, int, int], ...] = ()
    """(seconds, workers ready or starting, uploads in the system, workers wanted) at each decision."""

    @property
    def cost_over_work(self) -> float:
        """Cost over the sum of the service times; infinite where there was no work."""
        return self.cost / self.work if self.work > 0 else np.inf


class Accounts:
    """Counts billed seconds; response times go into a histogram whose bins are 0.5 % wide."""

    def __init__(self, objective: float, stop_delay: float) -> None:
        self._objective = objective
        self._stop_delay = stop_delay
        self._pending: list[float] = []
        self._histogram: NDArray[np.int64] = np.zeros(_BINS, dtype=np.int64)
        self.finished = 0
        self.late = 0
        self._response_sum = 0.0
        self._maximum = 0.0
        self.work_done = 0.0
        self.work = 0.0
        self.uploads = 0
        self.cost = 0.0
        self.starting = 0.0
        self.standby = 0.0
        self.draining = 0.0
        self.busy = 0.0
        """Worker-seconds with at least one upload; with one slot a worker it is the work done."""
        self.busy_is_work = True
        self.starts = 0
        self.redelivered = 0
        self.dead = 0
        self.stopped = 0.0
        """Part of `draining`, without an upload."""
        self._stops: list[float] = []

    def respond(self, response_times: list[float], work: float) -> None:
        """Note uploads that were answered, and the service times' sum."""
        self._pending += response_times
        self.work_done += work
        if len(self._pending) >= _FLUSH:
            self.flush()

    def leave(self, at: float) -> None:
        """Bill a worker until `at`, when it has nothing left to do, and for what leaving takes."""
        self.cost += at
        if self._stop_delay:
            self._stops.append(at)

    def close(self, now: float) -> None:
        """Add what leaving cost until `now`."""
        left = math.fsum(min(self._stop_delay, max(0.0, now - at)) for at in self._stops)
        self.cost += left
        self.draining += left
        self.stopped = left

    def flush(self) -> None:
        """Sort what is pending into the histogram."""
        if not self._pending:
            return
        times = np.array(self._pending)
        self._pending.clear()
        self.finished += len(times)
        self.late += int(np.count_nonzero(times > self._objective))
        self._response_sum += float(times.sum())
        self._maximum = max(self._maximum, float(times.max()))
        bins = np.log2(np.maximum(times, _SMALLEST) / _SMALLEST) * _BINS_PER_DOUBLING
        self._histogram += np.bincount(np.minimum(bins.astype(np.int64), _BINS - 1), minlength=_BINS)

    def percentile(self, share: float) -> float:
        """Return the response time that a share of the finished uploads stayed within, to half a percent."""
        self.flush()
        if self.finished == 0:
            return 0.0
        bin_index = int(np.searchsorted(np.cumsum(self._histogram), share * self.finished))
        return min(self._maximum, float(_SMALLEST * 2 ** ((bin_index + 0.5) / _BINS_PER_DOUBLING)))

    def outcome(
        self, *, peak: int, scalings: int, timeline: tuple[tuple[float, int, int, int], ...] = ()
    ) -> SimulatedOutcome:
        """Return everything that was noted."""
        self.flush()
        late = self.late + self.uploads - self.finished
        busy = (self.work_done if self.busy_is_work else self.busy) - (self.draining - self.stopped)
        return SimulatedOutcome(
            uploads=self.uploads,
            finished=self.finished,
            late=late,
            attainment=1 - late / self.uploads if self.uploads else 1.0,
            work=self.work,
            cost=self.cost,
            cost_starting=self.starting,
            cost_busy=busy,
            cost_idle=max(0.0, self.cost - self.starting - self.standby - self.draining - busy),
            cost_standby=self.standby,
            cost_draining=self.draining,
            mean_waiting=(self._response_sum - self.work_done) / self.finished if self.finished else 0.0,
            p50=self.percentile(0.5),
            p95=self.percentile(0.95),
            p99=self.percentile(0.99),
            maximum=self._maximum,
            peak_workers=peak,
            starts=self.starts,
            scalings=scalings,
            redelivered=self.redelivered,
            dead=self.dead,
            timeline=timeline,
        )
