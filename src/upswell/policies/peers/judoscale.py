"""Judoscale (Rails Autoscale): one more worker above a range of queue times, one fewer after calm below it.

From its pages alone, the program is closed (judoscale.com, "tuning your application" and "autoscaling
behavior", 2026): metrics every 10 s, one step at a time, a pause after a step up.

Assumed: the range of queue times, which its user sets, is a twentieth to a quarter of the objective; the
pause is 45 s and the calm 10 min.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct

from upswell.analysis.decision import Decision
from upswell.settings.fields import Positive
from upswell.settings.setting import Setting

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

WHO = "judoscale"
BETWEEN = "metrics are read every {interval:s}"
STAYS = "queue time {queue_time:s}, range {low:s} to {high:s}"
ABOVE = f"{STAYS}: one worker more"
BELOW = f"{STAYS}: below it for {{delay:s}}, one worker fewer"

METRICS_INTERVAL = 10.0
UPSCALE_PAUSE = 45.0
DOWNSCALE_DELAY = 600.0
_SCHEDULE_SLACK = 1e-6


class JudoscaleSettings(Struct, frozen=True, kw_only=True):
    """The table `[policies.judoscale]`."""

    low: Annotated[
        Positive | None,
        Setting("Queue time in seconds below which one worker is removed. Not set: 1/20 of the objective."),
    ] = None
    high: Annotated[
        Positive | None,
        Setting("Queue time in seconds above which one worker is added. Not set: 1/4 of the objective."),
    ] = None


class JudoscalePolicy:
    """The range of queue times, set by hand; by default from a twentieth to a quarter of the objective."""

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        self._low = low
        self._high = high
        self._looked_at = -math.inf
        self._raised_at = -math.inf
        self._calm_since: float | None = None
        self._worst = 0.0

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return one more, one fewer or the present number."""
        current = snapshot.workers.desired
        if snapshot.messages_ready is None:
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        now = snapshot.at
        queue_time = snapshot.oldest_age if snapshot.messages_ready else 0.0
        if queue_time is None:
            return Decision.hold(WHO, current, "how long the head of the queue has waited is unknown")
        self._worst = max(self._worst, queue_time)
        if now - self._looked_at < METRICS_INTERVAL - _SCHEDULE_SLACK:
            return Decision.hold(WHO, current, BETWEEN, {"interval": METRICS_INTERVAL})
        self._looked_at = now
        queue_time, self._worst = self._worst, 0.0
        low = self._low if self._low is not None else snapshot.slo.seconds / 20
        high = self._high if self._high is not None else snapshot.slo.seconds / 4
        inputs = {"queue_time": queue_time, "low": low, "high": high}
        if queue_time >= low:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if queue_time > high and now - self._raised_at >= UPSCALE_PAUSE:
            self._raised_at = now
            return Decision.of(WHO, current, current + 1, ABOVE, inputs)
        if self._calm_since is not None and now - self._calm_since >= DOWNSCALE_DELAY:
            self._calm_since = now
            calm = {**inputs, "delay": DOWNSCALE_DELAY}
            return Decision.of(WHO, current, max(0, current - 1), BELOW, calm)
        return Decision.of(WHO, current, current, STAYS, inputs)
