"""Slots, crashes, redelivery and a shared bottleneck."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from support.script import Script
from upswell.policies.constant import ConstantPolicy
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.world import World

if TYPE_CHECKING:
    from random import Random


WORLD = World(slo=Slo(0.95, 30.0), start_delay=5.0, decision_interval=1.0, window=10.0)


def crashing(monkeypatch: pytest.MonkeyPatch, *lives: float) -> None:
    """Let the workers live so long, one after the other, and the rest for ever."""
    left = iter(lives)

    def life(_rng: Random, _rate: float) -> float:
        return next(left, 1e9)

    monkeypatch.setattr("random.Random.expovariate", life)


def test_the_idlest_leaves_and_of_equals_the_youngest() -> None:
    # Two workers of two slots: the first gets two uploads, the second one; the second leaves at 2.
    policy = Script(2, 1)
    world = replace(WORLD, slots=2, initial_workers=2)
    outcome = simulate(np.array([0.0, 0.0, 0.1]), np.array([6.0, 6.0, 4.0]), policy, world)
    assert outcome.cost_draining == pytest.approx(4.1 - 2.0)
    assert outcome.finished == 3


def test_workers_of_other_sizes_are_told_apart_from_what_a_new_one_brings() -> None:
    # The first has one slot, the others three: four uploads run at once as soon as the second is ready.
    policy = Script(2)
    world = replace(WORLD, slots_of=lambda number: 1 if number == 1 else 3)
    outcome = simulate(np.zeros(4), np.full(4, 10.0), policy, world)
    # the second is asked for at 1 and ready at 6
    assert outcome.maximum == pytest.approx(16.0)
    told = [(seen.slots, seen.slots_of_new) for seen in policy.seen]
    assert told[0] == (1, 1.0)
    assert (4, 2.0) in told


def test_a_drained_worker_finishes_all_its_uploads_and_takes_no_more() -> None:
    policy = Script(0)
    world = replace(WORLD, slots=2)
    outcome = simulate(np.array([0.0, 0.1, 0.2]), np.array([4.0, 6.0, 1.0]), policy, world)
    assert outcome.finished == 2  # the third never got a worker
    assert outcome.cost_draining == pytest.approx(6.1 - 1.0)


def test_a_crashed_workers_uploads_come_back_first_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    crashing(monkeypatch, 3.0)
    policy = Script(1)
    world = replace(WORLD, slots=2, start_delay=1.0, mean_time_between_crashes=1.0)
    outcome = simulate(np.array([0.0, 0.5, 1.0]), np.array([10.0, 10.0, 2.0]), policy, world)
    # Crashed at 3, replaced from the decision at 3 on, ready at 4: the first two again, then the third at 14.
    assert outcome.redelivered == 2
    assert outcome.maximum == pytest.approx(14.0 + 2.0 - 1.0)
    assert sorted(sum((snapshot.recent_response_times for snapshot in policy.seen), ())) == pytest.approx(
        [13.5, 14.0, 15.0]
    )


def test_a_crash_ends_the_bill_and_costs_no_service_time(monkeypatch: pytest.MonkeyPatch) -> None:
    crashing(monkeypatch, 3.0)
    world = replace(WORLD, slots=2, start_delay=1.0, mean_time_between_crashes=1.0)
    outcome = simulate(np.array([0.0]), np.array([9.5]), Script(1), world)
    # 3 s of the first; the second from 3 to the decision at 14 that sees the end, of which one was start-up.
    assert outcome.cost == pytest.approx(3.0 + 11.0)
    assert outcome.cost_busy == pytest.approx(3.0 + 9.5)
    assert outcome.cost_starting == pytest.approx(1.0)


def test_a_draining_worker_may_crash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    crashing(monkeypatch, 3.0)
    world = replace(WORLD, slots=2, start_delay=1.0, mean_time_between_crashes=1.0)
    outcome = simulate(np.array([0.0]), np.array([10.0]), Script(0, 0, 0, 1), world)
    assert outcome.redelivered == 1
    assert outcome.cost_draining == pytest.approx(2.0)
    assert outcome.maximum == pytest.approx(4.0 + 1.0 + 10.0)


def test_an_upload_is_dead_after_the_delivery_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    crashing(monkeypatch, 2.0, 2.0)
    world = replace(WORLD, slots=2, start_delay=0.0, mean_time_between_crashes=1.0, delivery_limit=2)
    policy = Script(1)
    outcome = simulate(np.array([0.0, 0.0]), np.array([9.0, 1.0]), policy, world)
    assert (outcome.finished, outcome.redelivered, outcome.dead, outcome.late) == (1, 2, 1, 1)
    assert policy.seen[-1].queue_depth == 0


def test_a_bottleneck_shows_in_the_reported_service_times() -> None:
    policy = Script(2)
    world = replace(WORLD, slots=2, initial_workers=2, slow_down=float)
    simulate(np.array([0.0, 0.0, 0.0, 9.0]), np.array([1.0, 1.0, 1.0, 1.0]), policy, world)
    told = sum((snapshot.recent_service_times for snapshot in policy.seen), ())
    assert told == (1.0, 2.0, 3.0, 1.0)  # one ran, then two, then three


@pytest.mark.parametrize("slots", [2, 4])
def test_a_fixed_fleet_with_slots_is_swept_as_if_it_were_asked_every_time(slots: int) -> None:
    rng = np.random.default_rng(12)
    arrivals, services = np.cumsum(rng.exponential(0.2, 3000)), rng.exponential(1.4, 3000)
    world = replace(WORLD, slots=slots, initial_workers=2)
    asked: Any = simulate(arrivals, services, Script(4), world)
    swept: Any = simulate(arrivals, services, ConstantPolicy(4), world)
    assert (swept.late, swept.finished, swept.p99) == (asked.late, asked.finished, asked.p99)
    assert swept.cost == pytest.approx(asked.cost, rel=0.01)
    assert swept.cost_busy == pytest.approx(asked.cost_busy)
    assert swept.cost_starting == asked.cost_starting
