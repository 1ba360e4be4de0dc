"""What stands around any policy and keeps the memory that a policy must not have.

    Bounds(FailStatic(StepLimits(BottleneckCheck(Tolerance(Stabilization(policy))))))

From the inside out: a policy wishes; stabilisation lets workers go only when nothing in its window wished
for more; tolerance drops changes too small to mean anything; the bottleneck check, step limits and
fail-static have files of their own; bounds have the last word on one application, and `global_limit` on all
of them. Each adds to the decision what it changed and why.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import ScalingPolicy


class Stabilization:
    """Scale in only to the most that was wished for within `seconds`, and not before a full window was seen.

    The number found at the first decision counts as a wish, and so does a hold: after an outage the workers
    are not gone at once.
    """

    def __init__(self, policy: ScalingPolicy, seconds: float) -> None:
        self._policy = policy
        self._seconds = seconds
        # Falling wishes only (a later larger one makes an earlier smaller one irrelevant): the first is the
        # window's maximum.
        self._wishes: deque[tuple[float, int]] = deque()
        self._begun = False

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the inner decision, raised to the window's largest wish where it would scale in."""
        decision = self._policy.decide(snapshot)
        current = snapshot.workers.desired
        if not self._begun:
            self._begun = True
            self._remember(snapshot.at, current)
        self._remember(snapshot.at, decision.desired_workers)
        if decision.held or decision.desired_workers >= current:
            return decision
        if snapshot.warming_up:
            return decision.changed(
                current, f"stays at {current} until one full window of {snapshot.window:g} s was watched"
            )
        largest = min(current, self._wishes[0][1])
        if largest <= decision.desired_workers:
            return decision
        return decision.changed(
            largest, f"{largest} were wanted within the last {self._seconds:g} s, so {largest} stay"
        )

    def _remember(self, at: float, wish: int) -> None:
        wishes = self._wishes
        while wishes and wishes[-1][1] <= wish:
            wishes.pop()
        wishes.append((at, wish))
        while wishes[0][0] < at - self._seconds:
            wishes.popleft()


class Tolerance:
    """Leave alone what would change by less than the `tolerance`, relative to the present number.

    Never in the way of more workers while the objective is being missed, nor of leaving the smallest number.
    """

    def __init__(self, policy: ScalingPolicy, tolerance: float, min_workers: int) -> None:
        self._policy = policy
        self._tolerance = tolerance
        self._min_workers = min_workers

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the inner decision, or one to stay."""
        decision = self._policy.decide(snapshot)
        current = snapshot.workers.desired
        change = decision.desired_workers - current
        if change == 0 or abs(change) >= self._tolerance * current:
            return decision
        if change > 0 and (current <= self._min_workers or _is_missed(snapshot)):
            return decision
        return decision.changed(
            current, f"{change:+d} of {current} is less than {self._tolerance:.0%}, so {current} stay"
        )


class Bounds:
    """Keep to `min_workers` and `max_workers`, a hold included; where anything waits, one worker at least.

    Without that one, a policy that learns from reports would wait for ever for the first.
    """

    def __init__(self, policy: ScalingPolicy, min_workers: int, max_workers: int) -> None:
        self._policy = policy
        self._min_workers = min_workers
        self._max_workers = max_workers

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the inner decision, moved inside the bounds."""
        decision = self._policy.decide(snapshot)
        if decision.desired_workers < self._min_workers:
            return decision.changed(self._min_workers, f"min_workers is {self._min_workers}")
        if decision.desired_workers > self._max_workers:
            return decision.changed(self._max_workers, f"max_workers is {self._max_workers}")
        if decision.desired_workers == 0 and snapshot.messages_ready and self._max_workers:
            return decision.changed(1, f"{snapshot.messages_ready} wait, so there must be 1")
        return decision


def _is_missed(snapshot: Snapshot) -> bool:
    if snapshot.attainment is not None and snapshot.attainment < snapshot.slo.share:
        return True
    return snapshot.oldest_age is not None and snapshot.oldest_age > snapshot.slo.seconds
