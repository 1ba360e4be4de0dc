"""A policy under a platform's quota in virtual time: it settles at the ceiling, and goes on when it rises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.virtual_plant import VirtualPlant
from upswell.policies.registry import bare_policy, guarded
from upswell.settings import Settings

if TYPE_CHECKING:
    import random


def steady(_: random.Random) -> float:
    return 2.0


def test_at_a_quota_the_number_stands_still_and_rises_with_it() -> None:
    settings = Settings(max_workers=40)
    policy = guarded(bare_policy(settings), settings)
    plant = VirtualPlant(policy, arrivals=lambda at: 12.0 if at > 90 else 2.0, draw=steady, workers=2)
    plant.run(80)
    plant.room = 4
    plant.run(120)
    assert plant.decision is not None
    assert set(plant.history[-40:]) == {4}
    assert plant.decision.alarms == ("fleet_full",)
    assert "limited to 4: the platform refuses more (exceeded quota)" in plant.decision.reason
    assert plant.ready == 4
    plant.room = None
    plant.run(10)
    assert plant.desired > 4
    assert "fleet_full" not in plant.decision.alarms
    plant.run(200)
    assert plant.ready >= 6
    assert not plant.decision.alarms
