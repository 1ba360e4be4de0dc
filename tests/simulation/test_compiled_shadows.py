"""Compiled shadow fleets against those of numpy: the same numbers, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from support.processes import exponential, poisson
from upswell.policies.slo.staffing import FAMILY, Family
from upswell.settings import Slo
from upswell.simulator import choice, kernel, rehearsal
from upswell.simulator.compiled_shadows import CompiledShadows
from upswell.simulator.engine import simulate
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.shadows import Shadows
from upswell.simulator.world import World

INTERVAL = 4.0
STORM, SERVICE = 10.0, 5.0
MANY = 4 * kernel.SMALL / (STORM * SERVICE)
"""Uploads a second whose storms need far larger fleets than the kernel keeps in order."""


def both(standby: tuple[int, ...], **options: int) -> tuple[Shadows, Shadows]:
    """Return two stages of the whole family, each setting with another number on standby."""
    settings = tuple(
        replace(setting, standby=standby[number % len(standby)]) for number, setting in enumerate(FAMILY)
    )
    first, second = (
        kind(Family(settings, 60.0, 20.0), objective=60.0, interval=INTERVAL, **options)  # type: ignore[arg-type]
        for kind in (Shadows, CompiledShadows)
    )
    return first, second


@pytest.mark.parametrize("standby", [(0,), (0, 1, 3)])
@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("rate", [0.02, MANY])
@pytest.mark.parametrize("least", [0, 2])
@pytest.mark.parametrize("mixed", [False, True])
def test_both_count_the_same_through_storms_silences_and_other_start_up_delays(
    standby: tuple[int, ...], slots: int, rate: float, least: int, mixed: bool
) -> None:
    rng = np.random.default_rng(7)
    stages = both(standby, slots=slots, workers=max(1, least), min_workers=least, max_workers=300)
    means = np.array((np.linspace(4.0, 5.0, len(FAMILY)), np.linspace(3.0, 4.0, len(FAMILY))))
    for number in range(300):
        now = INTERVAL * (number + 1)
        weather = (1.0, STORM, 0.0)[number // 40 % 3]
        count = rng.poisson(rate * weather * INTERVAL)
        arrivals = np.sort(rng.uniform(now - INTERVAL, now, count))
        services = exponential(rng, SERVICE, count).clip(0, 70)
        start_delay = float(rng.uniform(1, 60))
        each, one_more = (float(size) for size in rng.uniform(1, 9, 2))
        for stage in stages:
            if mixed and number % 23 == 11:
                stage.set_slots(each, one_more)
            if number % 97 == 50:
                stage.set_start_delay(start_delay, INTERVAL)
            if number % 101 == 100:
                stage.forget_waiting()
            stage.advance(now, arrivals, services, rate * weather * SERVICE, means)
        for name in ("sums", "count", "seen"):
            numpy, compiled = (getattr(stage, name) for stage in stages)
            assert np.array_equal(numpy, compiled), f"{name} in interval {number}"
    assert stages[0].count > 0


@pytest.mark.parametrize("rows", [1, 2, 177, 178])
@pytest.mark.parametrize("count", [0.0, 900.0])
@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_both_choose_the_same(rows: int, count: float, exponent: float) -> None:
    rng = np.random.default_rng(5)
    for following in range(rows):
        sums = rng.lognormal(2.0, size=(5, rows))
        cost, late = rng.lognormal(0.1, 0.1, (2, rows))
        numbers = (count, 6.0, 0.01, rng.lognormal(2.0), 2.0, 1.0, exponent, 0.02)
        by_numpy = choice.best(sums, cost, late, following, *numbers)
        assert by_numpy == kernel.best(sums, cost, late, following, *numbers)


@pytest.mark.parametrize("slots", [1, 4])
def test_a_rehearsed_policy_decides_the_same_on_both(monkeypatch: pytest.MonkeyPatch, slots: int) -> None:
    rng = np.random.default_rng(3)
    arrivals = poisson(rng, 1.0, 2000.0)
    services = exponential(rng, 3.0, len(arrivals)).clip(0, 25)
    world = World(slo=Slo(0.95, 30.0), start_delay=10.0, slots=slots)
    compiled = simulate(arrivals, services, RehearsedPolicy(), world, keep_timeline=True)
    monkeypatch.setattr(rehearsal, "shadow_fleets", lambda: Shadows)
    assert compiled == simulate(arrivals, services, RehearsedPolicy(), world, keep_timeline=True)


def test_fleets_are_compiled_where_numba_is_there() -> None:
    assert rehearsal.shadow_fleets() is CompiledShadows
