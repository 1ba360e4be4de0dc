from __future__ import annotations

from upswell.stores.clients.http.limits import Throughput


def test_a_sender_that_is_fast_enough_is_left_alone() -> None:
    throughput = Throughput(100.0, window=10.0)
    assert [throughput.too_slow(1.0, 100) for _ in range(40)] == [None] * 40


def test_a_trickle_is_told_when_one_window_was_waited() -> None:
    throughput = Throughput(100.0, window=10.0)
    rates = [throughput.too_slow(1.0, 5) for _ in range(10)]
    assert rates == [None] * 9 + [5.0]


def test_a_slow_start_is_made_good_within_the_window_and_a_slow_end_is_not_made_good_by_a_fast_start() -> (
    None
):
    throughput = Throughput(100.0, window=10.0)
    assert throughput.too_slow(9.0, 0) is None
    assert throughput.too_slow(1.0, 10_000) is None
    assert throughput.too_slow(10.0, 0) == 0.0


def test_time_that_is_not_spent_waiting_does_not_count() -> None:
    """The reader was busy elsewhere: bytes that lie ready take no waiting."""
    throughput = Throughput(1e9, window=10.0)
    assert all(throughput.too_slow(0.0, 1) is None for _ in range(1000))


def test_without_a_minimum_nothing_is_too_slow() -> None:
    assert Throughput(0.0, window=1.0).too_slow(3600.0, 0) is None
