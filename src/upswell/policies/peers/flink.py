"""Apache Flink's autoscaler (DS2): the capacity that keeps up with the input and clears the lag in time.

From the source (flink-kubernetes-operator 1.15, flink-autoscaler: JobVertexScaler, ScalingMetricEvaluator,
AutoScalerOptions with its defaults) and the paper (Kalavri, OSDI 2018): capacity needed = input / target
utilisation + lag / catch-up + input x restart / catch-up, in uploads per second; a worker's true rate is its
slots over the mean service time. Nothing changes while the utilisation is within 0.7 +- 0.3 (towards more the
restart does not count, and while the lag is over 5 minutes of work none goes); scale-in at most by 60 %, and
an hour after the first proposal.

Assumed: one vertex; the true rate is by the mean service time of the window, not by busy time; a rescaling
interrupts nothing, where Flink restarts the job.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct

from upswell.analysis.decision import Decision
from upswell.settings.fields import Positive
from upswell.settings.setting import Setting

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

WHO = "flink"
FIRST = "there must be a worker to learn from"
NEEDED = (
    "{rate} uploads/s / {utilisation:%} + {lag} behind / {catch_up:s} "
    "+ {rate} x {restart:s} / {catch_up:s} = {needed} uploads/s; "
    "a worker does {true_rate}/s = {workers:worker}"
)
WITHIN = "the present capacity of {capacity} uploads/s is within the bounds"
STABLE = "no change within {stable:s} of the last"
EASED = "scale-in waits for {interval:s}, and is {factor:%} at most"

TARGET_UTILISATION = 0.7
BOUNDARY = 0.3
CATCH_UP = 1800.0
RESTART = 300.0
BACKLOG_THRESHOLD = 300.0
METRICS_WINDOW = 900.0
STABILIZATION = 300.0
SCALE_DOWN_INTERVAL = 3600.0
MAX_DOWN_FACTOR = 0.6
_LEAST_SERVICE = 1e-9
"""Seconds: nothing takes less, and of a smaller number the rate is no number."""


class FlinkSettings(Struct, frozen=True, kw_only=True):
    """The table `[policies.flink]`."""

    catch_up: Annotated[Positive, Setting("Target seconds to work off the backlog.")] = CATCH_UP
    restart: Annotated[Positive, Setting("Seconds that rescaling takes.")] = RESTART


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
            return Decision.hold(WHO, current, "the queue's depth or the arrival rate is unknown")
        if service is None or service.mean < _LEAST_SERVICE:
            decision = Decision.hold(WHO, current, "no upload has reported how long one takes")
            return decision.then(WHO, 1, FIRST) if lag and not current else decision
        now = snapshot.at
        average = self._average(now, rate)
        if now - self._changed_at < STABILIZATION:
            return Decision.hold(WHO, current, STABLE, {"stable": STABILIZATION})
        true_rate = snapshot.slots_per_worker / service.mean
        extra = lag / self._catch_up + average * self._restart / self._catch_up
        needed = average / TARGET_UTILISATION + extra
        wanted = math.ceil(needed / true_rate)
        capacity = max(current, 1) * true_rate
        least = average / (TARGET_UTILISATION + BOUNDARY) + lag / self._catch_up
        behind = snapshot.throughput is None or lag > BACKLOG_THRESHOLD * snapshot.throughput
        most = math.inf if behind else average / (TARGET_UTILISATION - BOUNDARY) + extra
        inputs = {
            "rate": average,
            "utilisation": TARGET_UTILISATION,
            "lag": lag,
            "restart": self._restart,
            "catch_up": self._catch_up,
            "needed": needed,
            "true_rate": true_rate,
            "workers": wanted,
        }
        decision = Decision.of(WHO, current, wanted, NEEDED, inputs)
        if least <= capacity <= most and current:
            self._down_since = None
            return decision.then(WHO, current, WITHIN, {"capacity": capacity})
        eased = self._eased(now, wanted, current)
        if eased != current:
            self._changed_at = now
        if eased == wanted:
            return decision
        return decision.then(WHO, eased, EASED, {"interval": SCALE_DOWN_INTERVAL, "factor": MAX_DOWN_FACTOR})

    def _average(self, now: float, rate: float) -> float:
        self._rates.append((now, rate))
        while self._rates[0][0] <= now - METRICS_WINDOW:
            self._rates.popleft()
        return sum(value for _, value in self._rates) / len(self._rates)

    def _eased(self, now: float, wanted: int, current: int) -> int:
        """Return the number wanted; a smaller one is limited, and waits for its hour."""
        if wanted >= current:
            self._down_since = None
            return wanted
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since < SCALE_DOWN_INTERVAL:
            return current
        self._down_since = None
        return max(wanted, math.ceil(current * (1 - MAX_DOWN_FACTOR)))
