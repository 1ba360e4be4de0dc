"""Shadow fleets against the engine, and what they remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from support.processes import exponential, poisson
from upswell.policies.slo.slo import Signals, SloPolicy
from upswell.policies.slo.staffing import Family, Floats, Services, StaffingSetting
from upswell.settings import Slo
from upswell.simulator.choice import LATE_BEFORE, SPREAD
from upswell.simulator.engine import simulate
from upswell.simulator.shadows import Shadows
from upswell.simulator.world import World

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.simulator.outcome import SimulatedOutcome

SETTING = StaffingSetting(0.2, foresight=False, beta=0.0, keep=3.0)
NOTHING = np.empty(0)


def shadows(**changes: float) -> Shadows:
    return Shadows(Family((SETTING,), 60.0, 10.0), objective=60.0, interval=2.0, **changes)  # type: ignore[arg-type]


LOAD, MEANS = 0.0, np.array([[4.5], [4.0]])
"""What is known of service times of 5 s, more or less."""


def test_an_upload_that_finds_an_idle_slot_is_in_time_and_one_that_runs_too_long_is_late() -> None:
    stage = shadows(episodes=1e9)
    stage.advance(2.0, np.array([1.0]), np.array([5.0]), LOAD, MEANS)
    stage.advance(22.0, np.array([21.0]), np.array([61.0]), LOAD, MEANS)
    assert stage.late[0] == 1
    assert stage.count == pytest.approx(2.0)


def test_many_uploads_in_one_episode_make_nothing_else_forgotten() -> None:
    """By uploads alone, 10,000 in two seconds would leave of the past 1/e."""
    stage = shadows(memory=10_000, episode=60.0, episodes=100.0)
    stage.advance(2.0, np.array([1.0]), np.array([61.0]), LOAD, MEANS)
    stage.advance(4.0, np.full(10_000, 3.0), np.full(10_000, 0.001), LOAD, MEANS)
    assert stage.late[0] >= np.exp(-2 / 6000) - 1e-9


def test_few_uploads_over_a_long_time_are_remembered_by_their_number() -> None:
    stage = shadows(memory=10_000, episode=60.0, episodes=100.0)
    for number in range(1, 101):
        stage.advance(2.0 * number, np.array([2.0 * number - 1]), np.array([0.1]), LOAD, MEANS)
        for silent in range(50):
            stage.advance(2.0 * number + silent, NOTHING, NOTHING, LOAD, MEANS)
    assert stage.count > 99


def variance(stage: Shadows) -> Floats:
    """Return the squares of what was late in each episode, added up, the present one's too."""
    return stage.sums[SPREAD] + (stage.late - stage.sums[LATE_BEFORE]) ** 2


def test_late_uploads_of_one_episode_vary_together_and_others_do_not() -> None:
    fleets = {"workers": 20, "min_workers": 20, "memory": 1e12, "episode": 60.0, "episodes": 1e12}
    storm, calm = shadows(**fleets), shadows(**fleets)
    for number in range(1, 11):
        now = 100.0 * number
        for stage, late in ((storm, 6 * (number == 5)), (calm, 3 < number < 10)):
            services = np.array([61.0] * late + [0.1])  # those that are late take too long
            stage.advance(now, np.full(len(services), now - 1), services, LOAD, MEANS)
            for pause in range(2, 100, 2):
                stage.advance(now + pause, NOTHING, NOTHING, LOAD, MEANS)
    assert [storm.late[0], calm.late[0]] == pytest.approx([6, 6])
    assert variance(storm)[0] == pytest.approx(36)
    assert variance(calm)[0] == pytest.approx(6)


def test_a_silence_is_the_evidence_of_one_episode() -> None:
    stage = shadows()
    stage.advance(2.0, np.array([1.0]), np.array([0.1]), LOAD, MEANS)
    before = stage.seen
    for number in range(2, 1000):
        stage.advance(2.0 * number, NOTHING, NOTHING, LOAD, MEANS)
    stage.advance(2000.0, np.array([1999.0]), np.array([0.1]), LOAD, MEANS)
    assert before < 0.1
    assert 0.9 < stage.seen <= 1.1


def both(world: World, arrivals: Floats, services: Floats) -> tuple[SimulatedOutcome, Shadows]:
    """Let the engine and a shadow serve the same uploads, told the same at the same instants."""
    policy = SloPolicy(2.0, (SETTING,), 0)
    seen: list[tuple[Snapshot, Signals]] = []

    class Noted:
        def decide(self, snapshot: Snapshot) -> Decision:
            decision = policy.decide(snapshot)
            assert policy.signals is not None
            seen.append((snapshot, policy.signals))
            return decision

    outcome = simulate(arrivals, services, Noted(), world)
    objective, workers = world.slo.seconds, world.initial_workers
    family, known = Family((SETTING,), objective, seen[0][1].start_delay), Services()
    stage = Shadows(
        family,
        objective=objective,
        interval=2.0,
        slots=seen[0][0].slots_each,
        workers=workers,
        min_workers=world.min_workers,
        memory=1e12,
        episodes=1e12,
    )
    begin = np.floor(arrivals[0])
    for number, (snapshot, told) in enumerate(seen):
        if told.start_delay != family.start_delay:
            stage.set_start_delay(told.start_delay, 2.0)
        stage.set_slots(snapshot.slots_each, snapshot.slots_of_one_more)
        known.add(snapshot.recent_service_times)
        means = family.means(known, told.mean)
        since, until = begin + 2.0 * number, begin + 2.0 * (number + 1)
        now = (arrivals > since) & (arrivals <= until) if number else arrivals <= until
        stage.advance(until, arrivals[now], services[now], told.load, means)
    return outcome, stage


@pytest.mark.parametrize(("slots", "least"), [(1, 0.97), (4, 0.8)])
def test_a_shadow_costs_what_the_engine_does_where_start_up_takes_no_time(slots: int, least: float) -> None:
    """Told the same arrivals at the same instants, both serve them alike.

    With several slots a shadow is up to a fifth too cheap: it knows slots, not on which worker each upload
    runs, and lets one go as soon as so many slots are idle.
    """
    rng = np.random.default_rng(3)
    arrivals = poisson(rng, 2.0, 1000.0)
    services = exponential(rng, 3.0, len(arrivals)).clip(0, 50)
    world = World(slo=Slo(0.95, 60.0), start_delay=0.0, slots=slots)
    outcome, stage = both(world, arrivals, services)
    assert least * outcome.cost <= stage.cost[0] <= 1.03 * outcome.cost
    assert stage.late[0] == pytest.approx(outcome.late, abs=2)


def test_a_shadow_of_a_mixed_fleet_costs_and_misses_what_the_engine_does() -> None:
    """Every other worker has two slots, the rest one. By the average rounded down it would be 1.4 as dear."""
    rng = np.random.default_rng(5)
    arrivals = bursts(rng, 30, 200.0, 40.0, 200.0)
    services = exponential(rng, 3.0, len(arrivals)).clip(0, 15)
    world = World(slo=Slo(0.95, 20.0), start_delay=8.0, slots_of=lambda number: 1 + number % 2, min_workers=1)
    outcome, stage = both(world, arrivals, services)
    assert stage.cost[0] == pytest.approx(outcome.cost, rel=0.06)
    assert stage.late[0] == pytest.approx(outcome.late, abs=5)


def bursts(rng: np.random.Generator, count: int, size: float, seconds: float, pause: float) -> Floats:
    """Return the arrivals of bursts, and of a trickle between."""
    begins = np.repeat(np.arange(count) * pause, rng.poisson(size, count))
    burst = begins + rng.uniform(0, seconds, len(begins))
    return np.sort(np.concatenate((burst, rng.uniform(0, count * pause, int(count * pause / 10)))))
