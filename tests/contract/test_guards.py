"""What every guard promises, whatever policy it restrains and whatever is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.backlog import Backlog, wanted_under_constant_load
from upswell.analysis.snapshot import Workers
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bottleneck import BottleneckCheck
from upswell.policies.guards.bounds import Bounds
from upswell.policies.guards.fail_static import FailStatic
from upswell.policies.guards.platform import within_platform
from upswell.policies.guards.stabilization import Stabilization
from upswell.policies.guards.step_limits import StepLimits
from upswell.policies.guards.tolerance import Tolerance
from upswell.testing.snapshots import later, snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import Guard

GUARDS: dict[str, Callable[[], Guard]] = {
    "stabilization": lambda: Stabilization(60.0),
    "tolerance": lambda: Tolerance(0.1, 1),
    "bottleneck": BottleneckCheck,
    "step limits": lambda: StepLimits(2.0, 0.25),
    "fail static": lambda: FailStatic(15.0),
    "bounds": lambda: Bounds(1, 50),
    "platform": lambda: within_platform,
}


def guarded(name: str) -> Guarded:
    return Guarded(Backlog(), GUARDS[name]())


histories = st.lists(snapshots(), max_size=5)


@pytest.mark.parametrize("name", GUARDS)
@given(seen=histories, last=snapshots(), more=st.integers(1, 10_000))
def test_more_backlog_never_means_fewer_workers_after_any_history(
    name: str, seen: list[Snapshot], last: Snapshot, more: int
) -> None:
    if last.messages_ready is None:
        return
    busier = replace(last, messages_ready=last.messages_ready + more)
    wanted: list[int] = []
    for end in (last, busier):
        policy = guarded(name)
        *_, decision = [policy.decide(snapshot) for snapshot in later([*seen, end])]
        wanted.append(decision.desired_workers)
    assert wanted[0] <= wanted[1]


@pytest.mark.parametrize("name", GUARDS)
@given(seen=histories, last=snapshots())
def test_missing_data_holds_after_any_history(name: str, seen: list[Snapshot], last: Snapshot) -> None:
    policy = guarded(name)
    current = min(50, max(1, last.workers.desired))
    workers = Workers(desired=current)
    blind = replace(last, messages_ready=None, workers=workers)
    *_, decision = [policy.decide(snapshot) for snapshot in later([*seen, blind])]
    assert decision.held
    assert decision.desired_workers == current


@pytest.mark.parametrize("name", GUARDS)
@given(seen=st.lists(snapshots(), min_size=1, max_size=6))
def test_a_guard_that_changes_the_number_adds_a_step_and_leaves_the_others_as_they_are(
    name: str, seen: list[Snapshot]
) -> None:
    guard = GUARDS[name]()
    for snapshot in later(seen):
        before = Backlog().decide(snapshot)
        after = guard(snapshot, before)
        if after.desired_workers != before.desired_workers and after.held == before.held:
            assert after.steps[:-1] == before.steps
            assert after.wanted == before.desired_workers


@pytest.mark.parametrize("name", GUARDS)
@given(seen=st.lists(snapshots(), min_size=1, max_size=8))
def test_the_same_snapshots_give_the_same_decisions(name: str, seen: list[Snapshot]) -> None:
    one, other = guarded(name), guarded(name)
    assert [one.decide(s) for s in later(seen)] == [other.decide(s) for s in later(seen)]


@pytest.mark.parametrize("name", GUARDS)
@given(snapshot=snapshots())
def test_constant_load_settles_and_stays_settled(name: str, snapshot: Snapshot) -> None:
    """The same signals for a quarter of an hour: in the end nothing changes."""
    wanted = wanted_under_constant_load(guarded(name), snapshot)
    assert len(set(wanted[-60:])) == 1
