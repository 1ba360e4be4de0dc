"""Workers with several slots, that may crash, behind a bottleneck.

In and out as in `pool.py`, whose place it takes where a world needs it. A crashed worker's uploads are
redelivered before all others, until the delivery limit; the fleet starts another worker at the next decision,
and the monitor counts the crashed one until it has been silent for too long. It serves one slot as well, but
takes 2 times as long as `WorkerPool` for a fixed fleet, and 1.2 to 1.4 times under a policy.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter, deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from upswell.analysis.worker_statuses import (
    DELAYS_KEPT,
    FORGOTTEN_AFTER_INTERVALS,
    STALE_AFTER_INTERVALS,
)
from upswell.simulator.pool import Pool

if TYPE_CHECKING:
    from random import Random

    from upswell.simulator.jobs import JobStream
    from upswell.simulator.outcome import Accounts
    from upswell.simulator.startup import Coming
    from upswell.simulator.world import World


class SimulatedWorker:
    """One worker; `uploads` are kept where it may crash: end, arrival, service time, seconds run, attempt."""

    __slots__ = ("busy_until", "coming", "consuming", "number", "ready_at", "slots", "uploads")

    def __init__(self, number: int, coming: Coming, slots: int) -> None:
        self.number = number
        self.slots = slots
        self.coming = coming
        self.ready_at = coming[1]
        self.busy_until = coming[1]
        """When the last of its uploads ends."""
        self.consuming = True
        self.uploads: list[tuple[float, float, float, float, int]] = []

    def occupy(self, start: float, finish: float) -> float:
        """Give it an upload; return the seconds by which that makes it busy for longer."""
        until = self.busy_until
        if finish <= until:
            return 0.0
        self.busy_until = finish
        return finish - max(until, start)

    def __lt__(self, other: SimulatedWorker) -> bool:
        """Order by the instant of the request: for heaps and sorted lists."""
        return (self.coming[0], self.number) < (other.coming[0], other.number)


class SlottedPool(Pool):
    """See the module; the methods are those of `WorkerPool`."""

    _coming: list[SimulatedWorker]
    _leaving: list[tuple[float, SimulatedWorker]]

    def __init__(self, world: World, accounts: Accounts, rng: Random, begin: float) -> None:
        super().__init__(world, accounts, rng, begin)
        self._plant = world
        self._numbers = 0
        self._serial = 0
        self._workers: dict[int, SimulatedWorker] = {}
        self._free: list[tuple[float, int, SimulatedWorker]] = []
        """Slots: when each is free, a number of its own, whose it is."""
        self._crashes: list[tuple[float, SimulatedWorker]] = []
        self._returned: deque[tuple[float, float, int]] = deque()
        """Uploads given back: arrival, service time, deliveries so far."""
        self._returned_at = -math.inf
        self._silent: deque[tuple[float, bool]] = deque()
        self._ends: list[float] = []
        """When what is under way ends; kept where a bottleneck must know how many those are."""
        self._now = begin
        accounts.busy_is_work = False
        self._new: deque[int] = deque(maxlen=DELAYS_KEPT)
        """Slots of the newest workers that became ready."""
        for _ in range(world.initial_workers):
            self._new.append(self._enter((begin, begin)).slots)

    def _enter(self, coming: Coming) -> SimulatedWorker:
        self._numbers += 1
        slots_of = self._plant.slots_of
        slots = self._plant.slots if slots_of is None else slots_of(self._numbers)
        worker = SimulatedWorker(self._numbers, coming, slots)
        self._workers[worker.number] = worker
        for _ in range(slots):
            self._serial += 1
            heappush(self._free, (worker.ready_at, self._serial, worker))
        mean = self._plant.mean_time_between_crashes
        if mean:
            heappush(self._crashes, (worker.ready_at + self._rng.expovariate(1 / mean), worker))
        return worker

    def serve(self, stream: JobStream, until: float) -> None:
        """Let uploads start and fall to crashes in the order of time, up to `until`."""
        self._now = until
        if self._plant.slow_down is None and not self._plant.mean_time_between_crashes:
            self._serve_plainly(stream, until)
            return
        while True:
            start = self._next_start(stream)
            crash = self._crashes[0][0] if self._crashes else math.inf
            if crash <= min(start, until):
                self._crash(*heappop(self._crashes))
            elif start <= until:
                self._start(stream, start)
            else:
                break

    def _serve_plainly(self, stream: JobStream, until: float) -> None:
        """Do the same where nothing can go wrong."""
        free = self._free
        arrivals, services = stream.arrivals, stream.services
        begin, per_second, buckets = self._begin, self.due.per_second, self.due.by_interval
        head = index = stream.head
        arrived = stream.arrived
        busy = 0.0
        while index < arrived and free:
            start, serial, worker = free[0]
            if not worker.consuming:
                heappop(free)
                continue
            arrival = arrivals[index]
            if start < arrival:
                start = arrival
            elif start > until:
                break
            service = services[index]
            finish = start + service
            heapreplace(free, (finish, serial, worker))
            if finish > worker.busy_until:
                busy += worker.occupy(start, finish)
            number = int((finish - begin) * per_second)
            bucket = buckets.get(number)
            if bucket is None:
                buckets[number] = [finish, finish - arrival, service]
            else:
                bucket += (finish, finish - arrival, service)
            index += 1
        self._accounts.busy += busy
        self.in_flight += index - head
        stream.head = index

    def _next_start(self, stream: JobStream) -> float:
        """Return when the next upload can start; infinite where none waits or no worker is there."""
        free = self._free
        while free and not free[0][2].consuming:
            heappop(free)
        if not free:
            return math.inf
        if self._returned:
            return max(free[0][0], self._returned_at)
        if stream.waiting:
            return max(free[0][0], stream.arrivals[stream.head])
        return math.inf

    def _start(self, stream: JobStream, start: float) -> None:
        _, serial, worker = self._free[0]
        if self._returned:
            arrival, service, attempt = self._returned.popleft()
        else:
            arrival, service, attempt = stream.arrivals[stream.head], stream.services[stream.head], 0
            stream.head += 1
        seconds = service * self._slowness(start)
        finish = start + seconds
        heapreplace(self._free, (finish, serial, worker))
        self._accounts.busy += worker.occupy(start, finish)
        if self._plant.slow_down is not None:
            heappush(self._ends, finish)
        if self._plant.mean_time_between_crashes:
            worker.uploads = [upload for upload in worker.uploads if upload[0] > start]
            worker.uploads.append((finish, arrival, service, seconds, attempt + 1))
        bucket = self.due.by_interval.setdefault(self._interval(finish), [])
        bucket += (finish, finish - arrival, seconds)
        self.in_flight += 1

    def _slowness(self, start: float) -> float:
        """Return the factor on a service time that begins now, this upload counted among those that run."""
        slow_down = self._plant.slow_down
        if slow_down is None:
            return 1.0
        while self._ends and self._ends[0] <= start:
            heappop(self._ends)
        return slow_down(len(self._ends) + 1)

    def _interval(self, finish: float) -> int:
        return int((finish - self._begin) * self.due.per_second)

    def _crash(self, at: float, worker: SimulatedWorker) -> None:
        """Let a worker vanish; what it had in hand comes back, the oldest first, before all that waits."""
        leaving = worker.number not in self._workers
        if leaving and not any(one is worker for _, one in self._leaving):
            return  # it left in time
        accounts = self._accounts
        in_hand = sorted((upload for upload in worker.uploads if upload[0] > at), key=lambda one: -one[1])
        for finish, arrival, service, seconds, attempt in in_hand:
            self._take_back(finish, finish - arrival, seconds)
            accounts.redelivered += 1
            if attempt >= self._plant.delivery_limit:
                accounts.dead += 1
            else:
                self._returned.appendleft((arrival, service, attempt))
        self._returned_at = at
        too_much = max(0.0, worker.busy_until - at)
        accounts.busy -= too_much
        worker.consuming = False
        if leaving:
            accounts.cost -= too_much
            accounts.draining -= too_much
            self._leaving = [entry for entry in self._leaving if entry[1] is not worker]
            heapify(self._leaving)
        else:
            accounts.cost += at
            del self._workers[worker.number]
            self._silent.append((at, bool(in_hand)))

    def _take_back(self, finish: float, response: float, seconds: float) -> None:
        """Unmake an end that will not come."""
        number = self._interval(finish)
        bucket = self.due.by_interval[number]
        for place in range(0, len(bucket), 3):
            if bucket[place : place + 3] == [finish, response, seconds]:
                del bucket[place : place + 3]
                break
        if self._plant.slow_down is not None:
            self._ends.remove(finish)
            heapify(self._ends)
        self.in_flight -= 1

    def scale(self, now: float, wanted: int) -> None:
        """Ask for more workers, or drain some: starting ones first, then the idlest, the newest of them."""
        while len(self._workers) < wanted:
            coming, there = self._standby.call(now)
            worker = self._enter(coming)
            if there:
                self._new.append(worker.slots)
            else:
                insort(self._coming, worker)
        surplus = len(self._workers) - wanted
        while surplus > 0 and self._coming:
            self._call_off(now, self._coming.pop())
            surplus -= 1
        if surplus > 0:
            running = Counter(worker.number for free_at, _, worker in self._free if free_at > now)
            idlest = sorted(
                self._workers.values(), key=lambda worker: (running[worker.number], -worker.number)
            )
            for worker in idlest[:surplus]:
                self._drain(now, worker)

    def _call_off(self, now: float, worker: SimulatedWorker) -> None:
        worker.consuming = False
        del self._workers[worker.number]
        self.measured.called_off(worker.coming, now)
        self._accounts.leave(now)

    def _drain(self, now: float, worker: SimulatedWorker) -> None:
        worker.consuming = False
        del self._workers[worker.number]
        leave = max(now, worker.busy_until)
        self._accounts.draining += leave - now
        self._accounts.leave(leave)
        if leave > now:
            heappush(self._leaving, (leave, worker))

    def tick(self, now: float) -> None:
        """Let workers become ready, and drained ones leave."""
        if self._coming:
            for worker in sorted(self._coming, key=lambda worker: worker.ready_at):
                if worker.ready_at <= now:
                    self._coming.remove(worker)
                    self.measured.became_ready(worker.coming)
                    self._new.append(worker.slots)
        if self._standby.coming:
            self._standby.tick(now)
        while self._leaving and self._leaving[0][0] <= now:
            heappop(self._leaving)

    def close(self, now: float) -> None:
        """Stop billing."""
        accounts = self._accounts
        for worker in self._coming:
            accounts.starting += min(now, worker.ready_at) - worker.coming[0]
        self._standby.close(now)
        accounts.cost += now * len(self._workers)
        for worker in self._workers.values():
            accounts.busy -= max(0.0, worker.busy_until - max(now, worker.ready_at))
        for leave, _ in self._leaving:
            if leave > now:
                accounts.busy -= leave - now
                accounts.cost -= leave - now
                accounts.draining -= leave - now

    def last_end(self) -> float:
        """Return when the last upload begun ends on a worker that stays."""
        return max((worker.busy_until for worker in self._workers.values()), default=-math.inf)

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
        return len(self._workers) + len(self._standby) + len(self._leaving)

    @property
    def busy_workers(self) -> int:
        """Workers with at least one upload."""
        now = self._now
        staying = sum(1 for worker in self._workers.values() if worker.busy_until > now >= worker.ready_at)
        return staying + len(self._leaving)

    @property
    def mixed(self) -> tuple[int, float]:
        """Slots of the ready workers together, and of the newest on average."""
        slots = sum(worker.slots for worker in self._workers.values())
        return slots - sum(worker.slots for worker in self._coming), sum(self._new) / max(1, len(self._new))

    @property
    def silent(self) -> tuple[int, int, bool]:
        """Of crashed workers: how many a monitor still counts, how many as busy; whether others are stale."""
        if not self._silent:
            return 0, 0, False
        interval, now = self._plant.status_interval, self._now
        while self._silent and now - self._silent[0][0] > FORGOTTEN_AFTER_INTERVALS * interval:
            self._silent.popleft()
        counted = [busy for at, busy in self._silent if now - at <= STALE_AFTER_INTERVALS * interval]
        return len(counted), sum(counted), len(counted) < len(self._silent)
