"""A small plant in virtual time: uploads arrive, workers serve them, a shared limit slows them down."""

from __future__ import annotations

import heapq
import random
from collections import deque
from typing import TYPE_CHECKING

from upswell.analysis.snapshot import ObservedTotals, Snapshot, Workers
from upswell.messages import PlatformLimit
from upswell.settings import Slo
from upswell.simulator.simulated_window import SimulatedWindow
from upswell.testing.snapshots import constant_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.decision import Decision
    from upswell.policies import ScalingPolicy

INTERVAL = 2.0
WINDOW = 60.0


class VirtualPlant:
    """One application; call `step` for each decision interval.

    Args:
        policy: decides after each interval.
        arrivals: uploads a second, at an instant.
        capacity: uploads a second that all workers together can do, however many they are.
        draw: one upload's service time in seconds, while nothing slows it down.
        seed: of arrivals and service times.
    """

    def __init__(
        self,
        policy: ScalingPolicy,
        *,
        arrivals: Callable[[float], float],
        capacity: float = float("inf"),
        draw: Callable[[random.Random], float],
        slots: int = 4,
        workers: int = 1,
        start_delay: float = 4.0,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.capacity = capacity
        self.ready = workers
        self.desired = workers
        self.decision: Decision | None = None
        self.history: list[int] = []
        self.stored = self.in_time = 0
        self.worker_seconds = 0.0
        self._policy = policy
        self._arrivals = arrivals
        self._draw = draw
        self._slots = slots
        self._delay = start_delay
        self._rng = random.Random(seed)
        self._mean = sum(draw(self._rng) for _ in range(2000)) / 2000
        self._starting: list[float] = []
        self._waiting: deque[float] = deque()
        self._running: list[tuple[float, float, float]] = []  # ends at, arrived at, service time
        self._window = SimulatedWindow(round(WINDOW / INTERVAL), INTERVAL, 30.0)
        self._depth_known_at = 0.0
        self.blind = False
        self.room: int | None = None  # the platform takes no more workers than these
        self._refuses = False

    def step(self) -> Decision:
        """Let one decision interval pass, and decide."""
        end = self.now + INTERVAL
        reported: list[float] = []
        services: list[float] = []
        due, running, waiting, never = self._arrivals_until(end), self._running, self._waiting, float("inf")
        while True:
            ends = running[0][0] if running else never
            arrives = due[0] if due else never
            starts = min(self._starting) if self._starting else never
            at = min(ends, arrives, starts)
            if at > end:
                break
            if at == ends:
                _, arrived, service = heapq.heappop(running)
                reported.append(at - arrived)
                services.append(service)
                self.stored += 1
                self.in_time += at - arrived <= 30.0
            elif at == arrives:
                waiting.append(due.popleft())
            else:
                self._starting.remove(starts)
                self.ready += 1
            if waiting and len(running) < self.ready * self._slots:
                self._fill(at)
        self.worker_seconds += INTERVAL * (self.ready + len(self._starting))
        self._window.add(reported, services)
        self.now = end
        self.decision = self._policy.decide(self._snapshot(reported))
        self._scale(self.decision.desired_workers + min(1, self.decision.refused_workers))
        self.desired = self.decision.desired_workers
        self.history.append(self.desired)
        return self.decision

    def run(self, seconds: float) -> VirtualPlant:
        """Let time pass."""
        for _ in range(round(seconds / INTERVAL)):
            self.step()
        return self

    def _arrivals_until(self, end: float) -> deque[float]:
        due: deque[float] = deque()
        at = self.now
        while True:
            rate = self._arrivals(at)
            if rate <= 0:
                return due
            at += self._rng.expovariate(rate)
            if at > end:
                return due
            due.append(at)

    def _fill(self, at: float) -> None:
        """Begin uploads; each takes longer where those that run ask for more than the shared limit has."""
        while self._waiting and len(self._running) < self.ready * self._slots:
            running = len(self._running) + 1
            slower = max(1.0, running / self._mean / self.capacity)
            service = self._draw(self._rng) * slower
            heapq.heappush(self._running, (at + service, self._waiting.popleft(), service))

    def _scale(self, desired: int) -> None:
        self._refuses = self.room is not None and desired > self.room
        desired = desired if self.room is None else min(desired, self.room)
        for _ in range(desired - self.ready - len(self._starting)):
            self._starting.append(self.now + self._delay)
        while self.ready + len(self._starting) > desired and self._starting:
            self._starting.pop()
        self.ready = min(self.ready, desired)  # drained: what runs, ends

    def _snapshot(self, reported: list[float]) -> Snapshot:
        if not self.blind:
            self._depth_known_at = self.now
        known = self.now - self._depth_known_at <= WINDOW
        running, waiting = len(self._running), len(self._waiting)
        window = self._window
        return Snapshot(
            app_id="e123456",
            at=self.now,
            slo=Slo(0.95, 30.0),
            window=WINDOW,
            slots_per_worker=self._slots,
            workers=Workers(
                desired=self.desired,
                starting=len(self._starting),
                ready=self.ready,
                busy=min(self.ready, -(-running // self._slots)),
                draining=int(running > self.ready * self._slots),
            ),
            start_delay=self._delay,
            arrival_rate=self._arrivals(self.now),
            throughput=window.count / WINDOW,
            arrivals=self.stored + running + waiting,
            messages_ready=waiting if known else None,
            messages_unacknowledged=running if known else None,
            depth_age=self.now - self._depth_known_at,
            oldest_age=self.now - self._waiting[0] if waiting else 0.0,
            service_time=window.service_time if window.count else None,
            waiting_time=constant_time(0.0) if window.count else None,
            response_time=window.response_time,
            attainment=window.attainment,
            recent_response_times=tuple(reported),
            totals=ObservedTotals(stored=self.stored, in_time=self.in_time),
            warming_up=self.now < WINDOW,
            platform=PlatformLimit(app_id="e123456", reason="exceeded quota", ceiling=self.room)
            if self._refuses
            else None,
        )
