"""Depths: the newest, the change over a window, and how many samples are kept."""

from __future__ import annotations

from upswell.analysis.queue_depths import DepthHistory, DepthSample


def test_the_change_is_between_the_ends_of_the_window() -> None:
    depths = DepthHistory(60.0)
    for at in range(1000, 1200, 2):
        depths.add(DepthSample(float(at), at - 1000, 0, 1))
    assert depths.change(1198.0) == 60
    assert depths.change(1198.0 + 61) is None


def test_uploads_in_flight_count_only_where_both_ends_know_them() -> None:
    depths = DepthHistory(60.0)
    depths.add(DepthSample(1000.0, 5, None, 1))
    depths.add(DepthSample(1010.0, 5, 4, 1))
    assert depths.change(1010.0) == 0


def test_samples_are_bounded_however_often_they_come() -> None:
    depths = DepthHistory(60.0)
    for number in range(10_000):
        depths.add(DepthSample(1000.0 + number / 100, number, 0, 1))
        depths.change(1000.0 + number / 100)
    assert len(depths._samples) <= 63
    newest = depths.newest(1100.0)
    assert newest is not None
    assert newest.ready == 9999


def test_a_queue_never_seen_empty_tells_no_time_since() -> None:
    depths = DepthHistory(60.0)
    depths.add(DepthSample(1000.0, 5, 0, 1))
    assert depths.seconds_since_empty(1010.0) is None
    depths.add(DepthSample(1010.0, 0, 0, 1))
    assert depths.seconds_since_empty(1015.0) == 5.0
