"""What the platform takes: no more workers are decided for than it gives, as the scaler tells.

A quota or an admission rule is a ceiling that no setting knows. The number that is decided keeps to it, so
that everyone sees what can be had; the scaler goes on asking for one more, and the ceiling goes when it gets
it. It never takes a worker away: where more are heard of than the ceiling says, these stay, and a hold stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.analysis.sentence import escaped

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot

WHO = "platform"
REFUSED = "limited to {ceiling}: the platform refuses more"
PENDING = "{pending:worker} of these wait for the platform"


def within_platform(snapshot: Snapshot, decision: Decision) -> Decision:
    """Return the decision, with no more workers than the platform takes; say why those asked for wait."""
    limit = snapshot.platform
    if limit is None or decision.held:
        return decision
    reason = f" ({escaped(limit.reason)})"
    there = snapshot.workers.starting + snapshot.workers.ready
    if limit.ceiling is not None and decision.desired_workers > max(limit.ceiling, there):
        ceiling = max(limit.ceiling, there)
        return decision.limited(WHO, ceiling, REFUSED + reason, {"ceiling": ceiling}).alarmed("fleet_full")
    if limit.pending:
        return decision.then(WHO, decision.desired_workers, PENDING + reason, {"pending": limit.pending})
    return decision
