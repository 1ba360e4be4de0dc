"""Always the same number of workers: what to compare an autoscaler with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.settings import Settings

ALWAYS = "always {workers:worker}"


class ConstantPolicy:
    """Wants `workers`, whatever is seen; it needs no signal, so none can be missing."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the constant."""
        return Decision.of(
            "constant", snapshot.workers.desired, self._workers, ALWAYS, {"workers": self._workers}
        )


def from_settings(settings: Settings, workers: float | None = None) -> ConstantPolicy:
    """Return the policy of an application: `min_workers`, unless another number is given."""
    return ConstantPolicy(settings.min_workers if workers is None else int(workers))
