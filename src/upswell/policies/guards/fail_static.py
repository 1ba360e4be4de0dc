"""Signals lost: hold, and raise an alarm. Signals back: no jump.

A signal is lost when it was known once and is not any more: the broker has not told the queue's depth for
`lost_after` seconds, or every worker fell silent. What was never known is not lost: some applications never
tell their depth, and their policies know how to do without. While signals are lost nothing changes. When
they are back a policy may scale out at once, on what it now sees; but what it remembers has a hole (a window
half empty reads as little load), so nobody goes until one full window has been seen anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import ScalingPolicy

LOST_AFTER_ROUNDS = 5
LOST_AFTER_SHARE = 0.25
"""A depth is lost after so many decision intervals without one, at least this share of the window: a sweep
over ten thousand queues may take more than one interval."""


def lost_after(window: float, decision_interval: float) -> float:
    """Return after how many seconds without an answer a depth counts as lost; never more than the window."""
    return min(window, max(LOST_AFTER_SHARE * window, LOST_AFTER_ROUNDS * decision_interval))


class FailStatic:
    """Hold while signals are lost; afterwards only more workers, until one full window was seen.

    Args:
        policy: what stands inside; it is asked each time, so that its own memory has no hole.
        lost_after: seconds without a depth.
    """

    def __init__(self, policy: ScalingPolicy, lost_after: float) -> None:
        self._policy = policy
        self._lost_after = lost_after
        self._depth_known = False
        self._lost_since: float | None = None
        self._back_at: float | None = None
        self._outage = 0.0

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return a hold while signals are lost, else the inner decision; no scale-in soon after an outage."""
        decision = self._policy.decide(snapshot)
        lost = self._lost(snapshot)
        current = snapshot.workers.desired
        if lost:
            if self._lost_since is None:
                self._lost_since = snapshot.at
            return Decision.hold(current, f"signals are lost: {lost}").alarmed("signals_lost")
        if self._lost_since is not None:
            self._outage = max(0.0, snapshot.at - self._lost_since)
            self._lost_since, self._back_at = None, snapshot.at
        if self._back_at is None:
            return decision
        fresh = snapshot.at - self._back_at
        if fresh >= snapshot.window:
            self._back_at = None
            return decision
        if decision.desired_workers >= current:
            return decision
        return decision.changed(
            current,
            f"signals came back {fresh:.0f} s ago after {self._outage:.0f} s without, so {current} stay "
            f"until one full window of {snapshot.window:g} s is seen",
        )

    def _lost(self, snapshot: Snapshot) -> str:
        """Return what was known and is not any more, or an empty text."""
        depth_age = snapshot.depth_age
        if depth_age is not None and depth_age > self._lost_after:
            return f"the queue's depth was last told {depth_age:.0f} s ago"
        if snapshot.messages_ready is None:
            return "the queue's depth is not told any more (0 answers)" if self._depth_known else ""
        self._depth_known = True
        workers = snapshot.workers
        heard = workers.starting + workers.ready + workers.standby + workers.draining
        if "workers" in snapshot.stale and not heard:
            return f"every worker is silent (0 of {workers.desired} are heard)"
        return ""
