"""The workers of one application: statuses come in, counts by state and the start-up delay go out.

A worker whose newest status is older than three status intervals is not counted: what it does is unknown.
"""

from __future__ import annotations

import statistics
from collections import deque

from msgspec import Struct

from upswell.messages import WorkerStatus

STALE_AFTER_INTERVALS = 3
FORGOTTEN_AFTER_INTERVALS = 30
_MAX_WORKERS = 20_000
DELAYS_KEPT = 10
"""Newest start-ups: of them are the start-up delay, a start's part of a processor, a new worker's slots."""


class WorkerCounts(Struct, frozen=True, gc=False):
    """Workers by state; `busy` of them run something, `in_flight` uploads in all; `stale` are silent.

    `slots` are those of the ready workers. Of `in_flight` what was reported since as ended is left out.
    """

    starting: int = 0
    ready: int = 0
    standby: int = 0
    draining: int = 0
    busy: int = 0
    in_flight: int = 0
    slots: int = 0
    stale: int = 0


_NONE_HEARD = WorkerCounts()


class _Heard(Struct, gc=False):
    """A worker's newest status, when it was received, and uploads reported as ended after it was sent."""

    status: WorkerStatus
    at: float
    ended: int = 0


class WorkerStatuses:
    """The newest status of each worker of one application, sent every `status_interval` seconds.

    `start_seconds` sums, over the workers asked for since `started_at`, the time from the request to the
    first status: they are billed for it, and no later count can show it.
    """

    def __init__(self, status_interval: float, started_at: float = 0.0) -> None:
        self.start_seconds = 0.0
        self._started_at = started_at
        self._billed: dict[str, None] = {}  # in order, the oldest is forgotten first
        self._stale_after = STALE_AFTER_INTERVALS * status_interval
        self._forgotten_after = FORGOTTEN_AFTER_INTERVALS * status_interval
        self._newest: dict[str, _Heard] = {}
        self._delays: deque[float] = deque(maxlen=DELAYS_KEPT)
        self._start_cpu: deque[float] = deque(maxlen=DELAYS_KEPT)
        self._slots: dict[str, int] = {}
        """Of the newest workers, in the order in which they became ready; some may have gone."""

    def heard(self, status: WorkerStatus, at: float) -> None:
        """Take in a status received at `at`."""
        before = self._newest.get(status.worker_id)
        if status.state == "stopped":
            self._newest.pop(status.worker_id, None)
            return
        if before is None and len(self._newest) >= _MAX_WORKERS:
            return
        self._newest[status.worker_id] = _Heard(status, at)
        if before is None:
            self._bill_start(status, at)
        if status.ready_at is not None:
            self._note_slots(status, new=before is None or before.status.ready_at is None)
        if status.start_cpu is not None and (before is None or before.status.start_cpu is None):
            self._start_cpu.append(status.start_cpu)
        first_ready = status.ready_at is not None and (before is None or before.status.ready_at is None)
        if first_ready and status.requested_at is not None and status.ready_at is not None:
            # The two instants come from two clocks: a difference below 0 counts as 0.
            self._delays.append(max(0.0, status.ready_at - status.requested_at))

    def _note_slots(self, status: WorkerStatus, *, new: bool) -> None:
        """Note the slots of a new worker, and what it finds later where it may choose (`slots = "auto"`)."""
        if new and status.worker_id not in self._slots and len(self._slots) >= DELAYS_KEPT:
            del self._slots[next(iter(self._slots))]
        if new or status.worker_id in self._slots:
            self._slots[status.worker_id] = status.slots

    def forget_slots(self) -> None:
        """Forget what new workers had: from now on they are started with other settings."""
        self._slots.clear()

    def ended(self, worker_id: str, finished_at: float) -> None:
        """Take in that an upload of a worker ended at an instant of the worker's own clock."""
        heard = self._newest.get(worker_id)
        if heard is not None and finished_at > heard.status.at:
            heard.ended += 1

    def _bill_start(self, status: WorkerStatus, at: float) -> None:
        """Add the time from the request to the first status of a worker that was never heard before."""
        requested_at = status.requested_at
        if requested_at is None or requested_at < self._started_at or status.worker_id in self._billed:
            return
        if len(self._billed) >= _MAX_WORKERS:
            del self._billed[next(iter(self._billed))]
        self._billed[status.worker_id] = None
        # Never more than has passed here: the other two clocks may be wrong.
        self.start_seconds += min(max(0.0, status.at - requested_at), at - self._started_at)

    @property
    def start_delay(self) -> float | None:
        """Mean seconds from asking for a worker to its being ready, of the newest ten; None before one."""
        return sum(self._delays) / len(self._delays) if self._delays else None

    @property
    def start_cpu(self) -> float | None:
        """Median of what the newest ten took of a processor until they were ready; None before one told."""
        return statistics.median(self._start_cpu) if self._start_cpu else None

    @property
    def slots_of_new(self) -> float | None:
        """Mean slots of the newest ten workers; None before one."""
        return sum(self._slots.values()) / len(self._slots) if self._slots else None

    def count(self, now: float) -> WorkerCounts:
        """Return the workers by state at `now`, and forget those not heard of for long."""
        if not self._newest:
            return _NONE_HEARD
        states = {"starting": 0, "ready": 0, "standby": 0, "draining": 0}
        busy = in_flight = slots = stale = 0
        gone: list[str] = []
        for worker_id, heard in self._newest.items():
            status, silent = heard.status, now - heard.at
            if silent <= self._stale_after:
                states[status.state] += 1
                busy += status.busy > 0
                in_flight += max(0, status.busy - heard.ended)  # it may have ended some that it began since
                if status.state == "ready":
                    slots += status.slots
            elif silent <= self._forgotten_after:
                stale += 1
            else:
                gone.append(worker_id)
        for worker_id in gone:
            del self._newest[worker_id]
        return WorkerCounts(**states, busy=busy, in_flight=in_flight, slots=slots, stale=stale)
