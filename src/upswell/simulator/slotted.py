"""Workers with several slots, that may crash, behind a bottleneck: every upload is followed singly.

In and out as in `pool.py`, whose place it takes where a plant needs it; about a quarter of that one's speed.
A crashed worker's uploads are redelivered before all others, until the delivery limit; the fleet starts
another worker at the next decision.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from upswell.simulator.pool import MEASURED_STARTS

if TYPE_CHECKING:
    from random import Random

    from upswell.simulator.jobs import JobStream
    from upswell.simulator.ledger import Ledger
    from upswell.simulator.plant import Plant


class Upload:
    """One upload under way or to be redelivered."""

    __slots__ = ("arrival", "attempt", "finish", "service", "worker")

    def __init__(self, arrival: float, service: float) -> None:
        self.arrival = arrival
        self.service = service
        self.attempt = 0
        self.finish = 0.0
        self.worker: Worker | None = None


class Worker:
    """One worker; `running` holds its uploads."""

    __slots__ = ("busy_since", "consuming", "draining_since", "number", "ready_at", "requested_at", "running")

    def __init__(self, number: int, requested_at: float, ready_at: float) -> None:
        self.number = number
        self.requested_at = requested_at
        self.ready_at = ready_at
        self.running: set[Upload] = set()
        self.busy_since = 0.0
        self.consuming = True
        self.draining_since: float | None = None


class SlottedPool:
    """See the module; the methods are those of `WorkerPool`."""

    def __init__(self, plant: Plant, ledger: Ledger, rng: Random, begin: float) -> None:
        self._plant, self._ledger, self._rng = plant, ledger, rng
        self._numbers = 0
        self._workers: dict[int, Worker] = {}
        self._leaving: dict[int, Worker] = {}
        self._free: list[tuple[float, int, Worker]] = []
        self._endings: list[tuple[float, int, Upload]] = []
        self._crashes: list[tuple[float, int, Worker]] = []
        self._returned: deque[Upload] = deque()
        self._unready: list[Worker] = []
        self._delays: deque[float] = deque(maxlen=MEASURED_STARTS)
        self._ended: list[float] = []
        self._serial = 0
        self.in_flight = 0
        ledger.busy_is_work = False
        for _ in range(plant.initial_workers):
            self._enter(Worker(self._number(), begin, begin))

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _enter(self, worker: Worker) -> None:
        self._workers[worker.number] = worker
        self._ledger.cost -= worker.requested_at
        for _ in range(self._plant.slots):
            self._offer(worker.ready_at, worker)
        mean = self._plant.mean_time_between_crashes
        if mean:
            at = worker.ready_at + self._rng.expovariate(1 / mean)
            heappush(self._crashes, (at, worker.number, worker))

    def _offer(self, at: float, worker: Worker) -> None:
        self._serial += 1
        heappush(self._free, (at, self._serial, worker))

    def serve(self, stream: JobStream, until: float) -> None:
        """Let uploads start, end and fall to crashes in the order of time, up to `until`."""
        while True:
            start = self._next_start(stream)
            crash = self._crashes[0][0] if self._crashes else math.inf
            if crash <= min(start, until):
                self._crash(*heappop(self._crashes))
                continue
            if start > until:
                break
            self._begin(stream, start)
        self._end_until(until)

    def _next_start(self, stream: JobStream) -> float:
        """Return when the next upload can start; infinite where none waits or no worker is there."""
        free = self._free
        while free and not free[0][2].consuming:
            heappop(free)
        if not free:
            return math.inf
        if self._returned:
            return max(free[0][0], self._ended_at)
        if stream.waiting:
            return max(free[0][0], stream.arrivals[stream.head])
        return math.inf

    _ended_at = -math.inf
    """When the last crash was: what it gave back cannot start before."""

    def _begin(self, stream: JobStream, start: float) -> None:
        _, _, worker = heappop(self._free)
        self._end_until(start)
        if self._returned:
            upload = self._returned.popleft()
        else:
            upload = Upload(stream.arrivals[stream.head], stream.services[stream.head])
            stream.head += 1
        self.in_flight += 1
        slow_down = self._plant.slow_down
        factor = slow_down(self.in_flight) if slow_down else 1.0
        upload.attempt += 1
        upload.finish = start + upload.service * factor
        upload.worker = worker
        if not worker.running:
            worker.busy_since = start
        worker.running.add(upload)
        self._serial += 1
        heappush(self._endings, (upload.finish, self._serial, upload))
        self._offer(upload.finish, worker)

    def _end_until(self, now: float) -> None:
        while self._endings and self._endings[0][0] <= now:
            finish, _, upload = heappop(self._endings)
            worker = upload.worker
            if worker is None or upload not in worker.running or upload.finish != finish:
                continue  # it fell to a crash
            self._ended += (finish - upload.arrival, upload.service)
            self._release(upload, worker, finish)
            if worker.draining_since is not None and not worker.running:
                self._bill(worker, finish)
                self._ledger.stopping(finish, self._plant.stop_delay)
                del self._leaving[worker.number]

    def _release(self, upload: Upload, worker: Worker, at: float) -> None:
        worker.running.discard(upload)
        self.in_flight -= 1
        if not worker.running:
            self._ledger.busy += at - worker.busy_since

    def _crash(self, at: float, number: int, worker: Worker) -> None:
        self._end_until(at)
        if number not in self._workers and number not in self._leaving:
            return
        self._ended_at = at
        for upload in sorted(worker.running, key=lambda upload: upload.arrival, reverse=True):
            self._release(upload, worker, at)
            upload.worker = None
            self._ledger.redelivered += 1
            if upload.attempt >= self._plant.delivery_limit:
                self._ledger.dead += 1
            else:
                self._returned.appendleft(upload)
        worker.consuming = False
        self._bill(worker, at)
        self._workers.pop(number, None)
        self._leaving.pop(number, None)

    def _bill(self, worker: Worker, at: float) -> None:
        self._ledger.cost += at
        if worker.draining_since is not None:
            self._ledger.draining += at - worker.draining_since

    def scale(self, now: float, wanted: int) -> None:
        """Ask for more workers, or drain some: starting ones first, then the idlest, the newest of them."""
        while len(self._workers) < wanted:
            delay = self._plant.start_delay
            worker = Worker(self._number(), now, now + (delay(self._rng) if callable(delay) else delay))
            self._ledger.starts += 1
            self._unready.append(worker)
            self._enter(worker)
        surplus = len(self._workers) - wanted
        if surplus <= 0:
            return
        idlest = sorted(
            self._workers.values(),
            key=lambda worker: (worker.ready_at <= now, len(worker.running), -worker.number),
        )
        for worker in idlest[:surplus]:
            self._drain(now, worker)

    def _drain(self, now: float, worker: Worker) -> None:
        worker.consuming = False
        del self._workers[worker.number]
        if worker.ready_at > now:
            self._ledger.starting += now - worker.requested_at
            self._unready.remove(worker)
        if worker.running:
            worker.draining_since = now
            self._leaving[worker.number] = worker
        else:
            self._bill(worker, now)
            self._ledger.stopping(now, self._plant.stop_delay)

    def tick(self, now: float) -> None:
        """Let workers become ready."""
        for worker in [worker for worker in self._unready if worker.ready_at <= now]:
            self._unready.remove(worker)
            self._delays.append(worker.ready_at - worker.requested_at)
            self._ledger.starting += worker.ready_at - worker.requested_at

    def take_ended(self, number: int) -> list[float]:  # noqa: ARG002 - the other pool sorts by interval
        """Return response and service times, in turns, of what ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def close(self, now: float) -> None:
        """Stop billing."""
        for worker in self._unready:
            self._ledger.starting += min(now, worker.ready_at) - worker.requested_at
        for worker in (*self._workers.values(), *self._leaving.values()):
            self._bill(worker, now)
            if worker.running:
                self._ledger.busy += now - worker.busy_since

    def waiting(self, stream: JobStream) -> int:
        """Uploads that no worker has, given back ones included."""
        return stream.waiting + len(self._returned)

    @property
    def size(self) -> int:
        """Workers ready or starting."""
        return len(self._workers)

    @property
    def billed(self) -> int:
        """Workers that are paid for."""
        return len(self._workers) + len(self._leaving)

    @property
    def starting(self) -> int:
        """Workers asked for, not yet ready."""
        return len(self._unready)

    @property
    def draining(self) -> int:
        """Workers that finish their uploads and leave."""
        return len(self._leaving)

    @property
    def standby(self) -> int:
        """None: a plant with slots, crashes or a bottleneck has no standby workers yet."""
        return 0

    @property
    def busy_workers(self) -> int:
        """Workers with at least one upload."""
        workers = (*self._workers.values(), *self._leaving.values())
        return sum(1 for worker in workers if worker.running)

    @property
    def start_delay(self) -> float | None:
        """Mean of the recent starts' delays; None before the first."""
        return sum(self._delays) / len(self._delays) if self._delays else None
