"""The last word on one application: `min_workers`, `max_workers`, and one worker where anything waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot

WHO = "bounds"
RAISED = "raised to min_workers {min_workers}"
LIMITED = "limited to max_workers {max_workers}"
ONE = "{queued:upload waits|uploads wait}, so one worker must run"


class Bounds:
    """Keep to the bounds, a hold included; where anything waits, one worker at least.

    Without that one, a policy that learns from reports would wait for ever for the first.
    """

    def __init__(self, min_workers: int, max_workers: int) -> None:
        self._min_workers = min_workers
        self._max_workers = max_workers

    def __call__(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return the decision, moved inside the bounds."""
        desired = decision.desired_workers
        if desired < self._min_workers:
            return decision.then(WHO, self._min_workers, RAISED, {"min_workers": self._min_workers})
        if desired > self._max_workers:
            return decision.then(WHO, self._max_workers, LIMITED, {"max_workers": self._max_workers})
        if desired == 0 and snapshot.messages_ready and self._max_workers:
            return decision.then(WHO, 1, ONE, {"queued": snapshot.messages_ready})
        return decision
