"""Dask's adaptive scaling: as many workers as finish the present work within a target duration.

From the source (distributed 2026.7, scheduler.py adaptive_target and deploy/adaptive_core.py; constants of
distributed.yaml): ceil(occupancy / target_duration), at most one worker a task; a worker is closed when it
was to be closed in `wait_count` recommendations running. Run it every second, Dask's interval.

Assumed: occupancy is the number of uploads times their mean service time (Dask learns it by kind of task);
only idle workers are closed, all of them in the same three recommendations; its rule on memory never asks.
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

WHO = "dask_adaptive"
OCCUPANCY = (
    "{tasks:upload} x {service_time:s} within {target:s}, one worker a task at most "
    "= {workers:worker} of {slots_per_worker:slot}"
)
NOTHING = "no uploads in the system"
PROPOSED = "proposed {proposals:time} of {needed}"
BUSY = "{busy:worker is|workers are} busy"

WAIT_COUNT = 3


class DaskAdaptiveSettings(Struct, frozen=True, kw_only=True):
    """The table `[policies.dask_adaptive]`."""

    target_duration: Annotated[Positive, Setting("Target seconds to finish the current work.")] = 5.0
    processing_time: Annotated[
        Positive | None, Setting("Seconds that one upload takes. Not set: the mean of the reports.")
    ] = None


class DaskAdaptivePolicy:
    """Occupancy is the number of uploads in the system times their mean service time."""

    def __init__(self, target_duration: float = 5.0, processing_time: float | None = None) -> None:
        self._target = target_duration
        self._processing_time = processing_time
        self._proposals = 0

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return more at once, fewer after three proposals running, idle ones only."""
        current = snapshot.workers.desired
        tasks = snapshot.queue_depth
        seconds = self._processing_time or (snapshot.service_time.mean if snapshot.service_time else None)
        if tasks is None:
            return Decision.hold(WHO, current, "the queue's depth is unknown")
        if not seconds and tasks:
            return Decision.hold(WHO, current, "no upload has reported how long one takes")
        if not seconds:
            wanted, decision = 0, Decision.of(WHO, current, 0, NOTHING)
        else:
            slots = snapshot.slots_per_worker
            wanted = min(math.ceil(tasks * seconds / self._target / slots), tasks)
            inputs = {
                "tasks": tasks,
                "service_time": seconds,
                "target": self._target,
                "workers": wanted,
                "slots_per_worker": slots,
            }
            decision = Decision.of(WHO, current, wanted, OCCUPANCY, inputs)
        if wanted >= current:
            self._proposals = 0
            return decision
        self._proposals += 1
        if self._proposals < WAIT_COUNT:
            proposals = {"proposals": self._proposals, "needed": WAIT_COUNT}
            return decision.then(WHO, current, PROPOSED, proposals)
        busy = snapshot.workers.busy - snapshot.workers.draining
        kept = min(current, max(wanted, busy))
        return decision if kept == wanted else decision.then(WHO, kept, BUSY, {"busy": busy})
