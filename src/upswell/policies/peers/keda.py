"""KEDA's RabbitMQ scaler with the Horizontal Pod Autoscaler behind it (hpa.py), as a real one works.

From the source (KEDA 2.17, pkg/scaling, pkg/scalers/rabbitmq_scaler.go; constants of its ScaledObject): it
polls the queue every 30 s; a poll that finds anything takes the number from 0 to 1, one that has found
nothing for 300 s takes it to 0. Between, the autoscaler syncs every 15 s. Over HTTP the metric is ready and
unacknowledged messages, over AMQP ready ones alone: under load such a queue may look empty, and all workers
end.

From a real KEDA 2.17.2 on Kubernetes 1.34 with RabbitMQ 4.0.5, watched for 468 syncs:

- The management API renews a queue's depth every 5 s, and what the autoscaler used was 2 to 8 s old. Over
  AMQP it is fresh.
- Polls and syncs have one phase, which nothing in the traffic knows: after a poll that starts the first
  worker the next sync comes at once or 15 s later.

Assumed: the depth used is the newest of a grid of 5 s that is at least 2 s old; both loops keep their phase
for good. The bounds are the application's own.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct

from upswell.analysis.decision import Decision
from upswell.policies.peers.hpa import SYNC_PERIOD, PodAutoscaler
from upswell.settings.fields import Positive
from upswell.settings.setting import Setting

if TYPE_CHECKING:
    from random import Random

    from upswell.analysis.snapshot import Snapshot

WHO = "keda"
SYNCS = "the autoscaler syncs every {period:s}"
POLLS = "the queue is polled every {interval:s}"
COOLED = "nothing in the queue for {cooldown:s}"
FIRST = "{depth:upload} in the queue and no worker"

POLLING_INTERVAL = 30.0
COOLDOWN = 300.0
DEPTH_PERIOD = 5.0
DEPTH_LAG = 2.0
_SLACK = 1e-6


class KedaSettings(Struct, frozen=True, kw_only=True):
    """The table `[policies.keda]`."""

    queue_length: Annotated[Positive, Setting("Target number of messages per worker.")] = 20.0
    over_http: Annotated[
        bool,
        Setting(
            "Whether to ask over HTTP: unacknowledged messages count too, and the depth is some seconds old. "
            "Over AMQP it is fresh, and what is being served does not count."
        ),
    ] = True
    behavior: Annotated[
        bool,
        Setting(
            "Whether the ScaledObject has a behavior, of defaults: without it the greatest number of five "
            "minutes holds for a scale-out, too."
        ),
    ] = False


class KedaPolicy:
    """The settings are those of `KedaSettings`.

    `rng` draws the phases of its loops; without it they begin with the first decision.
    """

    def __init__(
        self,
        queue_length: float = 20,
        *,
        over_http: bool = True,
        behavior: bool = False,
        rng: Random | None = None,
    ) -> None:
        self._over_http = over_http
        self._autoscaler = PodAutoscaler(WHO, queue_length, behavior=behavior)
        draw = rng.random if rng is not None else lambda: 0.0
        phase = draw()
        self._polls = _Ticks(POLLING_INTERVAL, phase)
        # Both loops begin together: each second sync falls on a poll, and which comes first is chance.
        self._syncs = _Ticks(SYNC_PERIOD, phase * POLLING_INTERVAL / SYNC_PERIOD % 1.0)
        self._syncs_after_poll = draw() < 0.5  # noqa: PLR2004 - a coin
        self._depths = _OldDepth(draw())
        self._active_at = -math.inf

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the present number between two syncs, else what the autoscaler wants."""
        at, current = snapshot.at, snapshot.workers.desired
        depth = snapshot.messages_ready
        if self._over_http:
            depth = self._depths.seen(at, snapshot.queue_depth)
        if depth is None:
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        polled = self._polls.due(at)
        if polled and (depth > 0 or self._active_at == -math.inf):
            self._active_at = at
        synced = self._syncs.due(at)
        if current == 0:
            return self._activate(at, depth, polled=polled, synced=synced)
        if polled and at - self._active_at >= COOLDOWN - _SLACK:
            return Decision.of(WHO, current, 0, COOLED, {"cooldown": COOLDOWN})
        if not synced:
            return Decision.hold(WHO, current, SYNCS, {"period": SYNC_PERIOD})
        return self._autoscaler.sync(at, current, depth)

    def _activate(self, at: float, depth: int, *, polled: bool, synced: bool) -> Decision:
        if not polled:
            return Decision.hold(WHO, 0, POLLS, {"interval": POLLING_INTERVAL})
        if depth == 0:
            return Decision.of(WHO, 0, 0, "nothing in the queue")
        first = Decision.of(WHO, 0, 1, FIRST, {"depth": depth})
        if not (synced and self._syncs_after_poll):
            return first
        for step in self._autoscaler.sync(at, 1, depth).steps:
            first = first.then(step.who, step.after, step.why, step.inputs)
        return first


class _Ticks:
    """A loop that looks every `period` seconds, from `share` of one period after its first question on."""

    def __init__(self, period: float, share: float) -> None:
        self._period = period
        self._share = share
        self._next: float | None = None

    def due(self, at: float) -> bool:
        """Return whether it is time to look, once for each time."""
        if self._next is None:
            self._next = at + self._share * self._period
        if at < self._next - _SLACK:
            return False
        while self._next <= at + _SLACK:
            self._next += self._period
        return True


class _OldDepth:
    """The depth as the management API tells it: sampled every 5 s, and told no sooner than 2 s later."""

    def __init__(self, share: float) -> None:
        self._samples = _Ticks(DEPTH_PERIOD, share)
        self._known: deque[tuple[float, int | None]] = deque()

    def seen(self, at: float, depth: int | None) -> int | None:
        """Return the depth as it is told at this instant; before the first is old enough, the first one."""
        if self._samples.due(at) or not self._known:
            self._known.append((at, depth))
        while len(self._known) > 1 and self._known[1][0] <= at - DEPTH_LAG + _SLACK:
            self._known.popleft()
        return self._known[0][1]
