"""Standby that `slo` chooses: kept where bursts pay for it, none in calm weather, billed in both."""

from __future__ import annotations

import numpy as np

from support.processes import exponential, lognormal, poisson
from upswell.policies.slo.staffing import family_with
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World


def test_bursts_that_a_start_up_would_miss_are_met_by_standby_for_less() -> None:
    """Eight uploads at once every five minutes, 95 % within 10 s, and a worker needs 30 s to start."""
    spent, saved = 0.0, 0.0
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        bursts = np.cumsum(exponential(rng, 300.0, 300))
        arrivals = np.sort((bursts[:, None] + rng.uniform(0, 1, (300, 8))).ravel())
        services = lognormal(rng, 2.0, len(arrivals)).clip(0, 8)
        world = World(slo=Slo(0.95, 10.0), start_delay=30.0)
        without = simulate(arrivals, services, RehearsedPolicy(), world)
        chosen = simulate(arrivals, services, RehearsedPolicy(settings=family_with("auto")), world)
        assert without.cost_standby == 0
        assert chosen.cost_standby > 0
        assert chosen.attainment >= 0.95
        spent += without.cost
        saved += without.cost - chosen.cost
    assert saved > 0.03 * spent


def test_calm_traffic_keeps_nobody_on_standby() -> None:
    rng = np.random.default_rng(1)
    arrivals = poisson(rng, 1.0, 6000.0)
    services = exponential(rng, 3.0, len(arrivals)).clip(0, 8)
    world = World(slo=Slo(0.95, 30.0), start_delay=10.0)
    outcome = simulate(arrivals, services, RehearsedPolicy(settings=family_with("auto")), world)
    assert outcome.cost_standby == 0
    assert outcome.attainment >= 0.95
