"""The bottleneck check where nothing gets through; tests/simulation has its search for a shared limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import ObservedTotals
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bottleneck import BottleneckCheck
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot


class Wish:
    """Always wants 20 workers."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Want them."""
        return Decision.of("wish", snapshot.workers.desired, 20, "20 are wanted")


def failing(at: float, *, stored: int, failed: int, ready: int = 2) -> Snapshot:
    return replace(ordinary(current=ready), at=at, totals=ObservedTotals(stored=stored, failed=failed))


def wanted(*seen: Snapshot) -> tuple[int, tuple[str, ...]]:
    check = Guarded(Wish(), BottleneckCheck())
    *_, decision = [check.decide(snapshot) for snapshot in seen]
    return decision.desired_workers, decision.alarms


def test_while_every_attempt_fails_no_worker_is_added_and_it_is_said() -> None:
    check = Guarded(Wish(), BottleneckCheck())
    check.decide(failing(0, stored=100, failed=5))
    decision = check.decide(failing(2, stored=100, failed=13))  # 2 workers of 4 slots
    assert decision.desired_workers == 2
    assert decision.alarms == ("bottleneck",)
    assert decision.wanted == 20
    assert decision.reason == (
        "hold 2: 20 are wanted; "
        "nothing gets through: 8 attempts failed and none succeeded since, so no worker is added"
    )
    more_ready = check.decide(failing(4, stored=100, failed=14, ready=9))
    assert more_ready.desired_workers == 9
    assert check.decide(failing(6, stored=101, failed=20)).desired_workers == 20  # it is back


@pytest.mark.parametrize(
    "seen",
    [
        [failing(0, stored=100, failed=5), failing(2, stored=100, failed=12)],  # fewer than there are slots
        [failing(0, stored=100, failed=5), failing(2, stored=110, failed=50)],  # not all of them
        [failing(0, stored=9, failed=0, ready=0), failing(2, stored=9, failed=2, ready=0)],  # one bad upload
        [failing(0, stored=9, failed=5), failing(2, stored=9, failed=15), failing(63, stored=9, failed=15)],
        [replace(failing(0, stored=9, failed=5), totals=None)] * 3,
    ],
    ids=["few", "some", "one", "long ago", "not told"],
)
def test_attempts_that_fail_now_and_then_keep_nobody_away(seen: list[Snapshot]) -> None:
    assert wanted(*seen) == (20, ())


def test_fewer_workers_are_let_go_while_every_attempt_fails() -> None:
    seen = [failing(0, stored=9, failed=0, ready=30), failing(2, stored=9, failed=200, ready=30)]
    assert wanted(*seen) == (20, ("bottleneck",))
