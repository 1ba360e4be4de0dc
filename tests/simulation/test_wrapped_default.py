"""What the monitor runs, the default policy in its wrappers, is what `compare` scores bare."""

from __future__ import annotations

import numpy as np
import pytest

from support.processes import lognormal, on_off, poisson
from upswell.policies.registry import guarded
from upswell.settings import Settings, Slo
from upswell.simulator.engine import simulate
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World

WORLD = World(slo=Slo(0.95, 60.0), start_delay=20.0, max_workers=200)


@pytest.mark.parametrize("process", [poisson, on_off], ids=lambda process: process.__name__)
def test_the_wrappers_that_stand_around_slo_by_default_cost_nothing(process) -> None:  # noqa: ANN001
    rng = np.random.default_rng(23)
    arrivals = process(rng, 1.0, 3000.0)
    services = lognormal(rng, 5.0, len(arrivals)).clip(0, 50)
    settings = Settings(slo="95% < 60s", min_workers=0, max_workers=200, slots=1)
    inside = guarded(RehearsedPolicy(max_workers=200), settings)
    alone = simulate(arrivals, services, RehearsedPolicy(max_workers=200), WORLD)
    around = simulate(arrivals, services, inside, WORLD)
    assert around.cost <= 1.01 * alone.cost
    assert around.attainment >= alone.attainment - 0.002


def test_a_minute_of_stabilisation_around_slo_costs_more() -> None:
    """Why it is left out: the shadows know nothing of it."""
    rng = np.random.default_rng(23)
    arrivals = on_off(rng, 1.0, 3000.0)
    services = lognormal(rng, 5.0, len(arrivals)).clip(0, 50)
    settings = Settings(slo="95% < 60s", min_workers=0, max_workers=200, slots=1, stabilization_window=60.0)
    alone = simulate(arrivals, services, RehearsedPolicy(max_workers=200), WORLD)
    around = simulate(arrivals, services, guarded(RehearsedPolicy(max_workers=200), settings), WORLD)
    assert around.cost > 1.02 * alone.cost
