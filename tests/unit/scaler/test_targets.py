"""Requests may be lost, repeated, late or out of order: the newest counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.messages import ScaleRequest
from upswell.scaler.plan import Target
from upswell.scaler.targets import ORDER_SECONDS, NewestRequests, target
from upswell.settings import Settings

SETTINGS = Settings(min_workers=1, max_workers=5, standby_workers=2)


def request(workers: int, *, epoch: int = 1, at: float = 100.0, app: str = "a1") -> ScaleRequest:
    return ScaleRequest(app_id=app, desired_workers=workers, decided_at=at, reason="because", epoch=epoch)


def test_an_older_or_repeated_request_is_ignored() -> None:
    newest = NewestRequests()
    assert newest.offer(request(3, at=100.0), now=100.0)
    assert not newest.offer(request(9, at=99.0), now=101.0)
    assert not newest.offer(request(3, at=100.0), now=102.0)
    assert newest.get("a1") == request(3, at=100.0)


def test_a_new_monitor_outranks_an_old_one_whatever_the_instants() -> None:
    newest = NewestRequests()
    newest.offer(request(3, epoch=1, at=500.0), now=500.0)
    assert newest.offer(request(4, epoch=2, at=400.0), now=501.0)
    assert not newest.offer(request(5, epoch=1, at=600.0), now=502.0)


def test_applications_do_not_mix() -> None:
    newest = NewestRequests()
    newest.offer(request(3, at=500.0, app="a1"), now=500.0)
    assert newest.offer(request(7, at=400.0, app="b2"), now=500.0)
    assert newest.get("a1") == request(3, at=500.0, app="a1")


def test_a_monitor_whose_clock_was_set_back_is_heard_again_after_a_while() -> None:
    newest = NewestRequests()
    newest.offer(request(3, epoch=9_000, at=9_000.0), now=9_000.0)
    assert not newest.offer(request(4, epoch=8_000, at=8_000.0), now=9_001.0)
    assert newest.offer(request(5, epoch=8_000, at=8_001.0), now=9_001.0 + ORDER_SECONDS)


def test_an_epoch_from_the_future_keeps_the_true_monitor_out_of_nothing() -> None:
    """One forged request of the largest epoch had the true monitor ignored for two minutes."""
    newest = NewestRequests()
    newest.offer(request(3, epoch=90_000, at=100.0), now=100.0)
    assert not newest.offer(request(0, epoch=10**18, at=100.5), now=100.5)
    assert not newest.offer(request(0, epoch=90_000, at=1e11), now=100.5)
    assert newest.offer(request(4, epoch=90_000, at=102.0), now=102.0)


def test_a_forged_request_that_came_first_is_outranked_by_the_first_true_one() -> None:
    newest = NewestRequests()
    assert newest.offer(request(0, epoch=10**18, at=1e11), now=100.0)
    assert newest.offer(request(3, epoch=90_000, at=101.0), now=101.0)


def test_a_monitor_whose_clock_is_ahead_is_heard_where_there_is_no_other() -> None:
    newest = NewestRequests()
    assert newest.offer(request(3, epoch=3_600_000, at=3_600.0), now=100.0)
    assert newest.offer(request(4, epoch=3_600_000, at=3_602.0), now=102.0)


def test_an_epoch_of_now_counts_only_until_its_sender_falls_silent() -> None:
    newest = NewestRequests(interval=2.0)
    newest.offer(request(3, epoch=90_000, at=100.0), now=100.0)
    assert newest.offer(request(0, epoch=101_000, at=101.0), now=101.0)
    assert not newest.offer(request(4, epoch=90_000, at=110.0), now=110.0)
    assert newest.offer(request(4, epoch=90_000, at=112.0), now=112.0)


def test_a_late_request_of_an_older_monitor_never_counts_when_the_newer_falls_silent() -> None:
    """It was decided before the newest, however long it lay in a queue."""
    newest = NewestRequests(interval=2.0)
    newest.offer(request(3, epoch=90_000, at=100.0), now=100.0)
    assert not newest.offer(request(9, epoch=80_000, at=99.0), now=112.0)


@given(st.permutations([request(n, epoch=n // 3, at=float(n)) for n in range(9)]))
def test_the_order_of_arrival_does_not_matter(requests: list[ScaleRequest]) -> None:
    newest = NewestRequests()
    for one in requests:
        newest.offer(one, now=100.0)
    assert newest.get("a1") == request(8, epoch=2, at=8.0)


@given(st.integers(0, 1_000_000))
def test_no_message_leads_out_of_the_bounds(desired: int) -> None:
    wanted = target(SETTINGS, request(desired), adopted=0)
    assert 1 <= wanted.ready <= 5
    assert wanted.ready + wanted.standby <= 5


def test_without_a_request_what_runs_goes_on_within_the_bounds() -> None:
    assert target(SETTINGS, None, adopted=3) == Target(3, 2)
    assert target(SETTINGS, None, adopted=0) == Target(1, 2)


def test_standby_workers_that_could_never_become_active_are_not_kept() -> None:
    assert target(SETTINGS, request(4), adopted=0) == Target(4, 1)
    assert target(SETTINGS, request(5), adopted=0) == Target(5, 0)


def test_where_the_monitor_chooses_who_stands_by_its_number_counts_and_without_one_what_was_found() -> None:
    auto = replace(SETTINGS, standby_workers="auto")
    chosen = replace(request(1), standby_workers=3)
    assert target(auto, chosen, adopted=0) == Target(1, 3)
    assert target(auto, replace(chosen, standby_workers=9), adopted=0) == Target(1, 4)
    assert target(auto, request(1), adopted=0, standing=2) == Target(1, 2)
    assert target(auto, None, adopted=1, standing=2) == Target(1, 2)
    assert target(SETTINGS, chosen, adopted=0) == Target(1, 2)


@given(st.integers(0, 1_000_000))
def test_what_is_set_by_hand_may_be_below_min_workers_and_never_above_max_workers(desired: int) -> None:
    wanted = target(SETTINGS, replace(request(desired), by_hand=True), adopted=0)
    assert wanted.ready == min(desired, 5)
