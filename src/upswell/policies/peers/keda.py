"""KEDA's queue scaler with the Horizontal Pod Autoscaler behind it.

KEDA polls the queue every 30 s for whether there is anything at all; a poll that finds something starts the
first worker, one that found nothing for 300 s ends the last. Between, the autoscaler syncs every 15 s: the
metric of type AverageValue is the depth over the workers, so ceil(depth / target) workers are wanted, unless
that is within 10 % of the present; scale-in goes to the largest recommendation of 300 s, the number found at
the start among them; scale-out to at most max(n + 4, 2 n): 4 pods or 100 % in 15 s. The bounds are the
application's own.
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
        self._active_at = -math.inf
        self._synced_at = -math.inf
        self._recommendations: deque[tuple[float, int]] = deque()

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the present number between two syncs, else what the autoscaler wants."""
        current = snapshot.workers.desired
        depth = snapshot.queue_depth if self._over_http else snapshot.messages_ready
        if depth is None:
            return Decision.hold(current, "the queue's depth is not known")
        polled = self._poll(snapshot.at, depth)
        if current == 0:
            return self._activate(depth, polled=polled)
        if polled and snapshot.at - self._active_at >= COOLDOWN:
            self._recommendations.clear()
            return Decision.by_rule(
                desired_workers=0, reason=f"nothing in the queue for {COOLDOWN:g} s -> 0 workers"
            )
        if snapshot.at - self._synced_at < SYNC_PERIOD - _SCHEDULE_SLACK:
            return Decision.hold(current, f"the autoscaler syncs every {SYNC_PERIOD:g} s")
        self._synced_at = snapshot.at
        return self._sync(snapshot.at, current, depth)

    def _poll(self, at: float, depth: int) -> bool:
        """Look at the queue where it is time to; return whether it was."""
        if at - self._polled_at < POLLING_INTERVAL - _SCHEDULE_SLACK:
            return False
        if depth > 0 or self._polled_at == -math.inf:
            self._active_at = at
        self._polled_at = at
        return True

    def _activate(self, depth: int, *, polled: bool) -> Decision:
        if not polled:
            return Decision.hold(0, f"the queue is polled every {POLLING_INTERVAL:g} s")
        if depth == 0:
            return Decision.by_rule(desired_workers=0, reason="0 uploads -> stays at 0 workers")
        return Decision.by_rule(desired_workers=1, reason=f"{depth} uploads and no worker -> 1 worker")

    def _sync(self, at: float, current: int, depth: int) -> Decision:
        ratio = depth / (self._target * current)
        wanted = current if abs(ratio - 1) <= TOLERANCE else max(1, math.ceil(depth / self._target))
        remembered = self._recommendations
        if not remembered:
            remembered.append((at, current))
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
