"""Workers that run one upload at a time, as a heap of the instants at which each is free.

In: a stream of uploads, and how many workers are wanted. Out: responses, in the decision interval in which
they end, and a bill. It is FIFO and not preemptive; a worker that is sent away finishes its upload. It never
looks at how long an upload will take to decide anything.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from upswell.simulator.jobs import JobStream
    from upswell.simulator.ledger import Ledger
    from upswell.simulator.plant import Plant

MEASURED_STARTS = 20
ACTIVATION = 0.0025
"""Seconds until a standby worker consumes, once told (measured on one machine)."""


class Due:
    """Uploads under way: number of the interval in which they end -> response, service time, in turns."""

    def __init__(self, interval: float) -> None:
        self.per_second = 1.0 / interval
        self.by_interval: dict[int, list[float]] = {}

    def take(self, number: int) -> list[float]:
        """Return what ends in that interval, and forget it."""
        return self.by_interval.pop(number, _NOTHING)

    def rest(self) -> list[float]:
        """Return all that is under way."""
        return [value for number in sorted(self.by_interval) for value in self.by_interval[number]]


_NOTHING: list[float] = []


class WorkerPool:
    """One slot a worker. Times count from the stream's first arrival's clock; `now` never goes back."""

    def __init__(self, plant: Plant, ledger: Ledger, rng: Random, begin: float) -> None:
        self._plant = plant
        self._ledger = ledger
        self._rng = rng
        self._begin = begin
        self.free_at: list[float] = [begin] * plant.initial_workers
        self._starting: list[float] = []
        self._requested: dict[float, list[float]] = {}
        self._standby: list[float] = [begin] * plant.standby_workers
        self._leaving: list[float] = []
        self._delays: deque[float] = deque(maxlen=MEASURED_STARTS)
        self.in_flight = 0
        self.due = Due(plant.decision_interval)
        ledger.cost -= begin * (plant.initial_workers + plant.standby_workers)

    def serve(self, stream: JobStream, until: float) -> None:
        """Start every upload that can start by `until`, oldest first, on the worker that is free first."""
        free_at = self.free_at
        head, arrived = stream.head, stream.arrived
        if head == arrived or not free_at or free_at[0] > until:
            return
        arrivals, services = stream.arrivals, stream.services
        begin, per_second, buckets = self._begin, self.due.per_second, self.due.by_interval
        taken = head
        for index in range(head, arrived):
            arrival = arrivals[index]
            start = free_at[0]
            if start < arrival:
                start = arrival
            elif start > until:
                break
            service = services[index]
            finish = start + service
            heapreplace(free_at, finish)
            number = int((finish - begin) * per_second)
            bucket = buckets.get(number)
            if bucket is None:
                buckets[number] = [finish - arrival, service]
            else:
                bucket += (finish - arrival, service)
            taken += 1
        self.in_flight += taken - head
        stream.head = taken

    def scale(self, now: float, wanted: int) -> None:
        """Ask for more workers, or send some away: starting ones first, then idle, then busy at random."""
        have = len(self.free_at)
        if wanted > have:
            for _ in range(wanted - have):
                self._add(now)
        elif wanted < have:
            self._remove(now, have - wanted)

    def _add(self, now: float) -> None:
        ready = self._activate(now)
        if ready is None:
            ready = self._start(now)
            self._starting.append(ready)
        heappush(self.free_at, ready)

    def _start(self, now: float) -> float:
        delay = self._plant.start_delay
        seconds = delay(self._rng) if callable(delay) else delay
        ready = now + seconds
        self._requested.setdefault(ready, []).append(now)
        self._ledger.starts += 1
        self._ledger.cost -= now
        return ready

    def _activate(self, now: float) -> float | None:
        """Take a standby worker that is ready and ask for its replacement; None where there is none."""
        for index, ready in enumerate(self._standby):
            if ready <= now:
                self._ledger.standby += now - ready
                self._standby[index] = self._start(now)
                return now + ACTIVATION
        return None

    def _remove(self, now: float, count: int) -> None:
        free_at, ledger = self.free_at, self._ledger
        while count and self._starting:
            latest = max(self._starting)
            self._starting.remove(latest)
            free_at.remove(latest)
            requests = self._requested[latest]
            ledger.starting += now - requests.pop()
            if not requests:
                del self._requested[latest]
            ledger.cost += now
            ledger.stopping(now, self._plant.stop_delay)
            count -= 1
        heapify(free_at)
        while count and free_at[0] <= now:
            heappop(free_at)
            ledger.cost += now
            ledger.stopping(now, self._plant.stop_delay)
            count -= 1
        for _ in range(count):
            index = self._rng.randrange(len(free_at))
            leave = free_at[index]
            free_at[index] = free_at[-1]
            free_at.pop()
            heapify(free_at)
            heappush(self._leaving, leave)
            ledger.draining += leave - now
            ledger.cost += leave
            ledger.stopping(leave, self._plant.stop_delay)

    def tick(self, now: float) -> None:
        """Let workers become ready, and drained ones leave."""
        if self._requested:
            for ready in [at for at in self._requested if at <= now]:
                for requested in self._requested.pop(ready):
                    self._delays.append(ready - requested)
                    self._ledger.starting += ready - requested
            self._starting = [at for at in self._starting if at > now]
        leaving = self._leaving
        while leaving and leaving[0] <= now:
            heappop(leaving)

    def take_ended(self, number: int) -> list[float]:
        """Return response and service times, in turns, of what ends in that interval."""
        ended = self.due.take(number)
        self.in_flight -= len(ended) // 2
        return ended

    def waiting(self, stream: JobStream) -> int:
        """Uploads that no worker has."""
        return stream.waiting

    def close(self, now: float) -> None:
        """Stop billing."""
        ledger = self._ledger
        for ready, requests in self._requested.items():
            ledger.starting += sum(min(now, ready) - requested for requested in requests)
        ledger.standby += sum(max(0.0, now - ready) for ready in self._standby)
        ledger.cost += now * (len(self.free_at) + len(self._standby))
        for leave in self._leaving:
            if leave > now:
                ledger.cost -= leave - now
                ledger.draining -= leave - now

    @property
    def size(self) -> int:
        """Workers ready or starting."""
        return len(self.free_at)

    @property
    def billed(self) -> int:
        """Workers that are paid for."""
        return len(self.free_at) + len(self._standby) + len(self._leaving)

    @property
    def starting(self) -> int:
        """Workers asked for, not yet ready."""
        return len(self._starting)

    @property
    def draining(self) -> int:
        """Workers that finish their upload and leave."""
        return len(self._leaving)

    @property
    def standby(self) -> int:
        """Workers connected and not consuming, or on their way there."""
        return len(self._standby)

    @property
    def busy_workers(self) -> int:
        """Workers with an upload; with one slot, as many as uploads in flight."""
        return self.in_flight

    @property
    def start_delay(self) -> float | None:
        """Mean of the recent starts' delays; None before the first."""
        return sum(self._delays) / len(self._delays) if self._delays else None
