"""Signals lost: hold, and raise an alarm. Signals back: no jump.

A signal is lost when it was known once and no longer is: the broker has not answered with the queue's depth
for `lost_after` seconds, or every worker fell silent. What was never known is not lost: some applications
have no depth, and their policies know how to do without. While signals are lost nothing changes. When they
are back a policy may scale out at once, on what it now sees; but what it remembers has a hole (a window half
empty reads as little load), so no worker goes until one full window has been seen again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.analysis.decision import NO_INPUTS, Decision

if TYPE_CHECKING:
    from upswell.analysis.decision import Inputs
    from upswell.analysis.snapshot import Snapshot

WHO = "fail_static"
DEPTH_OLD = "signals lost: the queue's depth is {depth_age:s} old"
DEPTH_UNKNOWN = "signals lost: the queue's depth is no longer known"
WORKERS_SILENT = "signals lost: none of {workers:worker} is heard"
BACK = (
    "signals came back {back:s} ago after {outage:s} without; "
    "no scale-in before one full window of {window:s} is seen"
)

LOST_AFTER_ROUNDS = 5
LOST_AFTER_SHARE = 0.25
"""A depth is lost after this many decision intervals without one, at least this share of the window: asking
for ten thousand queues may take more than one interval."""


def lost_after(window: float, decision_interval: float) -> float:
    """Return after how many seconds without an answer a depth counts as lost; never more than the window."""
    return min(window, max(LOST_AFTER_SHARE * window, LOST_AFTER_ROUNDS * decision_interval))


class FailStatic:
    """Hold while a depth is older than `lost_after` seconds; afterwards only more workers for one window."""

    def __init__(self, lost_after: float) -> None:
        self._lost_after = lost_after
        self._depth_known = False
        self._lost_since: float | None = None
        self._back_at: float | None = None
        self._outage = 0.0

    def __call__(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return a hold while signals are lost, else the decision; no scale-in soon after an outage."""
        lost = self._lost(snapshot)
        current = snapshot.workers.desired
        if lost is not None:
            if self._lost_since is None:
                self._lost_since = snapshot.at
            return Decision.hold(WHO, current, *lost).alarmed("signals_lost")
        if self._lost_since is not None:
            self._outage = max(0.0, snapshot.at - self._lost_since)
            self._lost_since, self._back_at = None, snapshot.at
        if self._back_at is None:
            return decision
        back = snapshot.at - self._back_at
        if back >= snapshot.window:
            self._back_at = None
            return decision
        if decision.desired_workers >= current:
            return decision
        inputs = {"back": back, "outage": self._outage, "window": snapshot.window}
        return decision.then(WHO, current, BACK, inputs)

    def _lost(self, snapshot: Snapshot) -> tuple[str, Inputs] | None:
        """Return what was known and no longer is."""
        depth_age = snapshot.depth_age
        if depth_age is not None and depth_age > self._lost_after:
            return DEPTH_OLD, {"depth_age": depth_age}
        if snapshot.messages_ready is None:
            return (DEPTH_UNKNOWN, NO_INPUTS) if self._depth_known else None
        self._depth_known = True
        workers = snapshot.workers
        if "workers" in snapshot.stale and not workers.running:
            return WORKERS_SILENT, {"workers": workers.desired}
        return None
