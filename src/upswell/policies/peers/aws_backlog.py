"""Amazon EC2 Auto Scaling by backlog per instance, with target tracking.

From the user guide alone, the program is closed ("Scaling policy based on Amazon SQS" and its pages on target
tracking, 2026): the target is the acceptable latency over the mean processing time. An alarm looks at one
point a minute: three points above the target scale out, fifteen below 90 % of it scale in; either sets
ceil(n x backlog per instance / target). That is the whole backlog over the target, so an instance's warm-up
changes nothing: what is warming up was counted when it was asked for, and fifteen calm minutes are longer.

Assumed: the alarms' numbers of points (3 and 15, those that its target tracking makes); the acceptable
latency is the objective; the metric is fresh at each minute, where SQS's is approximate and up to a minute
old.
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

WHO = "aws_backlog"
_POINT = "{backlog:upload} queued, {per_worker} a worker, target {target}"
ABOVE = f"{_POINT}: above it for {{points:point}}; {{backlog}} / {{target}} = {{workers:worker}}"
BELOW = (
    f"{_POINT}: below {{share:%}} of it for {{points:point}}; {{backlog}} / {{target}} = {{workers:worker}}"
)
CALM = f"{_POINT}: no alarm"

PERIOD = 60.0
POINTS_OUT = 3
POINTS_IN = 15
IN_SHARE = 0.9
_SCHEDULE_SLACK = 1e-6


class AwsBacklogSettings(Struct, frozen=True, kw_only=True):
    """The table `[policies.aws_backlog]`."""

    processing_time: Annotated[
        Positive | None, Setting("Seconds that one upload takes. Not set: the mean of the reports.")
    ] = None


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
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        target = snapshot.slo.seconds * snapshot.slots_per_worker / seconds if seconds else math.inf
        if not math.isfinite(target):
            return Decision.hold(WHO, current, "no upload has reported how long one takes")
        if snapshot.at - self._point_at < PERIOD - _SCHEDULE_SLACK:
            return Decision.hold(WHO, current, "the alarm looks every {period:s}", {"period": PERIOD})
        self._point_at = snapshot.at
        per_worker = backlog / max(1, current)
        self._points.append(per_worker)
        wanted = math.ceil(backlog / target)
        points = list(self._points)
        inputs = {"backlog": backlog, "per_worker": per_worker, "target": target}
        if len(points) >= POINTS_OUT and all(point > target for point in points[-POINTS_OUT:]):
            inputs |= {"points": POINTS_OUT, "workers": wanted}
            return Decision.of(WHO, current, max(wanted, current), ABOVE, inputs)
        if len(points) == POINTS_IN and all(point < IN_SHARE * target for point in points):
            inputs |= {"points": POINTS_IN, "share": IN_SHARE, "workers": wanted}
            return Decision.of(WHO, current, min(wanted, current), BELOW, inputs)
        return Decision.of(WHO, current, current, CALM, inputs)
