"""The table of policies."""

from __future__ import annotations

import pytest

from support.snapshots import ordinary
from upswell.errors import SettingsError
from upswell.policies.table import policy_for
from upswell.settings import Settings


def test_an_unknown_policy_lists_the_known_ones_and_suggests_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        policy_for(Settings(policy="treshold"), "e123456")
    assert str(caught.value) == (
        "policy of e123456 must be one of slo, slo_formula, threshold, elasticity_control, constant, "
        "got 'treshold'; did you mean threshold?"
    )


def test_a_policy_comes_inside_bounds_tolerance_and_stabilisation() -> None:
    policy = policy_for(Settings(policy="slo", max_workers=5), "e123456")
    decision = policy.decide(ordinary(messages_ready=1000))
    assert decision.desired_workers == 5
    assert "max_workers is 5" in decision.reason
