"""What every wrapper promises, whatever policy stands inside and whatever is seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.backlog import Backlog, wanted_under_constant_load
from support.snapshots import later, snapshots
from upswell.analysis.snapshot import Workers
from upswell.policies.guards.bottleneck import BottleneckCheck
from upswell.policies.guards.fail_static import FailStatic
from upswell.policies.guards.step_limits import StepLimits
from upswell.policies.guards.wrappers import Bounds, Stabilization, Tolerance

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies import ScalingPolicy

WRAPPERS: dict[str, Callable[[ScalingPolicy], ScalingPolicy]] = {
    "stabilization": lambda policy: Stabilization(policy, 60.0),
    "tolerance": lambda policy: Tolerance(policy, 0.1, 1),
    "bottleneck": BottleneckCheck,
    "step limits": lambda policy: StepLimits(policy, out_factor=2.0, in_share=0.25),
    "fail static": lambda policy: FailStatic(policy, 15.0),
    "bounds": lambda policy: Bounds(policy, 1, 50),
}


histories = st.lists(snapshots(), max_size=5)


@pytest.mark.parametrize("name", WRAPPERS)
@given(seen=histories, last=snapshots(), more=st.integers(1, 10_000))
def test_more_backlog_never_means_fewer_workers_after_any_history(
    name: str, seen: list[Snapshot], last: Snapshot, more: int
) -> None:
    if last.messages_ready is None:
        return
    busier = replace(last, messages_ready=last.messages_ready + more)
    wanted: list[int] = []
    for end in (last, busier):
        wrapper = WRAPPERS[name](Backlog())
        *_, decision = [wrapper.decide(snapshot) for snapshot in later([*seen, end])]
        wanted.append(decision.desired_workers)
    assert wanted[0] <= wanted[1]


@pytest.mark.parametrize("name", WRAPPERS)
@given(seen=histories, last=snapshots())
def test_missing_data_holds_after_any_history(name: str, seen: list[Snapshot], last: Snapshot) -> None:
    wrapper = WRAPPERS[name](Backlog())
    current = min(50, max(1, last.workers.desired))
    workers = Workers(desired=current)
    blind = replace(last, messages_ready=None, workers=workers)
    *_, decision = [wrapper.decide(snapshot) for snapshot in later([*seen, blind])]
    assert decision.held
    assert decision.desired_workers == current


@pytest.mark.parametrize("name", WRAPPERS)
@given(seen=st.lists(snapshots(), min_size=1, max_size=6))
def test_every_change_of_a_wrapper_is_said_with_its_numbers(name: str, seen: list[Snapshot]) -> None:
    wrapper = WRAPPERS[name](Backlog())
    for snapshot in later(seen):
        inner = Backlog().decide(snapshot)
        outer = wrapper.decide(snapshot)
        assert re.search(r"\d", outer.reason)
        assert len(outer.reason.split()) >= 3
        if outer.desired_workers != inner.desired_workers and not outer.held:
            assert outer.reason != inner.reason
            assert outer.wished == inner.desired_workers
            assert outer.rejected[-1].startswith(f"{inner.desired_workers} workers: ")


@pytest.mark.parametrize("name", WRAPPERS)
@given(seen=st.lists(snapshots(), min_size=1, max_size=8))
def test_the_same_snapshots_give_the_same_decisions(name: str, seen: list[Snapshot]) -> None:
    one, other = WRAPPERS[name](Backlog()), WRAPPERS[name](Backlog())
    assert [one.decide(s) for s in later(seen)] == [other.decide(s) for s in later(seen)]


@pytest.mark.parametrize("name", WRAPPERS)
@given(snapshot=snapshots())
def test_constant_load_settles_and_stays_settled(name: str, snapshot: Snapshot) -> None:
    """The same signals for a quarter of an hour: in the end nothing changes."""
    wanted = wanted_under_constant_load(WRAPPERS[name](Backlog()), snapshot)
    assert len(set(wanted[-60:])) == 1
