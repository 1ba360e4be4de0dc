"""The cost ledger: every worker in one state, every second billed once, near enough to the truth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.analysis.billing import Bill, Billing
from upswell.analysis.snapshot import ObservedTotals, Snapshot, Workers
from upswell.testing.snapshots import ordinary, snapshots


def seen(
    at: float, totals: ObservedTotals | None = None, stale: tuple[str, ...] = (), **counts: int
) -> Snapshot:
    workers = Workers(**{"desired": 0, **counts})
    return replace(ordinary(at=at), workers=workers, totals=totals, stale=stale)


def test_each_second_of_each_worker_is_billed_to_its_state() -> None:
    ledger = Billing()
    counts = {"starting": 1, "ready": 5, "busy": 4, "standby": 2, "draining": 1}
    ledger.observe(seen(100.0, **counts))
    bill = ledger.observe(seen(110.0, **counts))
    assert bill == Bill(
        since=100.0, at=110.0, starting=10.0, standby=20.0, busy=30.0, idle=20.0, draining=10.0
    )
    assert bill.worker_seconds == 90.0


def test_the_first_snapshot_bills_nothing_and_a_change_counts_half_its_interval() -> None:
    ledger = Billing()
    assert ledger.observe(seen(100.0, ready=3)).worker_seconds == 0
    assert ledger.observe(seen(102.0, ready=5)).worker_seconds == 8.0


def test_the_time_before_a_worker_was_first_heard_of_is_billed_as_starting() -> None:
    ledger = Billing()
    ledger.observe(seen(100.0, ObservedTotals(start_seconds=1.5)))
    bill = ledger.observe(seen(102.0, ObservedTotals(start_seconds=4.0)))
    assert bill.starting == 4.0


def test_uploads_that_met_the_objective_share_the_whole_cost() -> None:
    ledger = Billing()
    ledger.observe(seen(0.0, ObservedTotals(), ready=2))
    bill = ledger.observe(seen(3600.0, ObservedTotals(stored=1000, in_time=900, dead=1), ready=2))
    assert (bill.stored, bill.in_time, bill.dead) == (1000, 900, 1)
    assert bill.price(0.45) == pytest.approx(0.9)
    assert bill.price_per_upload_in_time(0.45) == pytest.approx(0.001)
    assert bill.seconds_per_upload_in_time == 8.0
    nothing = Billing().observe(seen(0.0))
    assert nothing.price_per_upload_in_time(1.0) is None
    assert nothing.seconds_per_upload_in_time is None


def test_a_ledger_goes_on_where_an_earlier_one_ended_and_tells_the_gap() -> None:
    first = Billing()
    first.observe(seen(0.0, ObservedTotals(), ready=1))
    before = first.observe(seen(10.0, ObservedTotals(stored=5, in_time=4), ready=1))
    after = Billing(before)
    after.observe(seen(70.0, ObservedTotals(stored=1, in_time=1), ready=1))
    bill = after.observe(seen(80.0, ObservedTotals(stored=3, in_time=2), ready=1))
    assert (bill.since, bill.at, bill.unobserved) == (0.0, 80.0, 60.0)
    assert bill.worker_seconds == 20.0
    assert (bill.stored, bill.in_time) == (8, 6)


def test_silent_workers_are_billed_as_they_last_were() -> None:
    """An outage of the broker silences workers; it does not stop their bill."""
    ledger = Billing()
    ledger.observe(seen(0.0, ready=4, busy=4))
    ledger.observe(seen(10.0, stale=("workers",)))
    assert ledger.observe(seen(20.0, stale=("workers",))).busy == 80.0
    assert ledger.observe(seen(30.0)).busy == 100.0


@given(seen_so_far=st.lists(snapshots(), min_size=1, max_size=8))
def test_a_bill_only_grows_and_never_exceeds_all_workers_all_the_time(seen_so_far: list[Snapshot]) -> None:
    ledger, before, most = Billing(), 0.0, 0
    for number, snapshot in enumerate(seen_so_far):
        bill = ledger.observe(replace(snapshot, at=1000.0 + 2 * number))
        workers = snapshot.workers
        most = max(most, workers.ready + workers.starting + workers.standby + workers.draining)
        assert bill.worker_seconds >= before
        assert bill.worker_seconds <= 2 * number * most
        assert min(bill.starting, bill.standby, bill.busy, bill.idle, bill.draining) >= 0
        before = bill.worker_seconds


@given(
    lives=st.lists(
        st.tuples(st.floats(0, 80, allow_nan=False), st.floats(0, 20, allow_nan=False)),
        min_size=1,
        max_size=20,
    )
)
def test_the_bill_is_wrong_by_one_interval_a_worker_at_most(lives: list[tuple[float, float]]) -> None:
    """Workers come and go at any instant; rounds see them every 2 s, each end is misplaced by 1 s at most."""
    ledger = Billing()
    for number in range(60):
        at = 2.0 * number
        alive = sum(begin <= at < begin + seconds for begin, seconds in lives)
        bill = ledger.observe(seen(at, ready=alive))
    truth = sum(seconds for _, seconds in lives)
    assert abs(bill.worker_seconds - truth) <= 2.0 * len(lives) + 1e-6


def test_a_ledger_that_goes_on_with_a_clock_behind_the_bill_s_bills_from_now_on() -> None:
    ledger = Billing(Bill(since=0.0, at=500.0, idle=7.0))
    ledger.observe(seen(100.0, ready=1))
    assert ledger.observe(seen(110.0, ready=1)).worker_seconds == 17.0
