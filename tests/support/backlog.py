"""What the contracts of guards are tried around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Workers

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies import ScalingPolicy


TENTH = "{uploads:upload}, 10 a worker = {workers:worker}"


class Backlog:
    """Wants one worker for each ten uploads in the system; holds where their number is not known."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return a tenth."""
        if snapshot.queue_depth is None:
            return Decision.hold("backlog", snapshot.workers.desired, "no answer of the broker")
        workers = -(-snapshot.queue_depth // 10)
        inputs = {"uploads": snapshot.queue_depth, "workers": workers}
        current = snapshot.workers.desired
        return Decision.of(
            "backlog", current, workers, "{uploads:upload}, 10 a worker = {workers:worker}", inputs
        )


def wanted_under_constant_load(policy: ScalingPolicy, snapshot: Snapshot) -> list[int]:
    """Return what is wanted in 450 decisions with the same signals, workers coming as they are wanted."""
    current = snapshot.workers.desired
    wanted: list[int] = []
    for number in range(450):
        workers = Workers(desired=current, ready=current)
        seen = replace(snapshot, at=1000.0 + 2 * number, workers=workers, warming_up=False)
        current = policy.decide(seen).desired_workers
        wanted.append(current)
    return wanted
