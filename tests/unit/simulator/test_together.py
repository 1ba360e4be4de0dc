from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from upswell.errors import SettingsError
from upswell.policies.peers.celery_autoscale import CeleryAutoscalePolicy
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.jobs import in_chunks
from upswell.simulator.plant import Plant
from upswell.simulator.together import Entrant, simulate_together

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


def test_never_do_all_together_want_more_than_the_limit() -> None:
    names = ("one", "other", "third")
    outcomes = simulate_together({name: entrant(seed)[2] for seed, name in enumerate(names)}, limit=7)
    # Those drained finish their uploads beyond the limit.
    assert sum(outcome.cost - outcome.cost_draining for outcome in outcomes.values()) <= 7 * 640


def test_under_a_limit_the_higher_priority_hardly_waits_and_the_lower_one_keeps_its_minimum() -> None:
    first, second = entrant(1)[2], entrant(2)[2]
    entrants = {
        "low": replace(first, plant=replace(PLANT, min_workers=1)),
        "high": replace(second, priority=1),
    }
    outcomes = simulate_together(entrants, limit=7)
    alone = simulate_together({"high": entrant(2)[2]}, limit=6)["high"]
    assert outcomes["high"].mean_waiting == pytest.approx(alone.mean_waiting, rel=0.2)
    assert outcomes["low"].mean_waiting > 3 * outcomes["high"].mean_waiting
    assert outcomes["low"].finished > 0


def test_a_limit_below_the_minimums_is_refused() -> None:
    _, _, one = entrant(1)
    greedy = replace(one, plant=replace(PLANT, min_workers=5))
    with pytest.raises(SettingsError, match="common limit"):
        simulate_together({"one": greedy}, limit=4)
