"""The rehearsed policy on arrival processes drawn at random, and the shadows against the engine."""

from __future__ import annotations

from array import array
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from support.processes import PROCESSES, SERVICES, lognormal, poisson
from upswell.monitor.rehearsals import Rehearsals
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.staffing import FAMILY, FIRST, Family, Services, StaffingSetting
from upswell.settings import Settings, Slo
from upswell.simulator.choice import LATE, LATE_BEFORE, SPREAD
from upswell.simulator.engine import Simulation, simulate
from upswell.simulator.jobs import in_chunks
from upswell.simulator.rehearsal import Caution, Rehearsal
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.simulator.outcome import SimulatedOutcome

NEVER = Caution(gain=1.0)
"""Rehearse, but never change the setting."""


def test_a_shadow_costs_and_misses_what_the_real_fleet_does_under_the_same_setting() -> None:
    """One objective later it has seen the same uploads; arrivals are known to half an interval only."""
    rng = np.random.default_rng(3)
    arrivals = poisson(rng, 2.0, 3000.0)
    services = lognormal(rng, 3.0, len(arrivals)).clip(0, 50)
    world = World(slo=Slo(0.95, 60.0), start_delay=20.0, decision_interval=1.0, window=60.0)
    policy = RehearsedPolicy(1.0, caution=replace(NEVER, late_remembered=1e9))
    outcome = simulate(arrivals, services, policy, world)
    assert policy.stage is not None
    assert policy.stage.rehearsal is not None
    shadows = policy.stage.rehearsal.shadows
    assert shadows.count == pytest.approx(outcome.uploads, rel=0.05)
    assert shadows.cost[FIRST] == pytest.approx(outcome.cost, rel=0.05)
    assert shadows.late[FIRST] == pytest.approx(outcome.late, abs=0.005 * outcome.uploads)


def test_shadows_know_how_service_times_are_distributed_as_the_policy_does() -> None:
    """A few uploads hold most of the work here: by their mean alone a fleet would be far too large."""
    rng = np.random.default_rng(4)
    arrivals = poisson(rng, 0.2, 12_000.0)
    services = np.where(rng.random(len(arrivals)) < 0.1, 200.0, 0.5)
    world = World(slo=Slo(0.95, 240.0), start_delay=20.0)
    unfloored = FAMILY.index(StaffingSetting(0.1, foresight=False, beta=None, keep=1.0))
    policy = RehearsedPolicy(caution=replace(NEVER, late_remembered=1e9), first=unfloored)
    outcome = simulate(arrivals, services, policy, world)
    assert policy.stage is not None
    assert policy.stage.rehearsal is not None
    shadows = policy.stage.rehearsal.shadows
    assert shadows.count == pytest.approx(outcome.uploads, rel=0.05)
    cost = shadows.cost[unfloored] / shadows.count
    assert cost == pytest.approx(outcome.cost / outcome.uploads, rel=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.__name__)
def test_rehearsal_is_no_dearer_than_the_cautious_setting_and_keeps_the_objective(process) -> None:  # noqa: ANN001
    rng = np.random.default_rng(17)
    service = SERVICES[int(rng.integers(len(SERVICES)))]
    arrivals = process(rng, 0.8, 4000.0)
    services = service(rng, 5.0, len(arrivals)).clip(0, 50)
    world = World(slo=Slo(0.95, 60.0), start_delay=20.0)
    rehearsed = simulate(arrivals, services, RehearsedPolicy(), world)
    left_alone = simulate(arrivals, services, SloPolicy(), world)
    assert rehearsed.attainment >= 0.94
    assert rehearsed.cost <= 1.02 * left_alone.cost


def test_the_same_snapshots_give_the_same_decisions() -> None:
    rng = np.random.default_rng(5)
    arrivals = poisson(rng, 1.0, 1500.0)
    services = lognormal(rng, 5.0, len(arrivals)).clip(0, 50)
    world = World(slo=Slo(0.95, 60.0), start_delay=20.0)
    assert simulate(arrivals, services, RehearsedPolicy(), world) == simulate(
        arrivals, services, RehearsedPolicy(), world
    )


def test_a_change_of_setting_says_what_each_would_have_kept_and_cost() -> None:
    rng = np.random.default_rng(6)
    arrivals = poisson(rng, 1.0, 3000.0)
    services = lognormal(rng, 5.0, len(arrivals)).clip(0, 50)
    policy = RehearsedPolicy()
    simulation = Simulation(
        in_chunks(arrivals, services), policy, World(slo=Slo(0.95, 60.0), start_delay=20.0)
    )
    while not simulation.over:
        simulation.step()
    assert policy.policy.following != FIRST
    assert "uploads would have cost" in policy.policy.why
    assert "worker-hours" in policy.policy.why


def test_work_within_a_horizon_counts_a_long_upload_as_one_slot_and_a_short_one_by_its_time() -> None:
    services = Services()
    services.add([1.0] * 500 + [100.0] * 500)
    whole, remaining = services.within(np.array([10.0]), assumed=1.0)
    assert whole[0] == pytest.approx((1 + 10) / 2)
    # Of what is under way nearly all is a long upload's middle: it holds its slot for the whole horizon.
    assert remaining[0] == pytest.approx(9.4, abs=0.2)


def test_an_empty_system_wants_no_slots_and_more_uploads_never_want_fewer() -> None:
    family = Family(FAMILY, objective=30.0, start_delay=10.0)
    means = family.means(Services(), assumed=3.0)
    assert not family.slots(0, 0, 4, 0.0, means).any()
    before = family.slots(2, 0, 4, 1.5, means)
    for waiting in range(1, 200):
        now = family.slots(2, waiting, 4, 1.5, means)
        assert (now >= before).all()
        assert (now <= np.maximum(2 + waiting, family.slots(0, 0, 4, 1.5, means))).all()
        before = now


def test_shadows_pay_for_a_start_what_it_was_measured_to_cost() -> None:
    """2 s of a processor until a worker is ready, and as much again, told by the workers."""
    rng = np.random.default_rng(4)
    arrivals = poisson(rng, 1.0, 600.0)
    services = lognormal(rng, 5.0, len(arrivals)).clip(0, 50)
    world = World(slo=Slo(0.95, 30.0), start_delay=1.0)

    class Told(RehearsedPolicy):
        start_cpu: float | None = None

        def decide(self, snapshot: Snapshot) -> Decision:
            return super().decide(replace(snapshot, start_cpu=self.start_cpu))

    paid: list[tuple[float, float]] = []
    for measured, cpu in ((False, 2.0), (True, None), (True, 2.0)):
        policy = Told(start_cost=0.8)
        policy.start_cpu = cpu
        policy.policy = SloPolicy(2.0, start_cost=0.8, start_cost_measured=measured)
        simulate(arrivals, services, policy, world)
        assert policy.stage is not None
        assert policy.stage.rehearsal is not None
        family = policy.stage.rehearsal.family
        paid.append((family.start_cost, family.keep_seconds[FIRST] / FAMILY[FIRST].keep))
    # Workers are kept for what a start takes or costs, whichever is more.
    assert paid == [(0.8, 1.0), (0.8, 1.0), (4.0, 4.0)]


def test_nothing_is_kept_of_uploads_from_before_the_first_round_nor_of_those_rehearsed() -> None:
    rehearsal = Rehearsal(
        FAMILY, start_delay=10.0, objective=30.0, share=0.95, interval=2.0, slots=1, workers=1, max_workers=9
    )
    for number in range(1, 101):
        # In each round one upload of 1 s is reported, and one that began long before the first.
        now = 2.0 * number
        rehearsal.note(array("d", [now, 1, 1, 1, 0.5, 1.0, 10.0, 0.0, 1.0, now + 50.0, 1.0, 1.0]))
        rehearsal.advance()
    assert rehearsal.shadows.count == pytest.approx(100 - 30 / 2, abs=2)
    assert sum(map(len, rehearsal._uploads.values())) <= 2 * (30 / 2 + 1)


def test_an_unknown_depth_holds_and_is_not_rehearsed() -> None:
    rng = np.random.default_rng(8)
    arrivals = poisson(rng, 1.0, 100.0)
    simulation = Simulation(
        in_chunks(arrivals, lognormal(rng, 2.0, len(arrivals))), RehearsedPolicy(), World(slo=Slo(0.95, 60.0))
    )
    snapshot = simulation.observe()
    policy = RehearsedPolicy()
    assert policy.decide(replace(snapshot, messages_ready=None)).held
    assert policy.stage is None
    blind = policy.decide(replace(snapshot, messages_unacknowledged=None))
    assert blind.desired_workers >= snapshot.workers.desired


class AtOnce(Executor):
    """Does what is submitted before it returns."""

    def submit(self, fn, /, *args, **kwargs):  # noqa: ANN001, ANN002, ANN003, ANN201
        """Do it now."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_the_monitor_and_the_simulated_policy_choose_the_same_from_the_same_rounds() -> None:
    """Also with workers that stay, and where more run at the start than may."""
    rng = np.random.default_rng(4)
    arrivals = poisson(rng, 1.0, 1200.0)
    services = lognormal(rng, 5.0, len(arrivals)).clip(0, 50)
    settings = Settings(slo="95% < 30s", min_workers=2, max_workers=12)
    world = World(slo=settings.objective, start_delay=10.0, initial_workers=20, min_workers=2, max_workers=20)
    cost = settings.assumed_start_cost
    simulated = RehearsedPolicy(2.0, min_workers=2, max_workers=12, start_cost=cost)
    simulation = Simulation(in_chunks(arrivals, services), simulated, world)
    monitored = SloPolicy(2.0, start_cost=cost)
    rehearsals = Rehearsals(2.0, executor=AtOnce(), clock=lambda: 0.0)
    chosen: list[tuple[str, str]] = []
    while not simulation.over:
        snapshot = simulation.observe()
        decision = simulated.decide(snapshot)
        rehearsals.follow()
        assert monitored.decide(snapshot).desired_workers == decision.desired_workers
        rehearsals.note(monitored, settings, snapshot)
        rehearsals.work()
        chosen.append((simulated.policy.why, monitored.why))
        simulation.apply(decision.desired_workers)
    assert len({why for why, _ in chosen}) > 2
    # The monitor follows at the beginning of the next round what the simulated policy follows at once.
    assert [why for why, _ in chosen[:-1]] == [why for _, why in chosen[1:]]


def test_a_fleet_that_starts_at_once_follows_bursts_calmly() -> None:
    """The cautious first setting went from 4 workers to 21 and back to none within half a minute here."""
    rng = np.random.default_rng(11)
    bursts = [120 * number + rng.random(160) * 20 for number in range(6)]
    arrivals = np.sort(np.concatenate([*bursts, rng.random(144) * 720]))
    services = rng.exponential(2.0, len(arrivals)).clip(0.05, 20)
    world = World(slo=Slo(0.95, 30.0), start_delay=0.14, decision_interval=1.0, max_workers=50)

    def outcome(**options: Any) -> SimulatedOutcome:
        return simulate(arrivals, services, RehearsedPolicy(1.0, max_workers=50, **options), world)

    cautious, calm = outcome(caution=NEVER), outcome(start_cost=6.0)
    assert calm.attainment >= 0.95
    assert calm.cost < 0.9 * cautious.cost
    assert calm.starts < 0.6 * cautious.starts
    assert calm.scalings < 0.8 * cautious.scalings
    assert calm.peak_workers < 0.7 * cautious.peak_workers
    assert calm.starts < outcome().starts


def test_workers_are_kept_for_what_a_start_takes_or_costs_whichever_is_more() -> None:
    fast = Family(FAMILY, 30.0, 0.1, start_cost=2.0)
    assert fast.keep_seconds[FIRST] == 2.0 * FAMILY[FIRST].keep
    fast.set_start_delay(20.0)
    assert fast.keep_seconds[FIRST] == 20.0 * FAMILY[FIRST].keep


def test_where_storms_bring_what_is_late_a_dearer_setting_without_them_is_followed() -> None:
    """450 late of 500 allowed: sure to be few enough one by one, anything but sure in eleven storms."""
    rehearsal = Rehearsal(
        FAMILY[:2],
        start_delay=10.0,
        objective=30.0,
        share=0.95,
        interval=2.0,
        slots=1,
        workers=1,
        max_workers=9,
    )
    shadows = rehearsal.shadows
    shadows.count, shadows.seen = 10_000.0, 1_000.0
    rehearsal._really_late = 500.0
    shadows.cost[:] = 100.0, 105.0
    shadows.sums[[LATE, LATE_BEFORE, SPREAD]] = 450.0
    assert rehearsal.choose(1) == 0
    shadows.sums[SPREAD, 0] = 11 * (450 / 11) ** 2
    assert rehearsal.choose(0) == 1
