"""What a policy promises; `tests/contract/test_policy.py` holds every one of them to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot


class ScalingPolicy(Protocol):
    """Decides for one application; a monitor makes one object for each."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return how many workers are wanted, and the sentence that explains it.

        Missing or stale signals give `Decision.hold`. More backlog, other things equal, never gives fewer
        workers.
        """
        ...
