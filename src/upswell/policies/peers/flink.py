"""Apache Flink's autoscaler (DS2): the capacity that keeps up with the input and clears the lag in time.

Capacity needed = input / target utilisation + lag / catch-up + input x restart / catch-up, in uploads per
second; a worker's true rate is its slots over the mean service time. Nothing changes while the utilisation is
within 0.7 +- 0.3 (towards more the restart does not count, and while the lag is over 5 minutes of work nobody
goes); scale-in at most by 60 %, and an hour after the first proposal. Source: flink-kubernetes-operator,
flink-autoscaler (JobVertexScaler, ScalingMetricEvaluator, AutoScalerOptions); Kalavri, OSDI 2018 (DS2).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

TARGET_UTILISATION = 0.7
BOUNDARY = 0.3
CATCH_UP = 1800.0
RESTART = 300.0
BACKLOG_THRESHOLD = 300.0
METRICS_WINDOW = 900.0
STABILIZATION = 300.0
SCALE_DOWN_INTERVAL = 3600.0
MAX_DOWN_FACTOR = 0.6


class FlinkPolicy:
    """Times in seconds; by default those of the source."""

    def __init__(self, catch_up: float = CATCH_UP, restart: float = RESTART) -> None:
        self._catch_up = catch_up
        self._restart = restart
        self._rates: deque[tuple[float, float]] = deque()
        self._changed_at = -math.inf
        self._down_since: float | None = None

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the workers that the capacity needs, or the present number within the boundary."""
        current = snapshot.workers.desired
        lag, rate, service = snapshot.messages_ready, snapshot.arrival_rate, snapshot.service_time
        if lag is None or rate is None:
            return Decision.hold(current, "the queue's depth or the arrival rate is not known")
        if service is None or service.mean <= 0:
            return Decision.hold(max(current, 1 if lag else 0), "no upload has told how long one takes")
        now = snapshot.at
        average = self._average(now, rate)
        if now - self._changed_at < STABILIZATION:
            return Decision.hold(current, f"stable for {STABILIZATION:g} s after a change")
        true_rate = snapshot.slots_per_worker / service.mean
        extra = lag / self._catch_up + average * self._restart / self._catch_up
        needed = average / TARGET_UTILISATION + extra
        wanted = math.ceil(needed / true_rate)
        capacity = max(current, 1) * true_rate
        least = average / (TARGET_UTILISATION + BOUNDARY) + lag / self._catch_up
        behind = lag > BACKLOG_THRESHOLD * (snapshot.throughput or 0.0)
        most = math.inf if behind else average / (TARGET_UTILISATION - BOUNDARY) + extra
        numbers = {"needed": needed, "true_rate": true_rate, "lag": float(lag), "input": average}
        said = (
            f"{average:.3g} uploads/s and {lag} behind need {needed:.3g}/s, a worker does {true_rate:.3g}/s"
        )
        if least <= capacity <= most and current:
            self._down_since = None
            return Decision.by_rule(
                desired_workers=current, reason=f"{said}: within bounds at {current}", numbers=numbers
            )
        wanted = self._eased(now, wanted, current)
        if wanted != current:
            self._changed_at = now
        return Decision.by_rule(desired_workers=wanted, reason=f"{said} -> {wanted} workers", numbers=numbers)

    def _average(self, now: float, rate: float) -> float:
        self._rates.append((now, rate))
        while self._rates[0][0] <= now - METRICS_WINDOW:
            self._rates.popleft()
        return sum(value for _, value in self._rates) / len(self._rates)

    def _eased(self, now: float, wanted: int, current: int) -> int:
        """Return the wish; a smaller one is limited, and waits for its hour."""
        if wanted >= current:
            self._down_since = None
            return wanted
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since < SCALE_DOWN_INTERVAL:
            return current
        self._down_since = None
        return max(wanted, math.ceil(current * (1 - MAX_DOWN_FACTOR)))
