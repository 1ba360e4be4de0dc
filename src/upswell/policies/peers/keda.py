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
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct

from upswell.analysis.decision import Decision
from upswell.settings.fields import Positive
from upswell.settings.setting import Setting

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

WHO = "keda"
SYNCS = "the autoscaler syncs every {period:s}"
POLLS = "the queue is polled every {interval:s}"
COOLED = "nothing in the queue for {cooldown:s}"
FIRST = "{depth:upload} in the queue and no worker"
TARGET = "{depth:upload} / {target} a worker = {workers:worker}"
WITHIN = "{depth:upload} / {target} a worker is within {tolerance:%} of {current:worker}"
MOST_NEEDED = "the most needed in the last {window:s} was {most}"
LIMITED = "one sync goes to {limit:worker} at most"

POLLING_INTERVAL = 30.0
COOLDOWN = 300.0
SYNC_PERIOD = 15.0
TOLERANCE = 0.1
STABILIZATION = 300.0
_SCHEDULE_SLACK = 1e-6


class KedaSettings(Struct, frozen=True, kw_only=True):
    """The table `[policies.keda]`."""

    queue_length: Annotated[Positive, Setting("Target number of messages per worker.")] = 20.0
    over_http: Annotated[
        bool, Setting("Whether to count unacknowledged messages: KEDA does over HTTP, not over AMQP.")
    ] = True


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
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        polled = self._poll(snapshot.at, depth)
        if current == 0:
            return self._activate(depth, polled=polled)
        if polled and snapshot.at - self._active_at >= COOLDOWN:
            self._recommendations.clear()
            return Decision.of(WHO, current, 0, COOLED, {"cooldown": COOLDOWN})
        if snapshot.at - self._synced_at < SYNC_PERIOD - _SCHEDULE_SLACK:
            return Decision.hold(WHO, current, SYNCS, {"period": SYNC_PERIOD})
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
            return Decision.hold(WHO, 0, POLLS, {"interval": POLLING_INTERVAL})
        if depth == 0:
            return Decision.of(WHO, 0, 0, "nothing in the queue")
        return Decision.of(WHO, 0, 1, FIRST, {"depth": depth})

    def _sync(self, at: float, current: int, depth: int) -> Decision:
        ratio = depth / (self._target * current)
        wanted = current if abs(ratio - 1) <= TOLERANCE else max(1, math.ceil(depth / self._target))
        remembered = self._recommendations
        if not remembered:
            remembered.append((at, current))
        while remembered and remembered[0][0] < at - STABILIZATION:
            remembered.popleft()
        remembered.append((at, wanted))
        inputs = {"depth": depth, "target": self._target, "workers": wanted}
        if wanted == current:
            inputs = {"depth": depth, "target": self._target, "current": current, "tolerance": TOLERANCE}
        decision = Decision.of(WHO, current, wanted, WITHIN if wanted == current else TARGET, inputs)
        if wanted < current:
            most = max(count for _, count in remembered)
            stable = min(current, most)
            if stable > wanted:
                return decision.then(WHO, stable, MOST_NEEDED, {"window": STABILIZATION, "most": most})
            return decision
        limit = max(current + 4, 2 * current)
        return decision.then(WHO, limit, LIMITED, {"limit": limit}) if wanted > limit else decision
