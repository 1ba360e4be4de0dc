"""Windows: exact counts, percentiles by nearest rank, bounded memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.analysis.report_window import NOT_KNOWN, ReportWindow


def as_kept(seconds: float) -> float:
    """Return a duration as a window keeps it: to seven digits."""
    return float(np.float32(seconds))


def fill(window: ReportWindow, times: list[tuple[float, float]]) -> None:
    for at, seconds in times:
        window.stored(at, seconds, 0.0, seconds, in_time=seconds <= 30)


def test_an_empty_window_knows_no_distribution() -> None:
    summary = ReportWindow(60.0, 100).summary(1000.0)
    assert (summary.stored, summary.response_time, summary.service_time) == (0, None, None)


def test_percentiles_are_by_nearest_rank() -> None:
    window = ReportWindow(60.0, 1000)
    fill(window, [(1000.0, float(value)) for value in range(1, 101)])
    times = window.summary(1001.0).response_time
    assert times is not None
    assert (times.count, times.mean, times.p50, times.p95, times.p99, times.maximum) == (
        100, 50.5, 50.0, 95.0, 99.0, 100.0,
    )  # fmt: skip


@given(
    times=st.lists(st.tuples(st.floats(0, 200), st.floats(0, 100)), max_size=400),
    capacity=st.integers(1, 500),
    now=st.floats(200, 300),
)
def test_a_window_equals_a_plain_list_of_what_it_was_given(
    times: list[tuple[float, float]], capacity: int, now: float
) -> None:
    window = ReportWindow(60.0, capacity)
    times.sort()
    fill(window, times)
    seen = [seconds for at, seconds in times if at > now - 60.0][-capacity:]
    summary = window.summary(now).response_time
    if not seen:
        assert summary is None
        return
    assert summary is not None
    ordered = sorted(seen)
    assert summary.count == len(seen)
    assert summary.mean == pytest.approx(math.fsum(seen) / len(seen))
    assert summary.p50 == as_kept(ordered[math.ceil(0.5 * len(seen)) - 1])
    assert summary.p99 == as_kept(ordered[math.ceil(0.99 * len(seen)) - 1])
    assert summary.maximum == as_kept(ordered[-1])


@given(times=st.lists(st.tuples(st.floats(0, 200), st.floats(0, 60)), max_size=300), now=st.floats(200, 300))
def test_counts_stay_exact_beyond_the_capacity(times: list[tuple[float, float]], now: float) -> None:
    """Rates and attainment must not depend on how many reports are kept. A bucket is a second here."""
    window = ReportWindow(60.0, 10)
    times.sort()
    fill(window, times)
    counted = [seconds for at, seconds in times if int(at) > int(now - 60.0)]
    summary = window.summary(now)
    assert summary.stored == len(counted)
    assert summary.in_time == sum(seconds <= 30 for seconds in counted)


def test_a_summary_tells_the_same_whenever_it_is_read() -> None:
    """The journal's thread works percentiles out while more reports come."""
    read_at_once, read_later = ReportWindow(60.0, 100), ReportWindow(60.0, 100)
    times = [(1000.0 + number / 100, float(number * 7 % 101)) for number in range(1000)]
    for begin in range(0, 1000, 10):
        summaries = []
        for window in (read_at_once, read_later):
            fill(window, times[begin : begin + 10])
            summaries.append(window.summary(1010.0).response_time)
        early, late = summaries
        assert early is not None
        assert late is not None
        told = (early.count, early.mean, early.p50, early.p95, early.p99, early.maximum)
        fill(read_at_once, times[:300])
        fill(read_later, times[:300])
        assert (late.count, late.mean, late.p50, late.p95, late.p99, late.maximum) == told


def test_a_duration_that_is_not_known_leaves_the_others_of_its_report() -> None:
    window = ReportWindow(60.0, 100)
    window.stored(1000.0, 5.0, NOT_KNOWN, 2.0, in_time=True)
    fill(window, [(1030.0, 3.0)])
    summary = window.summary(1031.0)
    counts = [
        times.count for times in (summary.response_time, summary.waiting_time, summary.service_time) if times
    ]
    assert counts == [2, 1, 2]
    later = window.summary(1061.0).waiting_time
    assert later is not None
    assert later.count == 1


def test_failed_and_dead_attempts_tell_service_times_but_no_response_time() -> None:
    window = ReportWindow(60.0, 100)
    window.stored(1000.0, 5.0, 3.0, 2.0, in_time=True)
    window.unsuccessful(1000.0, NOT_KNOWN, 4.0, dead=False)
    window.unsuccessful(1000.0, NOT_KNOWN, 6.0, dead=True)
    summary = window.summary(1001.0)
    assert (summary.stored, summary.failed, summary.dead, summary.in_time) == (1, 1, 1, 1)
    assert summary.response_time is not None
    assert summary.response_time.count == 1
    assert summary.waiting_time is not None
    assert summary.waiting_time.count == 1
    assert summary.service_time is not None
    assert summary.service_time.mean == 4.0


def test_service_times_older_than_the_window_stand_in_and_are_called_old() -> None:
    """An upload may take longer than the window: what work took is the best guess of what it will take."""
    window = ReportWindow(60.0, 100)
    fill(window, [(1000.0, 7.0)])
    summary = window.summary(2000.0)
    assert summary.response_time is None
    assert summary.service_time is not None
    assert summary.service_time.mean == 7.0
    assert summary.service_is_old


def test_a_late_report_counts_in_the_bucket_of_its_time() -> None:
    window = ReportWindow(60.0, 100)
    fill(window, [(1000.0, 1.0), (1030.0, 1.0), (1005.0, 1.0)])
    assert window.summary(1031.0).stored == 3
    assert window.summary(1066.5).stored == 1


def test_a_window_keeps_20_bytes_a_report_and_no_more_than_its_capacity() -> None:
    window = ReportWindow(60.0, 1000)
    fill(window, [(1000.0 + number / 1000, 1.0) for number in range(20_000)])
    window.summary(1020.0)
    assert memoryview(window._at).nbytes + memoryview(window._durations).nbytes <= 20 * (1000 + 64)
    window.capacity = 100
    fill(window, [(1020.0, 1.0)] * 2000)
    summary = window.summary(1021.0)
    assert summary.response_time is not None
    assert summary.response_time.count == 100
    assert memoryview(window._at).nbytes + memoryview(window._durations).nbytes <= 20 * (1000 + 64)


def test_a_late_report_of_a_bucket_that_was_forgotten_does_not_count_for_ever() -> None:
    window = ReportWindow(60.0, 100)
    window.stored(1000.0, 1.0, 0.0, 1.0, in_time=True)
    assert window.summary(1100.0).stored == 0
    window.stored(1000.0, 1.0, 0.0, 1.0, in_time=True)
    assert window.summary(1200.0).stored == 0
