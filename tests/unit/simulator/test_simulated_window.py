from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.simulator.simulated_window import SimulatedWindow


@given(st.lists(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 1)), max_size=5), max_size=30))
def test_the_window_equals_what_its_last_intervals_hold(intervals: list) -> None:
    window = SimulatedWindow(4, 2.0, 10.0)
    for uploads in intervals:
        responses = [response for response, _ in uploads]
        window.add(responses, [response * share for response, share in uploads])
    uploads = [upload for uploads in intervals[-4:] for upload in uploads]
    assert window.count == len(uploads)
    if not uploads:
        assert window.response_time is None
        return
    responses = sorted(response for response, _ in uploads)
    assert window.response_time is not None
    assert window.service_time is not None
    assert window.response_time.mean == pytest.approx(np.mean(responses), abs=1e-9)
    assert window.response_time.maximum == responses[-1]
    assert window.response_time.p50 == responses[(len(responses) + 1) // 2 - 1]
    assert window.attainment == pytest.approx(np.mean([response <= 10 for response in responses]))


def test_percentiles_of_an_old_snapshot_stay_what_they_were() -> None:
    window = SimulatedWindow(2, 2.0, 10.0)
    window.add([5.0], [3.0])
    seen = window.waiting_time
    for _ in range(3):
        window.add([50.0], [1.0])
    assert seen is not None
    assert seen.maximum == 2.0


def test_percentiles_come_from_the_newest_reports_and_counts_from_all() -> None:
    window = SimulatedWindow(4, 2.0, 10.0, capacity=3)
    window.add([9.0, 1.0], [9.0, 1.0])
    window.add([2.0, 20.0], [2.0, 3.0])
    assert (window.count, window.late) == (4, 1)
    assert window.response_time is not None
    assert window.service_time is not None
    assert (window.response_time.count, window.response_time.p50) == (3, 2.0)
    assert window.response_time.mean == pytest.approx(23 / 3)
    assert window.service_time.mean == pytest.approx(2.0)


def test_older_service_times_stand_in_where_the_window_has_none() -> None:
    window = SimulatedWindow(2, 2.0, 10.0)
    assert window.service_time is None
    window.add([5.0, 6.0], [3.0, 5.0])
    for _ in range(2):
        assert not window.service_is_old
        window.add([], [])
    assert window.service_is_old
    assert window.service_time is not None
    assert (window.service_time.mean, window.response_time) == (4.0, None)
