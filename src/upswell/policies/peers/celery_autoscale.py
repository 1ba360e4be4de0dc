"""Celery's worker autoscaler: as many processes as requests are reserved.

From the source (Celery 5.6, celery/worker/autoscale.py and components.py): it grows at once to the number of
reserved (prefetched) requests and shrinks to it when the last growth is older than the keepalive, and not
before the first one. With --autoscale the prefetch count is four times the largest number of processes, so
`reserved` is the queue's depth up to that.

Assumed: it looks every second (its thread does; with an event loop it looks at each message and every 30 s);
a process that is busy drains, where Celery's pool refuses to shrink and tries again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.settings import Settings

WHO = "celery_autoscale"
RESERVED = (
    "{reserved:request} reserved, {most:process|processes} at most "
    "= {workers:worker} of {slots_per_worker:slot}"
)
NEVER_GREW = "it shrinks only what it made grow"
YOUNG = "the last growth is younger than {keepalive:s}"

KEEPALIVE = 30.0
PREFETCH_MULTIPLIER = 4


class CeleryAutoscalePolicy:
    """One process serves one request; a worker of ours stands for as many as it has slots."""

    def __init__(self, max_concurrency: int = 500) -> None:
        self._most = max_concurrency
        self._grew_at: float | None = None

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the number of reserved requests, in workers."""
        current = snapshot.workers.desired
        depth = snapshot.queue_depth
        if depth is None:
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        reserved = min(depth, PREFETCH_MULTIPLIER * self._most)
        wanted = math.ceil(min(reserved, self._most) / snapshot.slots_per_worker)
        inputs = {
            "reserved": reserved,
            "most": self._most,
            "workers": wanted,
            "slots_per_worker": snapshot.slots_per_worker,
        }
        decision = Decision.of(WHO, current, wanted, RESERVED, inputs)
        if wanted > current:
            self._grew_at = snapshot.at
            return decision
        if wanted < current and self._grew_at is None:
            return decision.then(WHO, current, NEVER_GREW)
        if wanted < current and snapshot.at - (self._grew_at or 0.0) <= KEEPALIVE:
            return decision.then(WHO, current, YOUNG, {"keepalive": KEEPALIVE})
        return decision


def from_settings(settings: Settings, max_concurrency: float | None = None) -> CeleryAutoscalePolicy:
    """Return the policy of an application: at most `max_workers` processes unless given."""
    return CeleryAutoscalePolicy(settings.max_workers if max_concurrency is None else int(max_concurrency))
