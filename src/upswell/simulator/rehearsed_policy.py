"""The `slo` policy and its rehearsal in one, for simulations: what the monitor runs, without its threads.

In: snapshots. Out: decisions, by the setting that did best so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.staffing import FAMILY, FIRST
from upswell.simulator.application_rehearsal import ApplicationRehearsal, has_uploads
from upswell.simulator.rehearsal import CAUTION

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.slo.staffing import StaffingSetting
    from upswell.simulator.rehearsal import Caution


class RehearsedPolicy:
    """One application's; `settings` are the family that is rehearsed.

    `interval` is the seconds between two decisions, `start_cost` the seconds of a worker that a start costs
    beyond the time it takes, `first` the index of the setting that is followed until the first choice.
    """

    def __init__(
        self,
        interval: float = 2.0,
        *,
        min_workers: int = 0,
        max_workers: int = 500,
        start_cost: float = 0.0,
        caution: Caution = CAUTION,
        settings: tuple[StaffingSetting, ...] = FAMILY,
        first: int = FIRST,
    ) -> None:
        self._interval, self._caution = interval, caution
        self._min_workers, self._max_workers = min_workers, max_workers
        self.policy = SloPolicy(interval, settings, first, start_cost=start_cost)
        self.stage: ApplicationRehearsal | None = None
        """None before the first upload."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the policy's decision; rehearse, and follow the best setting from the next one on."""
        policy = self.policy
        decision = policy.decide(snapshot)
        if policy.signals is None or not (self.stage or has_uploads(snapshot)):
            return decision
        if self.stage is None:
            self.stage = ApplicationRehearsal(
                snapshot.app_id,
                policy.settings,
                policy.following,
                slo=snapshot.slo,
                interval=self._interval,
                min_workers=self._min_workers,
                max_workers=self._max_workers,
                caution=self._caution,
            )
        self.stage.note(snapshot, policy.signals)
        choice = self.stage.step()
        if choice is not None:
            policy.follow(choice.index, choice.why, rehearsed=choice.rehearsed)
        return decision
