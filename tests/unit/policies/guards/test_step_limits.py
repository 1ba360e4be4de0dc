"""Step limits: how far one decision goes, and that nothing is ever stuck."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.analysis.decision import Decision
from upswell.policies.constant import ConstantPolicy
from upswell.policies.guarded import Guarded
from upswell.policies.guards.step_limits import StepLimits
from upswell.policies.registry import policy_for
from upswell.settings import Settings
from upswell.testing.snapshots import ordinary


@pytest.mark.parametrize(
    ("current", "wish", "decided"),
    [(4, 20, 8), (4, 8, 8), (1, 20, 2), (0, 20, 1), (20, 0, 15), (20, 16, 16), (2, 0, 1), (1, 0, 0)],
)
def test_one_decision_doubles_at_most_and_lets_a_quarter_go(current: int, wish: int, decided: int) -> None:
    policy = Guarded(ConstantPolicy(wish), StepLimits(2.0, 0.25))
    assert policy.decide(ordinary(current=current)).desired_workers == decided


def test_a_limited_step_says_which_setting_limited_it() -> None:
    out = Guarded(ConstantPolicy(20), StepLimits(2.0, 1.0)).decide(ordinary(current=4))
    assert out.reason.endswith("one decision goes from 4 to 8 at most (max_scale_out_factor 2)")
    back = Guarded(ConstantPolicy(0), StepLimits(0.0, 0.25)).decide(ordinary(current=20))
    assert back.reason.endswith("one decision goes from 20 to 15 at least (max_scale_in_share 0.25)")


@given(
    current=st.integers(0, 1000),
    wish=st.integers(0, 1000),
    factor=st.floats(0, 10),
    share=st.floats(0.001, 1),
)
def test_whatever_the_limits_the_wish_is_reached_in_the_end(
    current: int, wish: int, factor: float, share: float
) -> None:
    """At least one worker a decision: so many decisions are enough as there are workers between."""
    policy = Guarded(ConstantPolicy(wish), StepLimits(factor, share))
    for _ in range(abs(wish - current)):
        current = policy.decide(ordinary(current=current)).desired_workers
    assert current == wish


def test_the_defaults_limit_nothing() -> None:
    """The slo policy asks for what is needed; a step limit would only make it late."""
    settings = Settings(policy="constant", min_workers=100, max_workers=1000)
    assert policy_for(settings).decide(ordinary(current=1)).desired_workers == 100
    limited = Settings(policy="constant", min_workers=100, max_workers=1000, max_scale_out_factor=2.0)
    decision = policy_for(limited).decide(ordinary(current=1))
    assert decision.desired_workers == 100  # bounds have the last word
    assert "max_scale_out_factor 2" in decision.reason


def test_a_hold_is_no_step() -> None:
    class Holds:
        def decide(self, snapshot: object) -> Decision:
            return Decision.hold("holds", 7, "0 signals")

    assert Guarded(Holds(), StepLimits(2.0, 0.1)).decide(ordinary(current=7)).held
