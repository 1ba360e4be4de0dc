"""Leave alone what would change too little to mean anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot

WHO = "tolerance"
TOO_SMALL = "a change of {change:+} is less than {tolerance:%} of {current}"


class Tolerance:
    """Stay where the change is less than the `tolerance`, a share of the present number.

    Never in the way of more workers while the objective is being missed, nor of leaving the smallest number.
    """

    def __init__(self, tolerance: float, min_workers: int) -> None:
        self._tolerance = tolerance
        self._min_workers = min_workers

    def __call__(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return the decision, or one to stay."""
        current = snapshot.workers.desired
        change = decision.desired_workers - current
        if change == 0 or abs(change) >= self._tolerance * current:
            return decision
        if change > 0 and (current <= self._min_workers or _is_missed(snapshot)):
            return decision
        inputs = {"change": change, "tolerance": self._tolerance, "current": current}
        return decision.then(WHO, current, TOO_SMALL, inputs)


def _is_missed(snapshot: Snapshot) -> bool:
    if snapshot.misses:
        return True
    return snapshot.oldest_age is not None and snapshot.oldest_age > snapshot.slo.seconds
