"""Workers on their way, and the standby ones: asked for, billed from then on, ready after a start-up.

In: requests at an instant. Out: when each is ready, the start-up delay as a monitor measures it. Both pools
use it. It knows no uploads.
"""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING

from upswell.analysis.worker_statuses import DELAYS_KEPT

if TYPE_CHECKING:
    from random import Random

    from upswell.simulator.outcome import Accounts
    from upswell.simulator.world import World

    Coming = tuple[float, float]
    """When a worker was asked for, and when it is ready."""

ACTIVATION = 0.0025
"""Seconds from the command until a standby worker consumes (measured on one machine)."""


class Starts:
    """Asks for workers, and measures how long they took."""

    def __init__(self, world: World, accounts: Accounts, rng: Random) -> None:
        self._delay = world.start_delay
        self._accounts = accounts
        self._rng = rng
        self._delays: deque[float] = deque(maxlen=DELAYS_KEPT)
        self.start_delay: float | None = None
        """Mean of the recent starts' delays; None before the first."""
        self.seconds = 0.0
        """Start-up times of all that became ready, summed."""
        if world.initial_measured:
            for _ in range(world.initial_workers):
                self._measure(self._draw())

    def _draw(self) -> float:
        delay = self._delay
        return delay(self._rng) if callable(delay) else delay

    def _measure(self, seconds: float) -> None:
        self._delays.append(seconds)
        self.start_delay = sum(self._delays) / len(self._delays)

    def request(self, now: float) -> Coming:
        """Ask for one worker."""
        self._accounts.starts += 1
        self._accounts.cost -= now
        return now, now + self._draw()

    def became_ready(self, worker: Coming) -> None:
        """Note that a worker consumes, or stands by."""
        seconds = worker[1] - worker[0]
        self.seconds += seconds
        self._accounts.starting += seconds
        self._measure(seconds)

    def called_off(self, worker: Coming, now: float) -> None:
        """Note that a worker is sent away before it was ready: it was billed for the time until then."""
        self._accounts.starting += now - worker[0]


class Standby:
    """Workers connected and idle beyond those wanted: called in an instant, replaced at once, billed."""

    def __init__(self, starts: Starts, accounts: Accounts, count: int, begin: float) -> None:
        self._starts = starts
        self._accounts = accounts
        self._standing: deque[float] = deque([begin] * count)
        self.coming: list[Coming] = []
        """Those on their way, by the instant of their request."""
        accounts.cost -= begin * count

    def __len__(self) -> int:
        """Return how many are paid for: there, or on their way."""
        return len(self._standing) + len(self.coming)

    @property
    def standing(self) -> int:
        """How many are there."""
        return len(self._standing)

    def call(self, now: float) -> tuple[Coming, bool]:
        """Return a worker for work, and whether it was there; another is asked for in its place.

        The one that has been there longest; else the next to come, which is nearer than a new one; a new one
        where there is none.
        """
        if not len(self):
            return self._starts.request(now), False
        there = bool(self._standing)
        if there:
            self._accounts.standby += now - self._standing.popleft()
            called = now, now + ACTIVATION
        else:
            requested, ready = self.coming.pop(0)
            called = requested, ready + ACTIVATION
        self.coming.append(self._starts.request(now))
        return called, there

    def tick(self, now: float) -> None:
        """Let those in that are there by now."""
        for worker in sorted(self.coming, key=itemgetter(1)):
            if worker[1] <= now:
                self._starts.became_ready(worker)
                self._standing.append(worker[1])
                self.coming.remove(worker)

    def resize(self, now: float, count: int) -> None:
        """Keep so many from now on: more are asked for; those on their way go before those that are there."""
        while len(self) < count:
            self.coming.append(self._starts.request(now))
        while len(self) > count:
            if self.coming:
                self._starts.called_off(self.coming.pop(), now)
            else:
                self._accounts.standby += now - self._standing.popleft()
            self._accounts.leave(now)

    def close(self, now: float) -> None:
        """Stop billing."""
        for requested, _ in self.coming:
            self._accounts.starting += now - requested
        self._accounts.standby += sum(now - since for since in self._standing)
        self._accounts.cost += now * len(self)
