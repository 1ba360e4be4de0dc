"""Depths: the newest, the change over a window, and how many samples are kept."""

from __future__ import annotations

from upswell.analysis.queue_depths import DepthHistory, DepthSample


def sample(at: float, ready: int, arrived: int = 0) -> DepthSample:
    return DepthSample(at, ready, 0, 0, 1, arrived)


def test_arrivals_are_counted_between_the_ends_of_the_window() -> None:
    depths = DepthHistory(60.0)
    for at in range(1000, 1200, 2):
        depths.add(sample(float(at), 0, 3 * at))
    assert depths.arrival_rate(1198.0, 60.0) == 3.0
    assert depths.arrival_rate(1198.0 + 61, 60.0) is None


def test_after_an_outage_the_arrivals_of_before_are_not_counted_into_one_window() -> None:
    depths = DepthHistory(60.0)
    for at in (*range(1000, 1100, 2), *range(1700, 1800, 2)):
        depths.add(sample(float(at), 0, 3 * at))
        if at >= 1700:
            assert depths.arrival_rate(float(at), 60.0) == 3.0


def test_samples_are_bounded_however_often_they_come() -> None:
    depths = DepthHistory(60.0)
    for number in range(10_000):
        depths.add(sample(1000.0 + number / 100, number))
        depths.arrival_rate(1000.0 + number / 100, 60.0)
    assert len(depths._samples) <= 63
    newest = depths.newest(1100.0)
    assert newest is not None
    assert newest.ready == 9999


def test_a_queue_never_seen_empty_tells_no_time_since() -> None:
    depths = DepthHistory(60.0)
    depths.add(sample(1000.0, 5))
    assert depths.seconds_since_empty(1010.0) is None
    depths.add(sample(1010.0, 0))
    assert depths.seconds_since_empty(1015.0) == 5.0
