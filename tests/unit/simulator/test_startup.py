"""What is billed, and who is called, when a fleet changes faster than its workers start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from support.script import Script
from upswell.analysis.decision import Decision
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.world import World

if TYPE_CHECKING:
    from random import Random

    from upswell.analysis.snapshot import Snapshot
    from upswell.simulator.outcome import SimulatedOutcome

WORLD = World(slo=Slo(0.95, 30.0), start_delay=5.0, decision_interval=1.0, window=10.0)
POOLS = pytest.mark.parametrize("slots", [1, 2])


def run(arrivals: list[float], services: list[float], policy: Any, world: World) -> SimulatedOutcome:
    return simulate(np.array(arrivals), np.array(services), policy, world)


@POOLS
def test_a_jump_up_and_down_is_billed_from_each_request_to_each_calling_off(slots: int) -> None:
    world = replace(WORLD, slots=slots, initial_workers=50, start_delay=30.0)
    # 59 are asked for at 1 and called off at 2, one second each; 8 of the 50 leave then, idle, after two.
    outcome = run([0.0, 20.0], [0.1, 0.1], Script(109, 42, 42), world)
    assert outcome.starts == 59
    assert outcome.cost_starting == pytest.approx(59.0)
    end = outcome.cost - 59.0 - 8 * 2.0
    assert end / 42 == pytest.approx(21.0)


@POOLS
def test_a_worker_called_off_pays_for_leaving_like_any_other(slots: int) -> None:
    world = replace(WORLD, slots=slots)
    without = run([0.0, 20.0], [0.1, 0.1], Script(4, 1), world)
    outcome = run([0.0, 20.0], [0.1, 0.1], Script(4, 1), replace(world, stop_delay=2.0))
    assert outcome.cost == pytest.approx(without.cost + 3 * 2.0)


@POOLS
def test_the_youngest_is_called_off_not_the_one_that_would_be_ready_last(slots: int) -> None:
    delays = iter([9.0, 3.0])  # asked for first, ready last: nobody can know

    def delay(_rng: Random) -> float:
        return next(delays)

    policy = Script(1, 2, 1)
    outcome = run([0.0], [1.0], policy, replace(WORLD, slots=slots, initial_workers=0, start_delay=delay))
    assert outcome.cost_starting == pytest.approx(9.0 + 1.0)
    assert outcome.maximum == pytest.approx(1.0 + 9.0 + 1.0)


@POOLS
def test_start_up_delays_are_drawn_and_the_newest_ten_are_measured(slots: int) -> None:
    def delay(rng: Random) -> float:
        return rng.choice([2.0, 6.0])

    policy = Script(*range(1, 40))
    run([0.0, 60.0], [0.1, 0.1], policy, replace(WORLD, slots=slots, start_delay=delay))
    measured = [snapshot.start_delay for snapshot in policy.seen]
    assert measured[0] is None
    assert {round(value * 10) % 2 for value in measured[20:] if value} == {0}  # of ten twos and sixes
    assert policy.seen[-1].totals is not None
    assert 38 * 2.0 <= policy.seen[-1].totals.start_seconds <= 38 * 6.0


@POOLS
def test_a_zero_start_up_delay_serves_at_the_decision(slots: int) -> None:
    outcome = run([0.5], [1.0], Script(1), replace(WORLD, slots=slots, initial_workers=0, start_delay=0.0))
    assert outcome.maximum == pytest.approx(1.5)
    assert outcome.cost_starting == 0.0


@POOLS
def test_standby_workers_serve_at_once_and_are_replaced(slots: int) -> None:
    world = replace(WORLD, slots=slots, standby_workers=1)
    policy = Script(2)
    outcome = run([0.0] * slots + [0.1], [3.0] * (slots + 1), policy, world)
    assert outcome.maximum < 4.0
    assert outcome.starts == 1
    assert outcome.cost_standby == pytest.approx(1.0)  # it stood by until the decision at 1
    assert [snapshot.workers.standby for snapshot in policy.seen[:3]] == [1, 0, 0]


@POOLS
def test_a_standby_worker_that_is_still_coming_is_nearer_than_a_new_one(slots: int) -> None:
    world = replace(WORLD, slots=slots, standby_workers=1, initial_workers=0, start_delay=10.0)
    # At 1 the one that stands by is called, and its successor asked for; at 2 that successor is called.
    policy = Script(1, 2)
    run([0.0, 30.0], [0.1, 0.1], policy, world)
    ready = [(snapshot.at, snapshot.workers.ready) for snapshot in policy.seen]
    assert next(at for at, count in ready if count == 2) == 12.0  # asked for at 1, not at 2


@POOLS
def test_standby_is_billed_and_the_parts_add_up(slots: int) -> None:
    rng = np.random.default_rng(6)
    arrivals = np.sort(rng.uniform(0, 300, 200))
    wishes = [int(wish) for wish in rng.integers(0, 6, 300)]
    world = replace(WORLD, slots=slots, standby_workers=2, stop_delay=0.5)
    outcome = simulate(arrivals, rng.exponential(4.0, 200), Script(*wishes, 2), world)
    parts = (
        outcome.cost_starting
        + outcome.cost_busy
        + outcome.cost_idle
        + outcome.cost_standby
        + outcome.cost_draining
    )
    assert outcome.cost == pytest.approx(parts)
    assert outcome.cost_standby > 0


@POOLS
def test_the_start_up_of_the_initial_workers_can_be_known_from_the_beginning(slots: int) -> None:
    policy = Script(1)
    world = replace(WORLD, slots=slots, initial_measured=True)
    outcome = run([0.0], [1.5], policy, world)
    assert {snapshot.start_delay for snapshot in policy.seen} == {5.0}
    assert (outcome.starts, outcome.cost_starting) == (0, 0.0)


class StandBy:
    """One worker throughout, and so many on standby from each decision on; the last number stays."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = list(numbers)

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the next."""
        number = self._numbers.pop(0) if len(self._numbers) > 1 else self._numbers[0]
        return Decision.of("test", snapshot.workers.desired, 1, "so").with_standby(number)


@POOLS
def test_who_stands_by_is_billed_from_the_request_until_fewer_are_wanted(slots: int) -> None:
    world = replace(WORLD, slots=slots)
    without = run([0.0, 20.0], [0.1, 0.1], StandBy(0), world)
    # Asked for at 1, ready at 6, gone at 9; the third is called off after a second.
    outcome = run([0.0, 20.0], [0.1, 0.1], StandBy(2, 2, 3, 2, 2, 2, 2, 2, 0), world)
    assert outcome.cost_starting == pytest.approx(2 * 5.0 + 1.0)
    assert outcome.cost_standby == pytest.approx(2 * 3.0)
    assert outcome.cost == pytest.approx(without.cost + 17.0)


@POOLS
def test_who_stands_by_begins_at_once(slots: int) -> None:
    class Burst:
        def decide(self, snapshot: Snapshot) -> Decision:
            """Want a worker for each upload, beside two on standby."""
            wanted = 3 if snapshot.at > 10 else 1
            return Decision.of("test", snapshot.workers.desired, wanted, "so").with_standby(2)

    arrivals, services = [0.0, *([10.5] * 3 * slots)], [0.1, *([3.0] * 3 * slots)]
    outcome = run(arrivals, services, Burst(), replace(WORLD, slots=slots))
    assert outcome.maximum == pytest.approx(3.5, abs=0.01)
