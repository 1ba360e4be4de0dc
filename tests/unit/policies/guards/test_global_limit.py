"""One limit over all applications: minimums, priorities, gains, and the sentence for whoever gets less."""

from __future__ import annotations

import random
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.analysis.decision import Decision
from upswell.policies.guards.global_limit import Bid, below_minimums, limited, share_out
from upswell.testing.snapshots import ordinary


def bid(app: str, wants: int, **fields: Any) -> Bid:
    current = fields.pop("current", 0)
    least, priority = fields.pop("least", 0), fields.pop("priority", 0)
    held, wished = fields.pop("held", False), fields.pop("wished", None)
    decision = Decision.of("test", 0, wants if wished is None else wished, "needed")
    if wished is not None:
        decision = decision.then("keeper", wants, "kept")
    decision = replace(decision, held=held)
    return Bid(ordinary(app_id=app, current=current, **fields), decision, least, priority)


def shares(total: int, *bids: Bid) -> list[int]:
    return [decision.desired_workers for decision in limited(bids, total)]


def test_where_there_is_enough_nobody_is_touched() -> None:
    bids = [bid("a", 3), bid("b", 4)]
    assert limited(bids, 7) == [one.decision for one in bids]
    assert limited(bids, 0) == [one.decision for one in bids]


def test_the_late_share_becomes_the_same_for_all_whatever_their_size() -> None:
    assert shares(50, bid("a", 80), bid("b", 20)) == [40, 10]


def test_minimums_come_first() -> None:
    assert shares(10, bid("a", 90), bid("b", 4, least=4)) == [6, 4]


def test_a_higher_priority_gets_what_it_wants_before_a_lower_gets_more_than_its_minimum() -> None:
    assert shares(10, bid("a", 9), bid("b", 8, priority=1), bid("c", 3, least=1)) == [1, 8, 1]


def test_standby_workers_come_out_of_the_total_and_that_is_said() -> None:
    bids = [replace(bid("a", 80), standby=6), replace(bid("b", 20), standby=4)]
    cut = limited(bids, 60)
    assert [one.desired_workers for one in cut] == [40, 10]
    assert (
        "all applications need 100 workers, max_workers_total is 60, 10 of them on standby; 40 here"
        in cut[0].reason
    )
    assert limited(bids, 110) == [one.decision for one in bids]
    assert below_minimums([replace(bid("a", 9, least=5), standby=6)], 10) == 1


def test_a_minimum_is_no_reason_for_workers_that_nobody_wants() -> None:
    assert shares(4, bid("a", 9), bid("b", 1, least=3)) == [3, 1]


def test_of_equal_needs_the_one_that_waits_longer_is_served() -> None:
    """So none starves: what gets nothing waits longer and longer."""
    assert shares(1, bid("a", 1, oldest_age=1.0), bid("b", 1, oldest_age=9.0)) == [0, 1]


def test_a_worker_does_not_change_hands_for_little() -> None:
    assert shares(1, bid("a", 1), bid("b", 1, current=1)) == [0, 1]
    assert shares(1, bid("a", 1, oldest_age=20.0), bid("b", 1, current=1)) == [1, 0]


def test_workers_kept_from_a_peak_count_less_than_needed_ones() -> None:
    """Stabilisation keeps 10 where 2 are needed; where others lack workers those 8 go first."""
    assert shares(10, bid("a", 10, wished=2, current=10), bid("b", 8)) == [2, 8]


def test_what_is_not_known_is_not_taken_from() -> None:
    assert shares(10, bid("a", 6, current=6, held=True), bid("b", 30)) == [6, 4]
    assert shares(10, bid("a", 6, current=6, warming_up=True), bid("b", 30)) == [6, 4]
    short = limited([bid("a", 12, current=12, held=True), bid("b", 30)], 10)
    assert sum(decision.desired_workers for decision in short) == 10
    assert "it had to be taken from applications whose need is unknown, too" in short[0].reason


def test_less_than_all_minimums_is_shared_out_by_gain_and_said() -> None:
    bids = [bid("a", 3, least=3), bid("b", 9, least=3), bid("c", 1, least=1, wished=0)]
    decisions = limited(bids, 4)
    assert [decision.desired_workers for decision in decisions] == [1, 3, 0]
    assert below_minimums(bids, 4) == 3
    assert below_minimums(bids, 7) == 0
    assert below_minimums(bids, 0) == 0
    for decision in decisions:
        assert "that is less than all min_workers together" in decision.reason


def test_who_gets_less_is_told_why() -> None:
    by_gain, by_priority = limited([bid("a", 10), bid("b", 5, priority=-1)], 8)
    assert by_gain.reason == (
        "scale out 0 → 8: needed; all applications need 15 workers, max_workers_total is 8; "
        "8 here: one more would gain 0.15, the last worker given out gained 0.25"
    )
    assert by_priority.reason.endswith("0 here: its priority is -1, the last worker went to priority 0")
    assert by_priority.wanted == 5
    (nothing_left, _) = limited([bid("a", 3), bid("b", 5, least=5)], 5)
    assert nothing_left.reason.endswith("nothing is left beyond what is guaranteed")


bids = st.lists(
    st.builds(
        lambda wants, least, priority, age, current, held, wished: (
            wants, least, priority, age, current, held, wished,
        ),
        st.integers(0, 30), st.integers(0, 5), st.integers(-1, 1), st.floats(0, 100), st.integers(0, 30),
        st.booleans(), st.none() | st.integers(0, 40),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


def made(drawn: list[Any]) -> list[Bid]:
    return [
        bid(
            f"app{number}", wants, least=least, priority=priority, oldest_age=age, current=current,
            held=held, wished=wished,
        )
        for number, (wants, least, priority, age, current, held, wished) in enumerate(drawn)
    ]  # fmt: skip


@given(drawn=bids, total=st.integers(1, 200))
def test_the_limit_is_kept_and_used_up_and_nobody_gets_more_than_wanted(drawn: list[Any], total: int) -> None:
    all_bids = made(drawn)
    decisions = limited(all_bids, total)
    wanted = [one.decision.desired_workers for one in all_bids]
    got = [decision.desired_workers for decision in decisions]
    assert sum(got) == min(total, sum(wanted))
    assert all(0 <= g <= w for g, w in zip(got, wanted, strict=True))
    if sum(min(one.min_workers, w) for one, w in zip(all_bids, wanted, strict=True)) <= total:
        assert all(g >= min(one.min_workers, w) for one, g, w in zip(all_bids, got, wanted, strict=True))
    for one, decision in zip(all_bids, decisions, strict=True):
        if decision.desired_workers < one.decision.desired_workers:
            assert f"max_workers_total is {total}" in decision.reason
    assert decisions == limited(made(drawn), total)


@given(drawn=bids, total=st.integers(1, 200), more=st.integers(1, 30))
def test_who_needs_more_never_gets_fewer_other_things_equal(drawn: list[Any], total: int, more: int) -> None:
    """A hold is left out: it wants what stands, however much waits. Bounds see to it that wants >= least."""
    all_bids = made([(max(wants, least), least, *rest) for wants, least, *rest in drawn])
    first = all_bids[0]
    first = replace(first, decision=replace(first.decision, held=False))
    all_bids[0] = first
    wanted, desired = first.decision.wanted + more, first.decision.desired_workers + more
    busier = Decision.of("test", 0, wanted, "needed").then("keeper", desired, "kept")
    few, many = shares(total, *all_bids), shares(total, replace(first, decision=busier), *all_bids[1:])
    assert many[0] >= few[0]


@given(drawn=bids, total=st.integers(1, 200))
def test_constant_needs_settle_with_the_first_sharing_out(drawn: list[Any], total: int) -> None:
    """What was handed out is what stands in the next round, and then nothing changes."""
    got = shares(total, *made(drawn))
    history = [got]
    for _ in range(4):
        known = [
            (w, m, p, age, now, False, wished)
            for (w, m, p, age, _, _, wished), now in zip(drawn, got, strict=True)
        ]
        got = shares(total, *made(known))
        history.append(got)
    assert history[2] == history[3] == history[4]


def test_ten_thousand_applications_share_500_workers_well_within_a_round() -> None:
    rng = random.Random(1)
    bids = [
        bid(f"app{n}", rng.choice([0, 0, 1, 1, 2, 5, 20]), current=1, least=1, oldest_age=rng.uniform(0, 60))
        for n in range(10_000)
    ]
    begun = time.thread_time()
    decisions = limited(bids, 500)
    seconds = time.thread_time() - begun
    assert sum(decision.desired_workers for decision in decisions) == 500
    assert seconds < 1.0
    many = share_out(bids, 20_000)
    assert sum(many.workers) == 20_000


def test_those_chosen_for_standby_get_what_is_left_in_order_and_that_is_said() -> None:
    bids = [bid("a", 3), bid("b", 4)]
    bids = [replace(one, decision=one.decision.with_standby(2)) for one in bids]
    cut = limited(bids, 10)
    assert [one.desired_workers for one in cut] == [3, 4]
    assert [one.standby_workers for one in cut] == [2, 1]
    assert cut[1].reason.endswith("max_workers_total 10 leaves 1 for standby")
    assert [one.standby_workers for one in limited(bids, 5)] == [0, 0]
    assert [one.standby_workers for one in limited(bids, 0)] == [2, 2]
