"""Workers that run one upload at a time, as a heap of the instants at which each is free.

In: a stream of uploads, and how many workers are wanted. Out: responses, in the decision interval in which
they end, and a bill. It is FIFO and not preemptive; a worker that is sent away finishes its upload. It never
looks at how long an upload will take to decide anything.
"""

from __future__ import annotations

import math
from bisect import insort
from heapq import heapify, heappop, heappush, heapreplace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from upswell.simulator.startup import Standby, Starts

if TYPE_CHECKING:
    from random import Random

    from upswell.simulator.jobs import JobStream
    from upswell.simulator.outcome import Accounts
    from upswell.simulator.startup import Coming
    from upswell.simulator.world import World

Ended = tuple[list[float], list[float], list[float]]
"""Ends, response times and service times of uploads, oldest end first."""


class Due:
    """Uploads under way: interval in which they end -> end, response, service, end, response, ..."""

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
_MANY = 100


def in_order(values: list[float]) -> Ended:
    """Return ends, response and service times from interleaved values, ordered by end."""
    ends, responses, services = values[0::3], values[1::3], values[2::3]
    count = len(ends)
    if count > _MANY:
        order: list[int] = np.argsort(ends, kind="stable").tolist()
    elif count > 1:
        order = sorted(range(count), key=ends.__getitem__)
    else:
        return ends, responses, services
    pick = itemgetter(*order)
    return list(pick(ends)), list(pick(responses)), list(pick(services))


class Pool:
    """What all pools share. Times count from the stream's first arrival's clock; `now` never goes back."""

    _coming: list[Any]
    """Workers on their way, by the instant of their request."""
    _leaving: list[Any]
    """Workers sent away that still have an upload: a heap by the instant at which each leaves."""

    def __init__(self, world: World, accounts: Accounts, rng: Random, begin: float) -> None:
        self._accounts, self._rng, self._begin = accounts, rng, begin
        self._coming, self._leaving = [], []
        self.measured = Starts(world, accounts, rng)
        self._standby = Standby(self.measured, accounts, world.standby_workers, begin)
        self.in_flight: int = 0
        self.due = Due(world.decision_interval)
        accounts.cost -= begin * world.initial_workers

    def stand_by(self, now: float, count: int) -> None:
        """Keep so many workers on standby from now on."""
        if count != len(self._standby):
            self._standby.resize(now, count)

    def take_ended(self, number: int) -> Ended:
        """Return what ends in that interval."""
        ended = in_order(self.due.take(number))
        self.in_flight -= len(ended[0])
        return ended

    @property
    def starting(self) -> int:
        """Workers asked for, not yet ready."""
        return len(self._coming)

    @property
    def draining(self) -> int:
        """Workers that finish their uploads and leave."""
        return len(self._leaving)

    @property
    def standby(self) -> int:
        """Workers connected and not consuming."""
        return self._standby.standing


class WorkerPool(Pool):
    """One slot a worker."""

    _coming: list[Coming]
    _leaving: list[float]

    def __init__(self, world: World, accounts: Accounts, rng: Random, begin: float) -> None:
        super().__init__(world, accounts, rng, begin)
        self.free_at: list[float] = [begin] * world.initial_workers
        self._next_ready = math.inf

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
                buckets[number] = [finish, finish - arrival, service]
            else:
                bucket += (finish, finish - arrival, service)
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
        worker, there = self._standby.call(now)
        ready = worker[1]
        if not there:
            insort(self._coming, worker)
            self._next_ready = min(self._next_ready, ready)
        heappush(self.free_at, ready)

    def _remove(self, now: float, count: int) -> None:
        free_at, accounts = self.free_at, self._accounts
        while count and self._coming:
            youngest = self._coming.pop()  # the scaler knows no better, either
            free_at.remove(youngest[1])
            self.measured.called_off(youngest, now)
            accounts.leave(now)
            count -= 1
        heapify(free_at)
        while count and free_at[0] <= now:
            heappop(free_at)
            accounts.leave(now)
            count -= 1
        for _ in range(count):
            index = self._rng.randrange(len(free_at))
            leave = free_at[index]
            free_at[index] = free_at[-1]
            free_at.pop()
            heapify(free_at)
            heappush(self._leaving, leave)
            accounts.draining += leave - now
            accounts.leave(leave)

    def tick(self, now: float) -> None:
        """Let workers become ready, and drained ones leave."""
        if self._next_ready <= now:
            for worker in sorted(self._coming, key=itemgetter(1)):
                if worker[1] <= now:
                    self.measured.became_ready(worker)
            self._coming = [worker for worker in self._coming if worker[1] > now]
            self._next_ready = min((ready for _, ready in self._coming), default=math.inf)
        if self._standby.coming:
            self._standby.tick(now)
        leaving = self._leaving
        while leaving and leaving[0] <= now:
            heappop(leaving)

    def last_end(self) -> float:
        """Return when the last upload begun ends on a worker that stays."""
        return max(self.free_at, default=-math.inf)

    def waiting(self, stream: JobStream) -> int:
        """Uploads that no worker has."""
        return stream.waiting

    def close(self, now: float) -> None:
        """Stop billing."""
        accounts = self._accounts
        for requested, ready in self._coming:
            accounts.starting += min(now, ready) - requested
        self._standby.close(now)
        accounts.cost += now * len(self.free_at)
        for leave in self._leaving:
            if leave > now:
                accounts.cost -= leave - now
                accounts.draining -= leave - now

    @property
    def size(self) -> int:
        """Workers ready or starting."""
        return len(self.free_at)

    @property
    def billed(self) -> int:
        """Workers that are paid for."""
        return len(self.free_at) + len(self._standby) + len(self._leaving)

    @property
    def busy_workers(self) -> int:
        """Workers with an upload; with one slot, the uploads in flight."""
        return self.in_flight

    @property
    def mixed(self) -> tuple[int, float]:
        """All have one slot here: see `SlottedPool`."""
        return self.size - self.starting, 1.0

    @property
    def silent(self) -> tuple[int, int, bool]:
        """No worker crashes here: see `SlottedPool`."""
        return 0, 0, False
