"""KEDA's queue scaler with the Horizontal Pod Autoscaler behind it.

KEDA asks the queue every 30 s whether there is anything at all, starts the first worker then, and ends the
last after 300 s without anything. Between, the autoscaler syncs every 15 s: the metric of type AverageValue
is the depth over the workers, so ceil(depth / target) workers are wanted, unless that is within 10 % of the
present; scale-in goes to the largest recommendation of 300 s; scale-out to at most max(n + 4, 2 n).
Sources: keda.sh (ScaledObject spec, RabbitMQ scaler), kubernetes pkg/controller/podautoscaler
(replica_calculator.go, horizontal.go).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

POLLING_INTERVAL = 30.0
COOLDOWN = 300.0
SYNC_PERIOD = 15.0
TOLERANCE = 0.1
STABILIZATION = 300.0
_SCHEDULE_SLACK = 1e-6


class KedaPolicy:
    """`queue_length` messages a worker; over HTTP unacknowledged ones count too, over AMQP not."""

    def __init__(self, queue_length: float = 20, *, over_http: bool = True) -> None:
        self._target = queue_length
        self._over_http = over_http
        self._polled_at = -math.inf
        self._active_at: float | None = None
        self._synced_at = -math.inf
        self._recommendations: deque[tuple[float, int]] = deque()

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the present number between two syncs, else what the autoscaler wants."""
        current = snapshot.workers.requested
        depth = snapshot.queue_depth if self._over_http else snapshot.messages_ready
        if depth is None:
            return Decision.hold(current, "the queue's depth is not known")
        if self._active_at is None:
            self._active_at = snapshot.at
        if depth > 0:
            self._active_at = snapshot.at
        if current == 0:
            return self._activate(snapshot.at, depth)
        if snapshot.at - self._synced_at < SYNC_PERIOD - _SCHEDULE_SLACK:
            return Decision.hold(current, f"the autoscaler syncs every {SYNC_PERIOD:g} s")
        self._synced_at = snapshot.at
        if snapshot.at - self._active_at >= COOLDOWN:
            self._recommendations.clear()
            return Decision.by_rule(
                desired_workers=0, reason=f"nothing in the queue for {COOLDOWN:g} s -> 0 workers"
            )
        return self._sync(snapshot.at, current, depth)

    def _activate(self, at: float, depth: int) -> Decision:
        if at - self._polled_at < POLLING_INTERVAL - _SCHEDULE_SLACK:
            return Decision.hold(0, f"the queue is polled every {POLLING_INTERVAL:g} s")
        self._polled_at = at
        if depth == 0:
            return Decision.by_rule(desired_workers=0, reason="0 uploads -> stays at 0 workers")
        return Decision.by_rule(desired_workers=1, reason=f"{depth} uploads and no worker -> 1 worker")

    def _sync(self, at: float, current: int, depth: int) -> Decision:
        ratio = depth / (self._target * current)
        wanted = current if abs(ratio - 1) <= TOLERANCE else max(1, math.ceil(depth / self._target))
        remembered = self._recommendations
        while remembered and remembered[0][0] < at - STABILIZATION:
            remembered.popleft()
        remembered.append((at, wanted))
        numbers = {"depth": float(depth), "target": float(self._target), "ratio": ratio}
        said = f"{depth} uploads / {self._target:g} a worker -> {wanted} workers"
        if wanted < current:
            stable = min(current, max(count for _, count in remembered))
            return Decision.by_rule(
                desired_workers=stable,
                reason=f"{said}; the most of {STABILIZATION:g} s is {stable}",
                numbers=numbers,
            )
        limit = max(current + 4, 2 * current)
        if wanted > limit:
            return Decision.by_rule(
                desired_workers=limit, reason=f"{said}; at most {limit} in one sync", numbers=numbers
            )
        return Decision.by_rule(desired_workers=wanted, reason=said, numbers=numbers)
