"""The world that a policy is tried in: start-up delays, slots, bounds, and what may go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from msgspec import Struct

from upswell.errors import SettingsError
from upswell.settings import Slo

StartDelay = float | Callable[[Random], float]
"""Seconds from asking for a worker to its being ready: a constant, or a draw."""

LATE_BY = 10.0
"""Seconds; see `World.late_reports`."""


class World(Struct, frozen=True, kw_only=True):
    """All times in seconds. What is switched off costs nothing."""

    slo: Slo
    start_delay: StartDelay = 30.0
    start_cost: float = 0.0
    """Seconds of a worker that a start costs beyond the time it takes. It is part of R, not of the cost."""
    stop_delay: float = 0.0
    """Seconds that a drained worker is still billed after its last upload: it disconnects and exits."""
    slots: int = 1
    slots_of: Callable[[int], int] | None = None
    """Slots of the first worker started, of the second, ...: those of the settings before, of other machines.
    None: all have `slots`."""
    initial_workers: int = 1
    initial_measured: bool = False
    """Whether the monitor saw the initial workers start, and so knows a start-up delay from the beginning."""
    min_workers: int = 0
    max_workers: int = 500
    decision_interval: float = 2.0
    window: float = 60.0
    status_interval: float = 1.0
    """Between two statuses of a worker: a crashed one is counted until it missed three."""
    phase: float = 0.0
    """Share of a decision interval by which the decisions come sooner: nothing in the traffic knows it."""
    tail: float = 0.0
    """Seconds that a run goes on after the last upload, at most, until the fleet is down to `min_workers`:
    what is idle then is billed. 0: a run ends with its last upload."""
    seed: int = 1
    app_id: str = "simulated"
    standby_workers: int = 0
    """Kept connected and idle beyond those desired; activated at once, replaced at once, billed."""
    report_lag: float = 0.0
    """Seconds after its end until the monitor hears of an upload."""
    late_reports: float = 0.0
    """Share of the reports that come `LATE_BY` seconds later still."""
    in_flight_told: bool = True
    """Whether the broker says what is in flight. Without, as on RabbitMQ, the workers' statuses do, and
    around a scaling the broker counts other consumers than those heard of."""
    report_loss: float = 0.0
    """Share of the reports that never reach the monitor."""
    mean_time_between_crashes: float = 0.0
    """Mean of a worker's exponential life until it crashes; its uploads are redelivered. 0: never."""
    delivery_limit: int = 5
    """Deliveries of one upload before it is dead-lettered; it counts as late."""
    slow_down: Callable[[int], float] | None = None
    """Factor on a service time, given the uploads that run when it starts: a shared bottleneck."""

    def check(self) -> None:
        """Raise a SettingsError for what cannot be simulated."""
        rules = (
            ("slots", self.slots, 1),
            ("min_workers", self.min_workers, 0),
            ("max_workers", self.max_workers, max(1, self.min_workers)),
            ("initial_workers", self.initial_workers, 0),
            ("standby_workers", self.standby_workers, 0),
            ("delivery_limit", self.delivery_limit, 1),
        )
        for name, value, least in rules:
            if value < least:
                raise SettingsError(f"{name} must be >= {least}, got {value}")
        if self.decision_interval <= 0 or self.window < self.decision_interval:
            raise SettingsError(
                f"decision_interval must be > 0 and at most the window ({self.window:g} s), "
                f"got {self.decision_interval:g}"
            )
        if not callable(self.start_delay) and self.start_delay < 0:
            raise SettingsError(f"start_delay must be >= 0 s, got {self.start_delay:g}")
        for name, number, below in (
            ("start_cost", self.start_cost, math.inf),
            ("stop_delay", self.stop_delay, math.inf),
            ("report_lag", self.report_lag, math.inf),
            ("tail", self.tail, math.inf),
            ("report_loss", self.report_loss, 1.0),
            ("phase", self.phase, 1.0),
        ):
            if not 0 <= number < below:
                limit = "finite" if below == math.inf else f"< {below:g}"
                raise SettingsError(f"{name} must be >= 0 and {limit}, got {number:g}")
        if self.slots_of is not None and not self.in_flight_told:
            raise SettingsError("slots_of needs in_flight_told: only equal slots bound what is in hand")
        if not 0 <= self.late_reports <= 1:
            raise SettingsError(f"late_reports must be >= 0 and <= 1, got {self.late_reports:g}")

    @property
    def single(self) -> bool:
        """Whether the fast pool can serve: one upload a worker, no crashes, no bottleneck."""
        return self.slots == 1 and self.slots_of is None and self.plain

    @property
    def plain(self) -> bool:
        """Whether nothing but the policy changes the fleet, and nothing but its workers a response time."""
        return not self.mean_time_between_crashes and self.slow_down is None
