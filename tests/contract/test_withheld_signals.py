"""Every policy decides about the same where the monitor does not see everything for a moment."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from contract.test_policy import TestPolicies as Policies
from support.bursts import WORLD, bursts
from upswell.policies.registry import REGISTRY, policy_for
from upswell.simulator.engine import simulate


@pytest.mark.parametrize("name", REGISTRY.names())
def test_policy_costs_the_same_where_signals_are_withheld_around_every_scaling(name: str) -> None:
    """What no status told of yet is not zero: neither workers nor lateness come from not knowing."""
    settings = Policies().settings_of(name, max_workers=30, slots=1)
    load = bursts()
    told = simulate(*load, policy_for(settings), WORLD)
    withheld = simulate(*load, policy_for(settings), replace(WORLD, in_flight_told=False))
    assert withheld.cost == pytest.approx(told.cost, rel=0.1)
    assert withheld.attainment == pytest.approx(told.attainment, abs=0.02)
