"""What policies and guards promise; `tests/contract/` holds every one of them to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot


class ScalingPolicy(Protocol):
    """Decides for one application; a monitor makes one object for each."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return how many workers are needed, and why.

        Missing or stale signals give `Decision.hold`. More backlog, other things equal, never gives fewer
        workers.
        """
        ...


class Guard(Protocol):
    """Restrains the decisions of any policy for one application; it may remember what it has seen."""

    def __call__(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return the decision, with one more step where it must be another."""
        ...
