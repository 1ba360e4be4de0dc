"""How long a recent maximum stays, for every setting at once."""

from __future__ import annotations

import numpy as np
import pytest

from upswell.policies.slo.scalar_staffing import RecentMost
from upswell.policies.slo.staffing import BUCKETS, RecentMaximum

STEPS = (0.0, 0.4, 1.0, 2.5, 7.0, 8.0, 20.0, 100.0)


@pytest.mark.parametrize("steps", STEPS)
def test_what_was_wanted_stays_for_its_time_and_at_most_a_bucket_longer(steps: float) -> None:
    recent = RecentMaximum(np.array([steps]))
    recent.update(np.array([9]))
    stayed = 0
    while recent.update(np.array([1]))[0] == 9:
        stayed += 1
    assert np.ceil(steps) - max(1.0, steps / BUCKETS) <= stayed <= np.ceil(steps) + steps / BUCKETS + 1


def test_without_a_start_up_nothing_is_kept() -> None:
    recent = RecentMaximum(np.zeros(2))
    assert recent.update(np.array([9, 4])).tolist() == [9, 4]
    assert recent.update(np.array([0, 5])).tolist() == [0, 5]


def test_a_new_time_keeps_what_was_wanted_until_now_once() -> None:
    recent = RecentMaximum(np.array([40.0]))
    recent.update(np.array([9]))
    for _ in range(10):
        recent.update(np.array([1]))
    recent.resize(np.array([0.0]))
    assert recent.update(np.array([1]))[0] == 1
    recent.resize(np.array([3.0]))
    assert [int(recent.update(np.array([0]))[0]) for _ in range(5)] == [1, 1, 1, 0, 0]


def test_all_settings_at_once_keep_what_each_alone_keeps() -> None:
    rng = np.random.default_rng(4)
    together = RecentMaximum(np.array(STEPS))
    alone = [RecentMost(steps) for steps in STEPS]
    for number in range(400):
        if number == 200:
            together.resize(np.array(STEPS[::-1]))
            for one, steps in zip(alone, STEPS[::-1], strict=True):
                one.resize(steps)
        wanted = rng.integers(0, 50, len(STEPS))
        found = [one.update(int(w)) for one, w in zip(alone, wanted, strict=True)]
        assert together.update(wanted).tolist() == found
