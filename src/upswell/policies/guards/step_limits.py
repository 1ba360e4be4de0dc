"""How far one decision may go: how many times the workers at most, and what share of them may go.

Without memory: each decision is measured against the present number. One more or one fewer is always
allowed, so nothing is ever stuck. The defaults limit nothing: a policy that knows what is needed should
get it at once, and a limit is for those whose machines or budget must not be surprised.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot

WHO = "step_limits"
OUT = "one decision goes from {current} to {limit} at most (max_scale_out_factor {factor})"
IN = "one decision goes from {current} to {limit} at least (max_scale_in_share {share})"


class StepLimits:
    """At most the present number times `out_factor` (0: no limit); at most `in_share` of it goes."""

    def __init__(self, out_factor: float, in_share: float) -> None:
        self._out_factor = out_factor
        self._in_share = in_share

    def __call__(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return the decision, or a step towards it."""
        current = snapshot.workers.desired
        most = max(current + 1, math.floor(current * self._out_factor)) if self._out_factor else math.inf
        if decision.desired_workers > most:
            inputs = {"current": current, "limit": most, "factor": self._out_factor}
            return decision.then(WHO, int(most), OUT, inputs)
        least = min(current - 1, math.ceil(current * (1 - self._in_share)))
        if decision.desired_workers < least:
            return decision.then(
                WHO, least, IN, {"current": current, "limit": least, "share": self._in_share}
            )
        return decision
