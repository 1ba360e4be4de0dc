"""How fast slots work at each concurrency: snapshots come in, mean and spread of throughput go out.

The unit is the batch: a stretch in which the number of busy slots stayed about the same and was so for a
service time before (an upload begun under the old number says nothing of the new one), no worker drained, and
few attempts failed. Uploads finished / slot-seconds is the rate of one busy slot (by Little's law 1 / service
time, at any load). Batches of about the same concurrency make a level. Must not know: policies.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upswell.analysis.snapshot import Snapshot

STEADY = 0.2
"""Busy slots within this share of the stretch's first are "the same number"."""
SATURATED = 0.9
"""Share of the ready slots that are busy where, with uploads waiting besides, more could not be done."""
FAILING = 0.1
"""With more than this share of failed attempts, throughput says nothing of capacity."""
SERVICES_A_BATCH = 2.0
"""Mean service times in a batch: fewer, and it would matter where in an upload it begins."""
KEPT = 40
"""Newest batches kept of each level."""
_LEVEL_RATIO = 1.25

# Student's t, 99.9 % on one side, by degrees of freedom (any table); between two the smaller counts.
_STUDENT = (
    (1, 318.3), (2, 22.3), (3, 10.2), (4, 7.17), (5, 5.89), (6, 5.21), (7, 4.79), (8, 4.50), (10, 4.14),
    (12, 3.93), (15, 3.73), (20, 3.55), (30, 3.39), (60, 3.23),
)  # fmt: skip


class Batch(Struct, frozen=True, gc=False):
    """One stretch: when it ended, how long it was, the uploads finished in it, and the slot-seconds.

    `workers` is the number that were ready, where all their slots were busy and uploads waited from begin to
    end; else None.
    """

    at: float
    seconds: float
    stored: int
    slot_seconds: float
    workers: int | None

    @property
    def busy_slots(self) -> float:
        """Mean number of busy slots."""
        return self.slot_seconds / self.seconds


class Estimate(Struct, frozen=True):
    """A rate, from `stored` uploads in `count` batches, with its standard error."""

    mean: float
    error: float
    count: int
    stored: int


def throughput(batches: Sequence[Batch]) -> Estimate:
    """Return the uploads a second, from two batches or more."""
    return _ratio([b.stored for b in batches], [b.seconds for b in batches])


def slot_rate(batches: Sequence[Batch]) -> Estimate:
    """Return the uploads a second and busy slot, from two batches or more."""
    return _ratio([b.stored for b in batches], [b.slot_seconds for b in batches])


def _ratio(counts: list[int], sizes: list[float]) -> Estimate:
    """Return sum / sum: long batches weigh more, so short ones, cut while uploads were quick, mislead nobody.

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
    """Cuts what is seen into batches, and keeps them by concurrency for `memory` seconds."""

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._levels: dict[int, deque[Batch]] = {}
        self._last: tuple[float, int, int] | None = None  # at, uploads stored so far, busy slots
        self._counted = 0
        self._steady_since = 0.0
        self._first_busy = 0
        self._saturated = True
        self._workers = 0
        self._begin: float | None = None
        self._stored = 0
        self._slot_seconds = 0.0

    def observe(self, snapshot: Snapshot) -> Batch | None:
        """Take in a snapshot; return the batch that it completes, if any."""
        stored = self._stored_so_far(snapshot)
        busy = snapshot.messages_unacknowledged
        last, now = self._last, snapshot.at
        self._last = (now, stored, busy) if busy else None
        if not busy or last is None or now <= last[0] or not _measurable(snapshot):
            self._restart(snapshot, busy or 0)
            return None
        if not self._is_steady(snapshot, busy):
            self._restart(snapshot, busy)
            return None
        if now - self._steady_since < _settling(snapshot):
            return None
        if self._begin is None:
            self._begin, self._stored, self._slot_seconds = now, stored, 0.0
            self._saturated = _is_saturated(snapshot, busy)
            return None
        self._saturated = self._saturated and _is_saturated(snapshot, busy)
        self._slot_seconds += (busy + last[2]) / 2 * (now - last[0])
        seconds = now - self._begin
        if seconds < SERVICES_A_BATCH * _service(snapshot):
            return None
        return self._close(now, stored, seconds)

    def level(self, busy_slots: float) -> list[Batch]:
        """Return the batches of about that concurrency, oldest first."""
        return list(self._levels.get(_level(busy_slots), ()))

    def below(self, busy_slots: float) -> list[list[Batch]]:
        """Return the batches of each level of less than that concurrency."""
        number = _level(busy_slots)
        return [list(batches) for level, batches in sorted(self._levels.items()) if level < number]

    def forget(self) -> None:
        """Begin anew."""
        self._levels.clear()

    def _close(self, now: float, stored: int, seconds: float) -> Batch:
        workers = self._workers if self._saturated else None
        batch = Batch(now, seconds, stored - self._stored, self._slot_seconds, workers)
        self._begin, self._stored, self._slot_seconds, self._saturated = now, stored, 0.0, True
        level = self._levels.setdefault(_level(batch.busy_slots), deque(maxlen=KEPT))
        level.append(batch)
        for number in [n for n, batches in self._levels.items() if batches[-1].at < now - self._memory]:
            del self._levels[number]
        return batch

    def _stored_so_far(self, snapshot: Snapshot) -> int:
        """Return a number that grows by the uploads stored."""
        self._counted += len(snapshot.recent_response_times)
        return self._counted if snapshot.totals is None else snapshot.totals.stored

    def _is_steady(self, snapshot: Snapshot, busy: int) -> bool:
        same = abs(busy - self._first_busy) <= max(1.0, STEADY * self._first_busy)
        return same and snapshot.workers.ready == self._workers

    def _restart(self, snapshot: Snapshot, busy: int) -> None:
        self._steady_since, self._first_busy, self._begin = snapshot.at, busy, None
        self._workers = snapshot.workers.ready


def _level(busy_slots: float) -> int:
    return round(math.log(max(1.0, busy_slots), _LEVEL_RATIO))


def _measurable(snapshot: Snapshot) -> bool:
    if snapshot.workers.draining or snapshot.stale:
        return False
    return snapshot.failures <= FAILING * (snapshot.throughput or 0.0) * snapshot.window


def _is_saturated(snapshot: Snapshot, busy: int) -> bool:
    """Whether all slots are busy and each worker has at least one more upload waiting for it."""
    ready = snapshot.workers.ready
    waiting = snapshot.messages_ready or 0
    return 0 < ready <= waiting and busy >= SATURATED * ready * snapshot.slots_per_worker


def _service(snapshot: Snapshot) -> float:
    known = snapshot.service_time or snapshot.response_time
    return snapshot.window if known is None else known.mean


def _settling(snapshot: Snapshot) -> float:
    known = snapshot.service_time or snapshot.response_time
    return snapshot.window if known is None else max(known.p95, known.mean)
