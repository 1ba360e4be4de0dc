"""How far one decision may go: at most so many times the workers, at most such a share of them fewer.

Without memory: each decision is measured against the number that stands. One more or one fewer is always
allowed, so that nothing is ever stuck. The defaults limit nothing: a policy that knows what is needed should
get it at once, and a limit is for those whose machines or budget must not be surprised.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import ScalingPolicy


class StepLimits:
    """Limit one decision's step.

    Args:
        policy: what stands inside.
        out_factor: multiplies the present number at most; 0: no limit.
        in_share: share of the present number that goes at most; 1: no limit.
    """

    def __init__(self, policy: ScalingPolicy, *, out_factor: float, in_share: float) -> None:
        self._policy = policy
        self._out_factor = out_factor
        self._in_share = in_share

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the inner decision, or a step towards it."""
        decision = self._policy.decide(snapshot)
        current = snapshot.workers.desired
        most = max(current + 1, math.floor(current * self._out_factor)) if self._out_factor else math.inf
        if decision.desired_workers > most:
            return decision.changed(
                int(most),
                f"one decision goes from {current} to {most} at most (max_scale_out_factor is "
                f"{self._out_factor:g})",
            )
        least = min(current - 1, math.ceil(current * (1 - self._in_share)))
        if decision.desired_workers < least:
            return decision.changed(
                least,
                f"one decision goes from {current} to {least} at least (max_scale_in_share is "
                f"{self._in_share:g})",
            )
        return decision
