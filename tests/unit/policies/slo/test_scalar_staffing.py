"""The rule in plain numbers: the same as the whole family's at the setting's place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.policies.slo.scalar_staffing import RecentMost, ScalarRule
from upswell.policies.slo.staffing import FAMILY, HORIZON, REFRESH, Family, RecentMaximum, Services

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
    rule = ScalarRule.of(FAMILY[index], objective, start_delay)
    assert rule.horizon == family.rule[HORIZON, index]
    means = (float(whole[index]), float(remaining[index]))
    assert rule.need(*seen, means)[0] == family.slots(*seen, (whole, remaining))[index]


@given(times=st.lists(seconds, max_size=50), objective=seconds, start_delay=st.floats(0.0, 500.0))
def test_the_means_within_each_horizon_are_the_family_s(
    times: list[float], objective: float, start_delay: float
) -> None:
    family = Family(FAMILY, objective, start_delay)
    services = services_of(times)
    whole, remaining = family.means(services, assumed=3.0)
    for index, horizon in enumerate(family.rule[HORIZON]):
        one = services.within_one(float(horizon), assumed=3.0)
        assert one == pytest.approx((whole[index], remaining[index]), rel=1e-6)


def test_the_newest_service_times_are_kept_whatever_the_number_that_comes_at_once() -> None:
    services, told = Services(), list[float]()
    for count in (1, 999, 3, 0, 1500, 998, 2500, 7):
        new = [float(len(told) + number) for number in range(count)]
        told += new
        services.add(new)
        assert sorted(services.times) == told[-1000:]
        assert services.mean == pytest.approx(sum(told[-1000:]) / len(told[-1000:]))


def test_means_are_worked_out_anew_after_some_new_service_times_and_sooner_while_there_are_few() -> None:
    services = Services()
    assert services.changed(3.0)
    assert not services.changed(3.0)
    assert services.changed(4.0)
    when: list[int] = []
    for number in range(1, 1001):
        services.add([1.0])
        if services.changed(4.0):
            when.append(number)
    assert when[:5] == [1, 2, 3, 5, 7]
    assert all(later - earlier <= REFRESH for earlier, later in itertools.pairwise(when))
    assert len(when) < 1000 / REFRESH + 25
    services.add([1.0] * (REFRESH - 1))
    services.changed(4.0)
    services.add([1.0] * (REFRESH - 1))
    assert not services.changed(4.0)
    services.add([1.0])
    assert services.changed(4.0)


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
