"""Workers on standby whose number `slo` chooses: the family, the decision, and what guards leave of it."""

from __future__ import annotations

import pytest

from upswell.errors import SettingsError
from upswell.policies.registry import policy_for
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.staffing import FAMILY, STANDBY_LEVELS, family_with
from upswell.settings import Settings
from upswell.settings.applications import checked
from upswell.testing.snapshots import ordinary


def test_a_fixed_number_is_that_of_every_setting_and_auto_adds_settings_with_some() -> None:
    assert family_with(0) is FAMILY
    assert {setting.standby for setting in family_with(3)} == {3}
    assert family_with("auto")[: len(FAMILY)] == FAMILY
    assert {setting.standby for setting in family_with("auto")} == {0, *STANDBY_LEVELS}


def following(standby: int) -> SloPolicy:
    policy = SloPolicy(settings=family_with("auto"))
    index = next(i for i, setting in enumerate(policy.settings) if setting.standby == standby)
    policy.follow(index, "it did best")
    return policy


def test_the_setting_followed_says_how_many_stand_by_in_a_step_of_its_own() -> None:
    decision = following(4).decide(ordinary(current=2))
    assert decision.standby_workers == 4
    assert decision.reason.endswith("4 workers on standby besides, for bursts within a start-up")
    assert decision.desired_workers == decision.steps[-1].after


def test_none_is_said_to_stand_by_where_none_does_and_nothing_at_all_where_the_number_is_fixed() -> None:
    decision = following(0).decide(ordinary(current=2))
    assert decision.standby_workers == 0
    assert "standby" not in decision.reason
    assert SloPolicy().decide(ordinary(current=2)).standby_workers is None


def test_a_hold_keeps_those_that_stand_by() -> None:
    decision = following(4).decide(ordinary(current=2, messages_ready=None))
    assert decision.held
    assert decision.standby_workers == 4


def test_no_guard_forgets_the_number() -> None:
    guarded = policy_for(Settings(standby_workers="auto", max_workers=3))
    assert guarded.decide(ordinary(current=9)).standby_workers == 0


def test_only_slo_chooses_a_number() -> None:
    with pytest.raises(SettingsError, match=r'standby_workers = "auto" needs policy = "slo"'):
        checked({"standby_workers": "auto", "policy": "keda"})
    assert checked({"standby_workers": "auto"}).fixed_standby == 0
