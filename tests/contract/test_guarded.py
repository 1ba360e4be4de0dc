"""What all guards promise together, rules and step limits included, as the monitor stacks them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from support.backlog import Backlog, wanted_under_constant_load
from upswell.analysis.snapshot import Workers
from upswell.policies.registry import guarded
from upswell.settings import Settings
from upswell.testing.policies import with_room
from upswell.testing.snapshots import later, snapshots

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies import ScalingPolicy

MIN, MAX = 2, 40
RULES = Path(__file__).parents[2] / "examples/rules"
STACKS = {
    "default": Settings(min_workers=MIN, max_workers=MAX),
    "all": Settings(
        min_workers=MIN, max_workers=MAX, max_scale_out_factor=2.0, max_scale_in_share=0.25,
        rules_file=str(RULES / "flash-crowd.toml"),
    ),
}  # fmt: skip
few = settings(max_examples=50, deadline=None)
histories = st.lists(snapshots(), max_size=5)


def stack(name: str) -> ScalingPolicy:
    return guarded(Backlog(), STACKS[name])


@pytest.mark.parametrize("name", STACKS)
@few
@given(seen=st.lists(with_room, min_size=1, max_size=6))
def test_the_bounds_are_kept_whatever_is_seen(name: str, seen: list[Snapshot]) -> None:
    policy = stack(name)
    for snapshot in later(seen):
        decision = policy.decide(snapshot)
        assert MIN <= decision.desired_workers <= MAX


@pytest.mark.parametrize("name", STACKS)
@few
@given(seen=histories, last=with_room, more=st.integers(1, 10_000))
def test_more_backlog_never_means_fewer_workers_after_any_history(
    name: str, seen: list[Snapshot], last: Snapshot, more: int
) -> None:
    if last.messages_ready is None:
        return
    wanted: list[int] = []
    for end in (last, replace(last, messages_ready=last.messages_ready + more)):
        policy = stack(name)
        *_, decision = [policy.decide(snapshot) for snapshot in later([*seen, end])]
        wanted.append(decision.desired_workers)
    assert wanted[0] <= wanted[1]


@pytest.mark.parametrize("name", STACKS)
@few
@given(seen=histories, last=snapshots())
def test_missing_data_holds_after_any_history(name: str, seen: list[Snapshot], last: Snapshot) -> None:
    policy = stack(name)
    current = min(MAX, max(MIN, last.workers.desired))
    blind = replace(last, messages_ready=None, workers=Workers(desired=current))
    *_, decision = [policy.decide(snapshot) for snapshot in later([*seen, blind])]
    assert decision.desired_workers == current


@pytest.mark.parametrize("name", STACKS)
@few
@given(snapshot=snapshots())
def test_constant_load_settles_and_stays_settled(name: str, snapshot: Snapshot) -> None:
    wanted = wanted_under_constant_load(stack(name), snapshot)
    assert len(set(wanted[-60:])) == 1


@pytest.mark.parametrize("name", STACKS)
@few
@given(seen=st.lists(snapshots(), min_size=1, max_size=8))
def test_the_same_snapshots_give_the_same_decisions(name: str, seen: list[Snapshot]) -> None:
    one, other = stack(name), stack(name)
    assert [one.decide(s) for s in later(seen)] == [other.decide(s) for s in later(seen)]
