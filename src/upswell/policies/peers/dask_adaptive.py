"""Dask's adaptive scaling: as many workers as finish the present work within a target duration.

Source: distributed/scheduler.py (adaptive_target) and deploy/adaptive_core.py: ceil(occupancy /
target_duration), at most one worker a task; a worker is closed when it was to be closed in `wait_count`
recommendations running, and only if it is idle. Run it every second, Dask's interval.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

WAIT_COUNT = 3


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
            return Decision.hold(current, "the queue's depth is not known")
        if not seconds and tasks:
            return Decision.hold(current, "no upload has told how long one takes")
        occupancy = tasks * (seconds or 0.0)
        slots = snapshot.slots_per_worker
        wanted = min(math.ceil(occupancy / self._target / slots), tasks)
        said = f"{tasks} uploads x {seconds or 0:.3g} s / {self._target:g} s -> {wanted} workers"
        numbers = {"occupancy": occupancy, "target_duration": self._target}
        if wanted >= current:
            self._proposals = 0
            return Decision.by_rule(desired_workers=wanted, reason=said, numbers=numbers)
        self._proposals += 1
        if self._proposals < WAIT_COUNT:
            return Decision.by_rule(
                desired_workers=current,
                reason=f"{said}; proposed {self._proposals} of {WAIT_COUNT} times, stays at {current}",
                numbers=numbers,
            )
        busy = snapshot.workers.busy - snapshot.workers.draining
        kept = min(current, max(wanted, busy))
        return Decision.by_rule(
            desired_workers=kept, reason=f"{said}; {busy} are busy -> {kept} workers", numbers=numbers
        )
