from __future__ import annotations

import numpy as np
import pytest

from upswell.errors import TraceError
from upswell.workload.counts import spread, step_of


def test_uploads_lie_in_the_bin_that_counted_them_and_gaps_stay_empty() -> None:
    times, counts = np.array([0.0, 60.0, 240.0]), np.array([3.0, 0.0, 2.0])
    arrivals = spread(times, counts, np.random.default_rng(1))
    assert np.histogram(arrivals, bins=[0, 60, 120, 240, 300])[0].tolist() == [3, 0, 0, 2]
    assert (np.diff(arrivals) >= 0).all()


def test_thinning_keeps_that_share() -> None:
    times = np.arange(100.0)
    arrivals = spread(times, np.full(100, 1000.0), np.random.default_rng(1), thin=0.2)
    assert len(arrivals) == pytest.approx(20_000, rel=0.03)


@pytest.mark.parametrize(
    ("times", "counts", "rule"),
    [
        ([0.0], [1.0], "at least two rows"),
        ([0.0, 2.0, 1.0], [1.0, 1.0, 1.0], r"sorted, each after the one before, got 1 after 2 \(row 3\)"),
        ([0.0, 0.0], [1.0, 1.0], "sorted"),
        ([0.0, 1.0], [1.0, -2.0], r"count must be a whole number >= 0, got -2 \(row 2\)"),
        ([0.0, 1.0], [1.0, float("nan")], "got nan"),
        ([0.0, 1.0], [0.5, 1.0], "whole number >= 0, got 0.5"),
        ([-1.0, 1.0], [1.0, 1.0], r"t_seconds must be a number >= 0, got -1 \(row 1\)"),
    ],
)
def test_counts_that_are_none_are_refused_with_rule_value_and_row(
    times: list[float], counts: list[float], rule: str
) -> None:
    with pytest.raises(TraceError, match=rule):
        step_of(np.array(times), np.array(counts))


def test_more_uploads_than_memory_is_for_are_refused() -> None:
    with pytest.raises(TraceError, match="at most 50,000,000 uploads, got 60,000,000; thin it"):
        spread(np.array([0.0, 1.0]), np.array([3e7, 3e7]), np.random.default_rng(1))
