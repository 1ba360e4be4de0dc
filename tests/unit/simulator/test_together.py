from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.errors import SettingsError
from upswell.policies.celery_autoscale import CeleryAutoscalePolicy
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.jobs import in_chunks
from upswell.simulator.plant import Plant
from upswell.simulator.together import Entrant, allot, simulate_together

PLANT = Plant(slo=Slo(0.95, 30.0), start_delay=5.0, decision_interval=1.0, window=10.0)


def entrant(seed: int) -> tuple[np.ndarray, np.ndarray, Entrant]:
    rng = np.random.default_rng(seed)
    arrivals, services = np.sort(rng.uniform(0, 600, 400)), rng.exponential(5.0, 400)
    return arrivals, services, Entrant(in_chunks(arrivals, services), CeleryAutoscalePolicy(), PLANT)


def test_a_limit_that_never_binds_changes_nothing() -> None:
    arrivals, services, one = entrant(1)
    _, _, other = entrant(2)
    outcomes = simulate_together({"one": one, "other": other}, limit=1000)
    assert outcomes["one"] == simulate(arrivals, services, CeleryAutoscalePolicy(), PLANT)


def test_a_limit_that_binds_makes_both_slower() -> None:
    free = simulate_together({"one": entrant(1)[2], "other": entrant(2)[2]}, limit=1000)
    bound = simulate_together({"one": entrant(1)[2], "other": entrant(2)[2]}, limit=8)
    for name in free:
        assert bound[name].mean_waiting > free[name].mean_waiting


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), min_size=1, max_size=8), st.integers(0, 100)
)
def test_shares_are_within_the_limit_and_nobody_gets_more_by_taking_from_one_with_less(
    applications: list[tuple[int, int]], more: int
) -> None:
    minimums = [minimum for minimum, _ in applications]
    wishes = [minimum + wish for minimum, wish in applications]
    limit = sum(minimums) + more
    shares = allot(wishes, limit, minimums)
    assert sum(shares) == min(limit, sum(wishes))
    for index, share in enumerate(shares):
        assert minimums[index] <= share <= wishes[index]
        if share < wishes[index]:
            assert all(other <= max(share + 1, minimums[at]) for at, other in enumerate(shares))


def test_a_limit_below_the_minimums_is_refused() -> None:
    _, _, one = entrant(1)
    greedy = replace(one, plant=replace(PLANT, min_workers=5))
    with pytest.raises(SettingsError, match="common limit"):
        simulate_together({"one": greedy}, limit=4)
