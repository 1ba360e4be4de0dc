"""What an operator set by hand, over whatever the policy and its guards say; `max_workers` still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.analysis.decision import BY_HAND
from upswell.analysis.sentence import escaped
from upswell.policies.guards.bounds import LIMITED
from upswell.policies.guards.bounds import WHO as BOUNDS

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.messages import ByHand

PAUSED = "paused by hand"
SET = "set by hand to {workers:worker}"
UNTIL = " until {until:at}"


def set_by_hand(decision: Decision, order: ByHand, max_workers: int) -> Decision:
    """Return a decision as an operator ordered it: below `min_workers` too, and 0 although uploads wait."""
    why = SET if order.workers else PAUSED
    inputs: dict[str, float] = {"workers": order.workers}
    if order.until is not None:
        why += UNTIL
        inputs["until"] = order.until
    why += f" by {escaped(order.by)}"
    decision = decision.then(BY_HAND, order.workers, why, inputs)
    if order.workers > max_workers:
        return decision.then(BOUNDS, max_workers, LIMITED, {"max_workers": max_workers})
    return decision
