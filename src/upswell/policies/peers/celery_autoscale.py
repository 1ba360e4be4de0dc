"""Celery's worker autoscaler: as many processes as requests are reserved.

Source: celery/worker/autoscale.py. It grows at once to the number of reserved (prefetched) requests and
shrinks to it when the last growth is older than the keepalive. With --autoscale the prefetch count is four
times the largest number of processes, so `reserved` is the queue's depth up to that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

KEEPALIVE = 30.0
PREFETCH_MULTIPLIER = 4


class CeleryAutoscalePolicy:
    """One process serves one request; a worker of ours stands for as many as it has slots."""

    def __init__(self, max_concurrency: int = 500) -> None:
        self._most = max_concurrency
        self._grew_at = -math.inf

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the number of reserved requests, in workers."""
        current = snapshot.workers.desired
        depth = snapshot.queue_depth
        if depth is None:
            return Decision.hold(current, "the queue's depth is not known")
        reserved = min(depth, PREFETCH_MULTIPLIER * self._most)
        wanted = math.ceil(min(reserved, self._most) / snapshot.slots_per_worker)
        numbers = {"reserved": float(reserved)}
        said = f"{reserved} requests reserved"
        if wanted > current:
            self._grew_at = snapshot.at
            return Decision.by_rule(
                desired_workers=wanted, reason=f"{said} -> {wanted} workers", numbers=numbers
            )
        if wanted < current and snapshot.at - self._grew_at <= KEEPALIVE:
            return Decision.by_rule(
                desired_workers=current,
                reason=f"{said}, but the last growth is younger than {KEEPALIVE:g} s -> stays at {current}",
                numbers=numbers,
            )
        return Decision.by_rule(desired_workers=wanted, reason=f"{said} -> {wanted} workers", numbers=numbers)
