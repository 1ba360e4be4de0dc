"""What the monitor cannot see for a moment costs no workers: "unknown" is not zero, its return no arrival."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from support.bursts import WORLD, bursts
from upswell.simulator.engine import simulate
from upswell.simulator.rehearsed_policy import RehearsedPolicy


def test_the_default_policy_costs_the_same_where_signals_are_withheld_around_every_scaling() -> None:
    """It cost a quarter more, and its peak was twice as high, while what was hidden was read as zero."""
    load = bursts()
    told = simulate(*load, RehearsedPolicy(max_workers=30), WORLD)
    withheld = simulate(
        *load, RehearsedPolicy(max_workers=30), replace(WORLD, in_flight_told=False, late_reports=0.1)
    )
    assert withheld.cost == pytest.approx(told.cost, rel=0.1)
    assert withheld.attainment == pytest.approx(told.attainment, abs=0.01)
    assert withheld.peak_workers <= 1.25 * told.peak_workers
