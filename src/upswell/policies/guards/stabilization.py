"""Scale in only to the most that was needed within a while, and not before a full window was seen."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot

WHO = "stabilization"
MOST_NEEDED = "the most needed in the last {window:s} was {most}"
WARMING_UP = "no scale-in before one full window of {window:s} was seen"


class Stabilization:
    """Remembers what was decided in the last `seconds`.

    The number found at the first decision counts as needed, and so does a hold: after an outage the workers
    are not gone at once.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Falling numbers only (a later larger one makes an earlier smaller one irrelevant): the first is the
        # window's maximum.
        self._needed: deque[tuple[float, int]] = deque()
        self._begun = False

    def __call__(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return the decision, raised to the most needed lately where it would scale in."""
        current = snapshot.workers.desired
        if not self._begun:
            self._begun = True
            self._remember(snapshot.at, current)
        self._remember(snapshot.at, decision.desired_workers)
        if decision.held or decision.desired_workers >= current:
            return decision
        if snapshot.warming_up:
            return decision.then(WHO, current, WARMING_UP, {"window": snapshot.window})
        most = self._needed[0][1]
        kept = min(current, most)
        if kept <= decision.desired_workers:
            return decision
        return decision.then(WHO, kept, MOST_NEEDED, {"window": self._seconds, "most": most})

    def _remember(self, at: float, number: int) -> None:
        needed = self._needed
        while needed and needed[-1][1] <= number:
            needed.pop()
        needed.append((at, number))
        while needed[0][0] < at - self._seconds:
            needed.popleft()
