"""Kubernetes' Horizontal Pod Autoscaler with one external metric of type AverageValue: what one sync wants.

From its source (kubernetes 1.34, pkg/controller/podautoscaler/replica_calculator.go and horizontal.go), and
held to 468 syncs of a real one (tests/unit/policies/peers/test_hpa.py):

- ceil(metric / target) is wanted, or the present number where metric / (target x present) is within 0.9 and
  1.1, both included.
- What was wanted in the last 300 s is remembered, the number found at the first sync too, before any limit.
- Without `behavior` (KEDA makes it so) the greatest of these holds in **both** directions, and a scale-out
  goes to max(2 n, 4) at most: one high value is climbed to at later syncs although the queue is empty.
- With a `behavior`, by its defaults, the greatest of these holds for a scale-in alone, and a scale-out goes
  to max(2 n, n + 4) at most.

Assumed: the syncs come exactly every 15 s, and no pod is missing or without metrics.
"""

from __future__ import annotations

import math
from collections import deque

from upswell.analysis.decision import Decision

TARGET = "{depth:upload} / {target} a worker = {workers:worker}"
WITHIN = "{depth:upload} / {target} a worker is within {tolerance:%} of {current:worker}"
MOST_NEEDED = "the most needed in the last {window:s} was {most}"
MOST_WANTED = "the most wanted in the last {window:s} was {most}, and without a behavior it holds both ways"
LIMITED = "one sync goes to {limit:worker} at most"

SYNC_PERIOD = 15.0
TOLERANCE = 0.1
STABILIZATION = 300.0

_SLACK = 1e-9
_JITTER = 0.5
"""A recommendation of 300 s ago, give or take a sync's jitter, has dropped out."""


class PodAutoscaler:
    """One application's, with what it remembers; `target` is the metric a worker.

    `who` is the name in its decisions, `behavior` whether its object has a `behavior`, of defaults.
    """

    def __init__(self, who: str, target: float, *, behavior: bool = False) -> None:
        self._who = who
        self._target = target
        self._behavior = behavior
        self._remembered: deque[tuple[float, int]] = deque()

    def sync(self, at: float, current: int, metric: int) -> Decision:
        """Return what it wants at one sync; it is called every 15 s, while any worker runs."""
        wanted, decision = self._wanted(current, metric)
        most = self._most(at, current, wanted)
        stable, why = most, MOST_WANTED
        if self._behavior:
            stable, why = (min(current, most) if wanted < current else wanted), MOST_NEEDED
        if stable != wanted:
            decision = decision.then(self._who, stable, why, {"window": STABILIZATION, "most": most})
        limit = max(2 * current, current + 4 if self._behavior else 4)
        return decision.then(self._who, limit, LIMITED, {"limit": limit}) if stable > limit else decision

    def _wanted(self, current: int, metric: int) -> tuple[int, Decision]:
        target = self._target
        ratio = metric / (target * current)
        if 1 - TOLERANCE - _SLACK <= ratio <= 1 + TOLERANCE + _SLACK:
            inputs = {"depth": metric, "target": target, "current": current, "tolerance": TOLERANCE}
            return current, Decision.of(self._who, current, current, WITHIN, inputs)
        wanted = max(1, math.ceil(metric / target - _SLACK))
        inputs = {"depth": metric, "target": target, "workers": wanted}
        return wanted, Decision.of(self._who, current, wanted, TARGET, inputs)

    def _most(self, at: float, current: int, wanted: int) -> int:
        """Remember what is wanted; return the greatest number remembered."""
        remembered = self._remembered
        if not remembered:  # the first sync
            remembered.append((at, current))
        while remembered and at - remembered[0][0] > STABILIZATION - _JITTER:
            remembered.popleft()
        remembered.append((at, wanted))
        return max(number for _, number in remembered)
