"""The rule in plain numbers: the same as the whole family's at the setting's place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.policies.scalar_staffing import RecentMost, Rule, ServiceMeans
from upswell.policies.staffing import FAMILY, Family, RecentMaximum, Services

counts = st.integers(0, 5000)
seconds = st.floats(0.01, 1000.0)
members = st.integers(0, len(FAMILY) - 1)


def services_of(times: list[float]) -> Services:
    services = Services()
    services.add(times)
    return services


@given(
    index=members,
    times=st.lists(seconds, max_size=50),
    objective=seconds,
    start_delay=st.floats(0.0, 500.0),
    seen=st.tuples(counts, counts, counts, st.floats(0.0, 5000.0)),
)
def test_one_setting_wants_the_slots_that_the_family_wants_at_its_place(
    index: int,
    times: list[float],
    objective: float,
    start_delay: float,
    seen: tuple[int, int, int, float],
) -> None:
    """`seen`: uploads in flight, those that wait, the slots present, the offered load."""
    family = Family(FAMILY, objective, start_delay)
    whole, remaining = family.means(services_of(times), assumed=3.0)
    rule = Rule.of(FAMILY[index], objective, start_delay)
    assert rule.horizon == family.horizons[index]
    means = (float(whole[index]), float(remaining[index]))
    assert rule.slots(*seen, means) == family.slots(*seen, (whole, remaining))[index]


@given(times=st.lists(seconds, max_size=50), objective=seconds, start_delay=st.floats(0.0, 500.0))
def test_the_means_within_each_horizon_are_the_family_s(
    times: list[float], objective: float, start_delay: float
) -> None:
    family = Family(FAMILY, objective, start_delay)
    means = ServiceMeans(services_of(times) if times else None, assumed=3.0)
    whole, remaining = means.under(family)
    for index, horizon in enumerate(family.horizons):
        assert means.within(float(horizon)) == pytest.approx((whole[index], remaining[index]), rel=1e-6)


def test_the_means_follow_a_family_whose_start_up_delay_changes() -> None:
    family = Family(FAMILY, 30.0, 5.0)
    means = ServiceMeans(services_of([1.0, 20.0]), assumed=3.0)
    before = means.under(family)
    assert means.under(family) is before
    family.set_start_delay(20.0)
    assert np.array_equal(means.under(family), family.means(services_of([1.0, 20.0]), 3.0))
    assert not np.array_equal(means.under(family), before)


def test_service_times_that_come_later_change_no_means() -> None:
    services = services_of([1.0, 2.0])
    means = ServiceMeans(services.copied(), assumed=3.0)
    before = means.within(10.0)
    services.add([9.0] * 2000)
    assert means.within(10.0) == before


@given(
    steps=st.lists(st.floats(0.0, 200.0), min_size=1, max_size=3),
    wanted=st.lists(st.integers(0, 100), min_size=1, max_size=200),
)
def test_the_recent_most_is_the_family_s_recent_maximum(steps: list[float], wanted: list[int]) -> None:
    one, many = RecentMost(steps[0]), RecentMaximum(np.array([steps[0]]))
    for number, wish in enumerate(wanted):
        if number % 60 == 59:
            now = steps[number // 60 % len(steps)]
            one.resize(now)
            many.resize(np.array([now]))
        assert one.update(wish) == many.update(np.array([wish]))[0]
