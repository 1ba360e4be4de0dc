"""How fast slots work with each number of workers: snapshots come in, rates with their spread go out.

The unit is the batch: a stretch of a few service times with the same ready workers, none draining, hardly any
attempt failing, begun a service time after the last change (an upload begun before it says nothing of what
came after). Uploads finished / slot-seconds is the rate of one busy slot (by Little's law 1 / service time,
at any load); where all slots are busy and uploads wait, uploads finished / seconds is what these workers can
do. Batches are kept by number of workers and never picked by how busy they were: what is picked for being
low is low by chance. It knows no policies.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upswell.analysis.snapshot import Snapshot

SATURATED = 0.9
"""Share of the ready slots that are busy where, with uploads waiting besides, more could not be done."""
FAILING = 0.1
"""With more than this share of failed attempts, throughput says nothing of capacity."""
SERVICES_A_BATCH = 2.0
"""Mean service times in a batch: fewer, and it would matter where in an upload it begins."""
KEPT = 60
"""Newest batches kept of each number of workers."""

# Student's t, 99.9 % on one side, by degrees of freedom (any table); between two the smaller counts.
_STUDENT = (
    (1, 318.3), (2, 22.3), (3, 10.2), (4, 7.17), (5, 5.89), (6, 5.21), (7, 4.79), (8, 4.50), (10, 4.14),
    (12, 3.93), (15, 3.73), (20, 3.55), (30, 3.39), (60, 3.23),
)  # fmt: skip


class SlotBatch(Struct, frozen=True, gc=False):
    """One stretch: when it ended, its ready workers, its length, the uploads finished in it, slot-seconds.

    `saturated`: all slots were busy and uploads waited, from a service time before the begin to the end.
    """

    at: float
    workers: int
    seconds: float
    stored: int
    slot_seconds: float
    saturated: bool


class Estimate(Struct, frozen=True):
    """A rate, from `stored` uploads in `count` batches, with its standard error."""

    mean: float
    error: float
    count: int
    stored: int


def throughput(batches: Sequence[SlotBatch]) -> Estimate:
    """Return the uploads a second, from two batches or more."""
    return _ratio([b.stored for b in batches], [b.seconds for b in batches])


def slot_rate(batches: Sequence[SlotBatch]) -> Estimate:
    """Return the uploads a second and busy slot, from two batches or more."""
    return _ratio([b.stored for b in batches], [b.slot_seconds for b in batches])


def _ratio(counts: list[int], sizes: list[float]) -> Estimate:
    """Return sum / sum: long batches weigh more, so short ones, cut while uploads were quick, do not mislead.

    Its error is that of a ratio estimator (W. G. Cochran, "Sampling Techniques", chapter 6).
    """
    number, size = len(counts), math.fsum(sizes)
    ratio = sum(counts) / size
    squares = math.fsum((count - ratio * one) ** 2 for count, one in zip(counts, sizes, strict=True))
    error = math.sqrt(squares * number / (number - 1)) / size
    return Estimate(ratio, error, number, sum(counts))


def ratio_bounds(one: Estimate, other: Estimate, quantile: float | None = None) -> tuple[float, float]:
    """Return bounds of `one` / `other`, each with a confidence of 99.9 %, or that of `quantile`.

    First-order error propagation: the relative errors add as squares; t for the smaller sample is on the safe
    side.
    """
    if one.mean <= 0 or other.mean <= 0:
        return 0.0, math.inf
    relative = math.hypot(one.error / one.mean, other.error / other.mean)
    width = relative * (student(min(one.count, other.count) - 1) if quantile is None else quantile)
    ratio = one.mean / other.mean
    return ratio * max(0.0, 1 - width), ratio * (1 + width)


def student(freedom: int) -> float:
    """Return Student's t for 99.9 % on one side.

    >>> student(9)
    4.5
    """
    value = math.inf
    for degrees, quantile in _STUDENT:
        if degrees > freedom:
            break
        value = quantile
    return value


class SlotRates:
    """Cuts what is seen into batches, and keeps them by workers for `memory` seconds."""

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._batches: dict[int, deque[SlotBatch]] = {}
        self._last: tuple[float, int] | None = None  # when, and the busy slots
        self._stored_now = 0
        self._workers = 0
        self._steady_since = 0.0
        self._saturated_since: float | None = None
        self._begin: float | None = None
        self._stored = 0
        self._slot_seconds = 0.0

    def observe(self, snapshot: Snapshot) -> SlotBatch | None:
        """Take in a snapshot; return the batch that it completes, if any."""
        self._count(snapshot)
        now, busy = snapshot.at, None if snapshot.unheard_in_flight else snapshot.messages_unacknowledged
        last, self._last = self._last, None if busy is None else (now, busy)
        if busy is None or not _is_saturated(snapshot, busy):
            self._saturated_since = None
        elif self._saturated_since is None:
            self._saturated_since = now
        same = snapshot.workers.ready == self._workers
        if busy is None or last is None or now <= last[0] or not same or not _is_measurable(snapshot):
            self._workers, self._steady_since, self._begin = snapshot.workers.ready, now, None
            return None
        if self._begin is None:
            if now - self._steady_since >= _settling(snapshot):
                self._start(now)
            return None
        self._slot_seconds += (busy + last[1]) / 2 * (now - last[0])
        if now - self._begin < SERVICES_A_BATCH * _service(snapshot) or not self._slot_seconds:
            return None
        return self._close(self._begin, now, _settling(snapshot))

    def of(self, workers: int) -> list[SlotBatch]:
        """Return the batches of that many workers, oldest first."""
        return list(self._batches.get(workers, ()))

    def below(self, workers: float) -> list[list[SlotBatch]]:
        """Return the batches of each smaller number of workers."""
        return [list(batches) for number, batches in sorted(self._batches.items()) if number < workers]

    def forget(self) -> None:
        """Forget all batches."""
        self._batches.clear()

    def _start(self, now: float) -> None:
        self._begin, self._stored, self._slot_seconds = now, self._stored_now, 0.0

    def _close(self, begin: float, now: float, settling: float) -> SlotBatch:
        batch = SlotBatch(
            now,
            self._workers,
            now - begin,
            self._stored_now - self._stored,
            self._slot_seconds,
            self._saturated_since is not None and begin - self._saturated_since >= settling,
        )
        self._start(now)
        self._batches.setdefault(self._workers, deque(maxlen=KEPT)).append(batch)
        for number in [n for n, kept in self._batches.items() if kept[-1].at < now - self._memory]:
            del self._batches[number]
        return batch

    def _count(self, snapshot: Snapshot) -> None:
        """Bring up to date a number that grows by the uploads stored."""
        if snapshot.totals is None:
            self._stored_now += len(snapshot.recent_response_times)
        else:
            self._stored_now = snapshot.totals.stored


def _is_measurable(snapshot: Snapshot) -> bool:
    if snapshot.workers.draining or snapshot.stale:
        return False
    if snapshot.throughput is None:
        return False
    return snapshot.failures <= FAILING * snapshot.throughput * snapshot.window


def _is_saturated(snapshot: Snapshot, busy: int) -> bool:
    """Whether all slots are busy and each worker has at least one more upload waiting for it."""
    ready, waiting = snapshot.workers.ready, snapshot.messages_ready
    return waiting is not None and 0 < ready <= waiting and busy >= SATURATED * snapshot.ready_slots


def _service(snapshot: Snapshot) -> float:
    known = snapshot.service_time or snapshot.response_time
    return snapshot.window if known is None else known.mean


def _settling(snapshot: Snapshot) -> float:
    known = snapshot.service_time or snapshot.response_time
    return snapshot.window if known is None else max(known.p95, known.mean)
