"""The `slo` policy's family: what every policy promises, under each of its settings."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.analysis.sentence import told
from upswell.analysis.snapshot import Snapshot, Workers
from upswell.policies.registry import guarded
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.staffing import FAMILY, FIRST, StaffingSetting
from upswell.settings import Settings
from upswell.testing.snapshots import later, ordinary, snapshots

MIN, MAX = 1, 50
LAVISH = FAMILY.index(StaffingSetting(0.05, foresight=False, beta=0.5, keep=3.0))
THRIFTY = FAMILY.index(StaffingSetting(0.75, foresight=True, beta=None, keep=0.5))
members = st.integers(0, len(FAMILY) - 1)


def following(index: int) -> SloPolicy:
    policy = SloPolicy()
    policy.follow(index, "in the last 5000 uploads this setting would have kept 99 %")
    return policy


def wrapped_following(index: int) -> object:
    return guarded(following(index), Settings(min_workers=MIN, max_workers=MAX))


@given(index=members, seen=st.lists(snapshots(), min_size=1, max_size=5))
def test_every_setting_stays_within_the_bounds_and_explains_itself(index: int, seen: list[Snapshot]) -> None:
    policy = wrapped_following(index)
    for snapshot in later(seen):
        decision = policy.decide(snapshot)  # type: ignore[attr-defined]
        assert MIN <= decision.desired_workers <= MAX
        assert re.search(r"\d", decision.reason)
        assert "nan" not in decision.reason


@given(index=members, snapshot=snapshots(), more=st.integers(1, 10_000))
def test_more_backlog_never_means_fewer_workers_under_any_setting(
    index: int, snapshot: Snapshot, more: int
) -> None:
    if snapshot.messages_ready is None:
        return
    busier = replace(snapshot, messages_ready=snapshot.messages_ready + more)
    few = following(index).decide(snapshot).desired_workers
    assert following(index).decide(busier).desired_workers >= few


@given(index=members, snapshot=snapshots())
def test_missing_depths_hold_and_never_let_workers_go(index: int, snapshot: Snapshot) -> None:
    current = snapshot.workers.desired
    policy = following(index)
    decision = policy.decide(replace(snapshot, messages_ready=None))
    assert decision.held
    assert decision.desired_workers == current
    assert policy.signals is None
    blind = following(index).decide(replace(snapshot, messages_unacknowledged=None))
    assert blind.desired_workers >= current


@settings(deadline=None, max_examples=30)
@given(index=members, snapshot=snapshots(), start_delay=st.floats(0, 20))
def test_constant_load_settles_under_any_setting(index: int, snapshot: Snapshot, start_delay: float) -> None:
    """Once what it remembers is over: the load of 4 start-ups, and what was wanted in up to 30."""
    policy = wrapped_following(index)
    snapshot = replace(snapshot, start_delay=start_delay)
    wanted: list[int] = []
    current = snapshot.workers.desired
    for number in range(450):
        workers = Workers(desired=current, ready=current)
        came = None if snapshot.arrivals is None else snapshot.arrivals + 3 * number
        seen = replace(snapshot, at=1000.0 + 2 * number, workers=workers, arrivals=came, warming_up=False)
        current = policy.decide(seen).desired_workers  # type: ignore[attr-defined]
        wanted.append(current)
    assert len(set(wanted[-60:])) == 1


@given(index=members, seen=st.lists(snapshots(), min_size=1, max_size=8))
def test_the_same_snapshots_give_the_same_decisions_under_any_setting(
    index: int, seen: list[Snapshot]
) -> None:
    one, other = following(index), following(index)
    assert [one.decide(s) for s in later(seen)] == [other.decide(s) for s in later(seen)]


def test_the_first_setting_is_followed_until_another_is_told() -> None:
    snapshot = ordinary(messages_ready=100)
    policy = SloPolicy()
    alone = policy.decide(snapshot)
    assert alone.rejected == ()
    assert alone == replace(following(FIRST).decide(snapshot), rejected=alone.rejected)
    policy.follow(LAVISH, "in the last 60 uploads this setting would have kept 99 %")
    followed = policy.decide(snapshot)
    assert [told(option) for option in followed.rejected] == [
        "in the last 60 uploads this setting would have kept 99 %"
    ]
    assert followed.desired_workers > alone.desired_workers


def test_after_a_change_workers_stay_as_if_the_new_setting_had_been_followed_before() -> None:
    busy, calm = ordinary(messages_ready=100), ordinary(current=50, messages_ready=0, start_delay=10.0)
    policy = following(LAVISH)
    lavish = policy.decide(replace(busy, start_delay=10.0)).desired_workers
    policy.follow(THRIFTY, "it costs less")
    wanted = [
        policy.decide(replace(calm, at=1002.0 + 2 * n, workers=Workers(desired=lavish))) for n in range(20)
    ]
    alone = following(THRIFTY)
    expected = alone.decide(replace(busy, start_delay=10.0)).desired_workers
    assert wanted[0].desired_workers == max(expected, alone.decide(replace(calm, at=1002.0)).desired_workers)
    assert wanted[-1].desired_workers < wanted[0].desired_workers < lavish


def kept_through_a_pause(policy: SloPolicy, start_delay: float) -> int:
    """Return the workers wanted 20 start-ups after the only upload."""
    idle = Workers(desired=1, ready=1)
    calm = ordinary(
        workers=idle, messages_unacknowledged=0, recent_response_times=(), start_delay=start_delay
    )
    seen = [replace(calm, messages_ready=1)] + [calm] * round(20 * start_delay / 2)
    return [policy.decide(snapshot).desired_workers for snapshot in later(seen)][-1]


def test_the_last_worker_stays_where_a_cold_start_is_late_and_nothing_was_rehearsed() -> None:
    objective = ordinary().slo.seconds
    assert kept_through_a_pause(SloPolicy(), objective) == 1
    assert kept_through_a_pause(SloPolicy(), 0.1 * objective) == 0
    assert kept_through_a_pause(following(FIRST), objective) == 0


def test_a_backlog_that_a_monitor_finds_at_its_start_is_no_burst_of_arrivals() -> None:
    found = ordinary(messages_ready=1000, start_delay=10.0, recent_response_times=())
    for came in (0, 1000):
        policy = following(FIRST)
        policy.decide(replace(found, arrivals=came))
        assert policy.signals is not None
        assert (policy.signals.load == 0.0) is (came == 0)


def test_uploads_come_while_the_depth_is_unknown_and_are_no_burst_after() -> None:
    """Thirty seconds of silence, and 2 uploads a second all along."""
    policy = following(FIRST)
    loads: list[float] = []
    for at in (*range(1000, 1020, 2), *range(1050, 1060, 2)):
        policy.decide(ordinary(at=float(at), arrivals=2 * (at - 998)))
        assert policy.signals is not None
        loads.append(policy.signals.load)
    assert loads[9:] == pytest.approx([2 * 2.0] * 6)


def test_workers_not_heard_of_keep_others_from_going_and_call_for_none() -> None:
    """What they hold at most forbids a scale-in; it is no work that is known."""
    idle = ordinary(current=9, workers=Workers(desired=9, ready=2), messages_unacknowledged=4)
    alone = following(FIRST).decide(idle).desired_workers
    unheard = following(FIRST).decide(replace(idle, unheard_in_flight=100)).desired_workers
    assert alone < unheard <= 9


@pytest.mark.parametrize("endless", [math.inf, math.nan, 1e300])
def test_numbers_beyond_any_fleet_hold(endless: float) -> None:
    decision = following(FIRST).decide(
        ordinary(current=3, arrivals=9, recent_response_times=(1.0,), recent_service_times=(endless,))
    )
    assert decision.held
    assert decision.desired_workers == 3


def test_slots_are_counted_before_workers() -> None:
    """Twelve uploads of which each needs a slot of its own for long: three workers of four slots."""
    one, four = (
        following(FIRST).decide(
            ordinary(
                current=1,
                slots_per_worker=slots,
                messages_ready=12,
                messages_unacknowledged=0,
                recent_response_times=(60.0,) * 50,
                recent_service_times=(60.0,) * 50,
                workers=Workers(desired=1, ready=1),
            )
        )
        for slots in (1, 4)
    )
    assert one.inputs["slots"] >= 12
    assert four.inputs["slots"] == one.inputs["slots"]
    assert four.desired_workers == -(-one.desired_workers // 4)


def test_a_new_worker_counts_with_the_slots_that_it_will_have() -> None:
    """Beside one old worker of one slot: 17 slots are two new workers of eight more, not sixteen of one."""
    decision = following(FIRST).decide(
        ordinary(
            slots_per_worker=1,
            slots=1,
            slots_of_new=8.0,
            messages_ready=17,
            messages_unacknowledged=0,
            recent_response_times=(60.0,) * 50,
            recent_service_times=(60.0,) * 50,
            workers=Workers(desired=1, ready=1),
        )
    )
    assert decision.desired_workers == 3
    assert "takes 17 slots = 3 workers: 1 slot on 1 worker, 8 slots on each more" in decision.reason


def test_workers_of_several_slots_leave_where_fewer_hold_all_that_runs() -> None:
    """A broker spreads uploads over all workers: eight have one each that two of four slots could hold."""
    policy = following(THRIFTY)
    spread = ordinary(
        messages_ready=0,
        messages_unacknowledged=8,
        slots_per_worker=4,
        slots=32,
        workers=Workers(desired=8, ready=8, busy=8),
    )
    for number in range(200):
        decision = policy.decide(replace(spread, at=1000.0 + 2 * number))
    assert decision.desired_workers == 2
    assert "8 uploads running fill 2 workers" in decision.reason
    single = replace(spread, slots_per_worker=1, slots=8)
    policy = following(THRIFTY)
    for number in range(200):
        decision = policy.decide(replace(single, at=1000.0 + 2 * number))
    assert decision.desired_workers == 8
    assert "8 workers are busy" in decision.reason
