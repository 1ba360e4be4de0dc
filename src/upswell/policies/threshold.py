"""The teaching sample's rule, with the scale-in that was left as an exercise.

Each report slower than the objective's seconds starts one more worker. When nothing waits, the window's p95
is below half of the objective, and the uploads in flight would fill at most 70 % of the slots that remain,
one worker is drained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.decision import Inputs
    from upswell.analysis.snapshot import Snapshot

WHO = "threshold"
SLOW = "{slow} of {reports:new report} took longer than {limit:s}; each starts one worker more"
NO_SLOW = "no slow report, and"
QUEUED = "{queued:upload waits|uploads wait}"
NOT_CALM = "p95 of {p95:s} is not below {calm:s}"
FULL = "{in_flight:upload} in flight would fill more than {share:%} of the {room:slot} that remain"
CALM = "nothing waits, {in_flight:upload} in flight, p95 below {calm:s}: one worker fewer"

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
        slow = sum(time > limit for time in snapshot.recent_response_times)
        if slow:
            inputs = {"slow": slow, "reports": len(snapshot.recent_response_times), "limit": limit}
            return Decision.of(WHO, current, current + slow, SLOW, inputs)
        if snapshot.messages_ready is None:
            return Decision.hold(WHO, current, f"{NO_SLOW} the queue's depth is unknown")
        if snapshot.messages_unacknowledged is None:
            return Decision.hold(WHO, current, f"{NO_SLOW} the uploads in flight are unknown")
        calm, in_flight = CALM_SHARE * limit, snapshot.messages_unacknowledged
        busy = _busy(snapshot, calm, in_flight)
        if busy is not None:
            return Decision.of(WHO, current, current, *busy)
        inputs = {"in_flight": in_flight, "calm": calm}
        return Decision.of(WHO, current, max(0, current - 1), CALM, inputs)


def _busy(snapshot: Snapshot, calm: float, in_flight: int) -> tuple[str, Inputs] | None:
    """Return what speaks against one worker fewer."""
    if snapshot.messages_ready:
        return QUEUED, {"queued": snapshot.messages_ready}
    times = snapshot.response_time
    if times is not None and times.p95 >= calm:
        return NOT_CALM, {"p95": times.p95, "calm": calm}
    room = max(0, snapshot.workers.desired - 1) * snapshot.slots_per_worker
    in_flight += snapshot.unheard_in_flight
    if in_flight > FULL_SHARE * room:
        return FULL, {"in_flight": in_flight, "share": FULL_SHARE, "room": room}
    return None
