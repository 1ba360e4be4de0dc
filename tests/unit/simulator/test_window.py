from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.simulator.window import Window


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.tuples(st.floats(0, 50), st.floats(0, 1)), max_size=5)),
        max_size=30,
    )
)
def test_the_window_equals_what_its_last_intervals_hold(intervals: list) -> None:
    window = Window(4, 2.0, 10.0)
    for arrived, uploads in intervals:
        responses = [response for response, _ in uploads]
        window.add(arrived, responses, [response * share for response, share in uploads])
    last = intervals[-4:]
    uploads = [upload for _, uploads in last for upload in uploads]
    assert window.arrivals == sum(arrived for arrived, _ in last)
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
    window = Window(2, 2.0, 10.0)
    window.add(1, [5.0], [3.0])
    seen = window.waiting_time
    for _ in range(3):
        window.add(1, [50.0], [1.0])
    assert seen is not None
    assert seen.maximum == 2.0
