"""Strange traces in virtual time: uploads longer than the objective, floods. They are served and judged."""

from __future__ import annotations

import numpy as np
import pytest

from upswell.lab.oracle import oracle
from upswell.policies.threshold import ThresholdPolicy
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World

WORLD = World(slo=Slo(0.95, 30.0), start_delay=5.0)


def test_uploads_longer_than_the_objective_are_late_and_the_rest_are_served() -> None:
    arrivals = np.arange(0.0, 400.0, 2.0)
    services = np.where(np.arange(200) % 4 == 0, 50.0, 1.0)
    outcome = simulate(arrivals, services, RehearsedPolicy(), WORLD)
    assert outcome.late >= 50
    assert outcome.attainment > 0.5
    best = oracle(arrivals, services, objective=30.0, share=0.95, start_delay=5.0)
    assert best.attainment <= 0.75  # no fleet can do better: what it costs to come as near as can be


@pytest.mark.parametrize("seconds", [0.001, 1.0])
def test_a_hundred_thousand_uploads_in_one_second_are_simulated_and_judged(seconds: float) -> None:
    arrivals, services = np.linspace(0, 1, 100_000), np.full(100_000, seconds)
    for policy in (ThresholdPolicy(), RehearsedPolicy()):
        assert simulate(arrivals, services, policy, WORLD).uploads == 100_000
    best = oracle(arrivals, services, objective=30.0, share=0.95, start_delay=5.0)
    assert best.attainment >= 0.95
    assert best.cost < 1.2 * services.sum()


def test_a_flood_is_scheduled_by_the_dozen_and_hardly_more_expensive() -> None:
    rng = np.random.default_rng(3)
    arrivals, services = np.sort(rng.uniform(0, 30, 20_000)), rng.exponential(10.0, 20_000).clip(0, 60)
    best = oracle(arrivals, services, objective=60.0, share=0.95, start_delay=5.0)
    assert best.attainment >= 0.95
    assert services.sum() < best.cost < 1.25 * services.sum()
    assert best.lower_bound <= best.cost
