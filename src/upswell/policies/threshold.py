"""The teaching sample's rule, with the scale-in that was left as an exercise.

Each report slower than the objective's seconds starts one more worker. When nothing waits, the window's p95
is below half of the objective, and the uploads in flight would fill at most 70 % of the slots that remain,
one worker is drained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

CALM_SHARE = 0.5
"""Scale in only where p95 is below this share of the objective; from there to 1 nothing changes."""
FULL_SHARE = 0.7
"""Scale in only where the remaining slots would be busy to this share at most."""


class ThresholdPolicy:
    """One more worker for each slow report, one fewer when all is calm."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the present number plus the slow reports, or one fewer."""
        current = snapshot.workers.desired
        limit = snapshot.slo.seconds
        reports = len(snapshot.recent_response_times)
        slow = sum(time > limit for time in snapshot.recent_response_times)
        numbers = {"slow_reports": float(slow), "reports": float(reports)}
        if slow:
            return Decision(
                desired_workers=current + slow,
                reason=f"{slow} of {reports} new reports slower than {limit:g} s -> "
                f"{current} + {slow} = {current + slow} workers",
                numbers=numbers,
                rejected=(f"{current} workers: a slow report starts one more",),
            )
        missing = _missing(snapshot)
        if missing:
            return Decision.hold(current, missing)
        busy = self._busy(snapshot)
        if busy:
            return Decision(
                desired_workers=current,
                reason=f"{busy} -> stays at {current}",
                numbers=numbers,
                rejected=(
                    f"{current - 1} workers: {busy}",
                    f"{current + 1} workers: no report slower than {limit:g} s",
                ),
            )
        fewer = max(0, current - 1)
        return Decision(
            desired_workers=fewer,
            reason=f"nothing waits, {snapshot.messages_unacknowledged} uploads in flight, "
            f"no response time near {limit:g} s -> "
            f"one fewer than {current}: {fewer} workers",
            numbers=numbers,
            rejected=(f"{current} workers: {fewer} have room",),
        )

    def _busy(self, snapshot: Snapshot) -> str:
        """Return what speaks against one worker fewer, or an empty text."""
        if snapshot.messages_ready:
            return f"{snapshot.messages_ready} uploads wait"
        calm_below = CALM_SHARE * snapshot.slo.seconds
        times = snapshot.response_time
        if times is not None and times.p95 >= calm_below:
            return f"p95 {times.p95:.3g} s is not below {calm_below:g} s"
        room = max(0, snapshot.workers.desired - 1) * snapshot.slots_per_worker
        in_flight = snapshot.messages_unacknowledged or 0
        if in_flight > FULL_SHARE * room:
            return f"{in_flight} uploads in flight are over {FULL_SHARE:.0%} of {room} slots"
        return ""


def _missing(snapshot: Snapshot) -> str:
    if snapshot.messages_ready is None:
        return "no slow report, and the queue's depth is not known"
    if snapshot.messages_unacknowledged is None:
        return "no slow report, and the number of uploads in flight is not known"
    return ""
