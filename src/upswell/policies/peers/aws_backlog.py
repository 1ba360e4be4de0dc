"""Amazon EC2 Auto Scaling by backlog per instance, with target tracking.

The target is the acceptable latency over the mean processing time. An alarm looks at one point a minute:
three points above the target scale out, fifteen below 90 % of it scale in; either sets ceil(n x backlog per
instance / target). That is the whole backlog over the target, so an instance's warm-up changes nothing: what
is warming up was counted when it was asked for, and fifteen calm minutes are longer than it.
Source: docs.aws.amazon.com/autoscaling/ec2/userguide/as-using-sqs-queue.html and its target tracking pages.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

PERIOD = 60.0
POINTS_OUT = 3
POINTS_IN = 15
IN_SHARE = 0.9
_SCHEDULE_SLACK = 1e-6


class AwsBacklogPolicy:
    """`processing_time` is the mean of one upload in seconds; None takes what the reports say at the time."""

    def __init__(self, processing_time: float | None = None) -> None:
        self._processing_time = processing_time
        self._point_at = -math.inf
        self._points: deque[float] = deque(maxlen=POINTS_IN)

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the present number unless an alarm rings."""
        current = snapshot.workers.desired
        backlog = snapshot.messages_ready
        seconds = self._processing_time or (snapshot.service_time.mean if snapshot.service_time else None)
        if backlog is None:
            return Decision.hold(current, "the queue's depth is not known")
        if not seconds:
            return Decision.hold(current, "no upload has told how long one takes")
        if snapshot.at - self._point_at < PERIOD - _SCHEDULE_SLACK:
            return Decision.hold(current, f"the alarm looks every {PERIOD:g} s")
        self._point_at = snapshot.at
        target = snapshot.slo.seconds * snapshot.slots_per_worker / seconds
        per_worker = backlog / max(1, current)
        self._points.append(per_worker)
        wanted = math.ceil(backlog / target)
        points = list(self._points)
        numbers = {"backlog_per_worker": per_worker, "target": target}
        said = f"backlog {per_worker:.3g} a worker, target {target:.3g}"
        if len(points) >= POINTS_OUT and all(point > target for point in points[-POINTS_OUT:]):
            return self._ring(max(wanted, current), f"{said}: above for {POINTS_OUT} points", numbers)
        if len(points) == POINTS_IN and all(point < IN_SHARE * target for point in points):
            return self._ring(
                min(wanted, current), f"{said}: below {IN_SHARE:.0%} for {POINTS_IN} points", numbers
            )
        return Decision.by_rule(
            desired_workers=current, reason=f"{said}: no alarm, stays at {current}", numbers=numbers
        )

    def _ring(self, wanted: int, said: str, numbers: dict[str, float]) -> Decision:
        return Decision.by_rule(desired_workers=wanted, reason=f"{said} -> {wanted} workers", numbers=numbers)
