"""A policy and its guards, in one flat and visible order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.policies.guards.bottleneck import BottleneckCheck
from upswell.policies.guards.bounds import Bounds
from upswell.policies.guards.fail_static import FailStatic, lost_after
from upswell.policies.guards.platform import within_platform
from upswell.policies.guards.stabilization import Stabilization
from upswell.policies.guards.step_limits import StepLimits
from upswell.policies.guards.tolerance import Tolerance

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import Guard, ScalingPolicy
    from upswell.settings import Settings

STABILIZATION_WINDOW, TOLERANCE = 60.0, 0.1
"""Around every policy that does not steady itself, unless the settings say otherwise."""


class Guarded:
    """A policy whose decisions pass through guards, the first one first."""

    def __init__(self, policy: ScalingPolicy, *guards: Guard) -> None:
        self.policy = policy
        self.guards = guards

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return what the guards leave of the policy's decision."""
        decision = self.policy.decide(snapshot)
        for guard in self.guards:
            decision = guard(snapshot, decision)
        return decision


def guards_for(settings: Settings, *, steadies_itself: bool) -> list[Guard]:
    """Return the guards that an application's settings ask for, in their order.

    `steadies_itself`: whether the policy itself weighs what a change costs; then neither tolerance nor
    stabilization is put around it unless asked for.
    """
    window, tolerance = (0.0, 0.0) if steadies_itself else (STABILIZATION_WINDOW, TOLERANCE)
    if settings.stabilization_window is not None:
        window = settings.stabilization_window
    if settings.tolerance is not None:
        tolerance = settings.tolerance
    # Never left out: it also keeps all workers until one full window was seen.
    guards: list[Guard] = [Stabilization(window)]
    if tolerance > 0:
        guards.append(Tolerance(tolerance, settings.min_workers))
    if settings.bottleneck_check:
        guards.append(BottleneckCheck())
    if settings.max_scale_out_factor > 0 or settings.max_scale_in_share < 1:
        guards.append(StepLimits(settings.max_scale_out_factor, settings.max_scale_in_share))
    guards.append(FailStatic(lost_after(settings.window, settings.decision_interval)))
    guards.append(Bounds(settings.min_workers, settings.max_workers))
    guards.append(within_platform)
    return guards
