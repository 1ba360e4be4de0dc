from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from support.script import Script
from upswell.errors import SettingsError, TraceError
from upswell.policies.constant import ConstantPolicy
from upswell.settings import Slo
from upswell.simulator.engine import Simulation, simulate, simulate_chunks
from upswell.simulator.jobs import in_chunks
from upswell.simulator.world import World

if TYPE_CHECKING:
    from random import Random

    from upswell.simulator.outcome import SimulatedOutcome

WORLD = World(slo=Slo(0.95, 30.0), start_delay=5.0, decision_interval=1.0, window=10.0)


def run(arrivals: Any, services: Any, policy: Any, world: World = WORLD) -> SimulatedOutcome:
    return simulate(np.array(arrivals, float), np.array(services, float), policy, world)


def test_a_worker_is_billed_from_its_request_and_serves_after_the_start_up_delay() -> None:
    world = replace(WORLD, initial_workers=0)
    outcome = run([0.5], [3.0], Script(1), world)
    # Asked for at 1, ready at 6, done at 9; the run ends at the decision that sees it.
    assert outcome.maximum == pytest.approx(8.5)
    assert outcome.cost_starting == 5.0
    assert outcome.cost == pytest.approx(8.0 + 1.0, abs=1.0)
    assert outcome.starts == 1


def test_a_busy_worker_that_is_sent_away_finishes_its_upload_and_is_billed_until_then() -> None:
    policy = Script(0)
    outcome = run([0.0], [4.5], policy)
    assert outcome.finished == 1
    assert outcome.cost == pytest.approx(4.5)
    assert outcome.cost_draining == pytest.approx(3.5)
    assert policy.seen[1].workers.draining == 1


@pytest.mark.parametrize("slots", [1, 2])
def test_a_worker_that_leaves_is_billed_for_the_seconds_that_leaving_takes(slots: int) -> None:
    quick = replace(WORLD, slots=slots, initial_workers=2)
    slow = replace(quick, stop_delay=1.5)
    arrivals, services, wanted = [0.0, 0.0, 0.1, 9.0], [4.5, 4.5, 1.0, 0.1], (2, 1)
    without = run(arrivals, services, Script(*wanted), quick)
    outcome = run(arrivals, services, Script(*wanted), slow)
    assert outcome.cost == pytest.approx(without.cost + 1.5)
    assert outcome.cost_draining == pytest.approx(without.cost_draining + 1.5)
    assert outcome.cost_busy == pytest.approx(without.cost_busy)
    assert outcome.late == without.late


def test_leaving_is_not_billed_beyond_the_end_of_the_run() -> None:
    world = replace(WORLD, stop_delay=100.0)
    outcome = run([0.0], [4.5], Script(0), world)
    assert outcome.cost == pytest.approx(5.0)  # drained at 1, done at 4.5, and the run ends at 5


def test_starting_workers_are_called_off_before_any_other_is_sent_away() -> None:
    policy = Script(3, 1, 1)
    outcome = run([0.0, 9.0], [8.0, 0.1], policy)
    assert {snapshot.workers.ready for snapshot in policy.seen} == {1}
    assert outcome.starts == 2
    assert outcome.cost_starting == pytest.approx(2.0)
    assert outcome.cost_draining == 0


def test_snapshot_tells_depths_apart_and_nothing_of_waiting_uploads() -> None:
    policy = Script(1)
    run([0.0, 0.2, 0.3], [2.5, 2.5, 2.5], policy)
    first = policy.seen[0]
    assert (first.messages_ready, first.messages_unacknowledged) == (2, 1)
    assert first.service_time is None
    assert first.arrival_rate == pytest.approx(0.3)
    assert first.oldest_age == 1.0  # the queue was last seen empty when it all began
    third = policy.seen[2]
    assert third.recent_response_times == (2.5,)
    assert third.recent_service_times == (2.5,)
    assert third.service_time.p95 == 2.5


def test_standby_workers_serve_at_once_and_are_replaced() -> None:
    world = replace(WORLD, standby_workers=1)
    outcome = run([0.0, 0.1], [3.0, 3.0], Script(2), world)
    assert outcome.maximum < 4.0
    assert outcome.starts == 1
    assert outcome.cost_standby > 0


def test_reports_come_late_and_may_be_lost() -> None:
    late, lossy = Script(1), Script(1)
    run([0.0], [0.5], late, replace(WORLD, report_lag=2.0))
    rng = np.random.default_rng(1)
    arrivals = np.sort(rng.uniform(0, 2000, 1000))
    outcome = run(arrivals, [0.1] * 1000, lossy, replace(WORLD, report_loss=0.5))
    told = sum(len(snapshot.recent_response_times) for snapshot in lossy.seen)
    assert not late.seen[0].recent_response_times
    assert 400 < told < 600
    assert outcome.finished == 1000


def test_two_slots_serve_two_uploads_at_once() -> None:
    policy = Script(1)
    outcome = run([0.0, 0.0, 0.0], [4.0, 4.0, 4.0], policy, replace(WORLD, slots=2))
    assert outcome.maximum == pytest.approx(8.0)
    assert (policy.seen[0].workers.busy, policy.seen[0].messages_unacknowledged) == (1, 2)


def test_slotted_pool_serves_one_slot_exactly_as_the_fast_pool_does() -> None:
    rng = np.random.default_rng(11)
    arrivals, services = np.cumsum(rng.exponential(0.5, 2000)), rng.exponential(1.0, 2000)
    wishes = [int(wish) for wish in rng.integers(1, 6, 1500)]
    # Scale-out only, so that no victim is drawn at random.
    wishes = list(np.maximum.accumulate(wishes))
    fast = run(arrivals, services, Script(*wishes))
    followed = run(arrivals, services, Script(*wishes), replace(WORLD, slow_down=lambda _busy: 1.0))
    assert followed.mean_waiting == pytest.approx(fast.mean_waiting)
    assert followed.cost == pytest.approx(fast.cost)
    assert followed.late == fast.late


def test_a_crashed_workers_upload_is_redelivered_and_its_place_filled() -> None:
    rng = np.random.default_rng(4)
    arrivals = np.sort(rng.uniform(0, 3000, 300))
    world = replace(WORLD, mean_time_between_crashes=50.0, initial_workers=2, delivery_limit=50)
    outcome = run(arrivals, [5.0] * 300, Script(2), world)
    assert outcome.redelivered > 0
    assert outcome.finished == 300
    assert outcome.starts > 20


def test_an_upload_is_dead_after_the_delivery_limit_and_counts_as_late() -> None:
    world = replace(WORLD, mean_time_between_crashes=2.0, delivery_limit=2, start_delay=0.1)
    outcome = run([0.0], [1000.0], Script(1), world)
    assert (outcome.dead, outcome.late) == (1, 1)


def test_a_shared_bottleneck_makes_every_upload_slower() -> None:
    world = replace(WORLD, initial_workers=4, slow_down=float)
    outcome = run([0.0, 0.0], [1.0, 1.0], Script(4), world)
    assert outcome.maximum == pytest.approx(2.0)


def test_a_constant_policy_is_swept_and_gives_the_same_as_being_asked_every_time() -> None:
    rng = np.random.default_rng(12)
    arrivals, services = np.cumsum(rng.exponential(0.5, 3000)), rng.exponential(1.4, 3000)
    asked, swept = run(arrivals, services, Script(4)), run(arrivals, services, ConstantPolicy(4))
    assert (swept.late, swept.finished, swept.p99) == (asked.late, asked.finished, asked.p99)
    assert swept.mean_waiting == pytest.approx(asked.mean_waiting)
    assert swept.cost == pytest.approx(asked.cost, rel=0.01)
    assert swept.cost_starting == asked.cost_starting


def test_what_never_started_counts_as_late_when_time_is_up() -> None:
    outcome = run([0.0, 1.0], [1.0, 1.0], Script(0), replace(WORLD, initial_workers=0))
    assert (outcome.finished, outcome.late, outcome.attainment) == (0, 2, 0.0)
    assert outcome.cost == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 200), st.floats(0, 30)), min_size=1, max_size=60),
    st.lists(st.integers(0, 6), min_size=1, max_size=60),
    st.sampled_from([1, 2, 3]),
)
def test_every_upload_ends_once_and_the_bill_adds_up(
    jobs: list[tuple[float, float]], wishes: list[int], slots: int
) -> None:
    jobs.sort()
    policy = Script(*wishes, 2)
    world = replace(WORLD, slots=slots)
    outcome = run([at for at, _ in jobs], [service for _, service in jobs], policy, world)
    assert outcome.finished <= outcome.uploads == len(jobs)
    parts = outcome.cost_starting + outcome.cost_busy + outcome.cost_idle + outcome.cost_draining
    assert outcome.cost == pytest.approx(parts, abs=1e-6)
    assert sum(len(snapshot.recent_response_times) for snapshot in policy.seen) == outcome.finished


def test_the_same_seed_gives_the_same_outcome() -> None:
    def delay(rng: Random) -> float:
        return rng.expovariate(0.2)

    rng = np.random.default_rng(9)
    arrivals = np.sort(rng.uniform(0, 500, 400))
    wishes = [int(wish) for wish in rng.integers(0, 8, 600)]
    world = replace(WORLD, start_delay=delay, seed=5)
    assert run(arrivals, [3.0] * 400, Script(*wishes), world) == run(
        arrivals, [3.0] * 400, Script(*wishes), world
    )


def test_uploads_may_come_in_pieces_and_memory_holds_one_piece() -> None:
    rng = np.random.default_rng(2)
    arrivals = np.cumsum(rng.exponential(0.1, 200_000))
    services = rng.exponential(0.3, 200_000)
    whole = simulate(arrivals, services, 5, WORLD)
    pieces = ((arrivals[at : at + 999], services[at : at + 999]) for at in range(0, 200_000, 999))
    assert simulate_chunks(pieces, 5, WORLD).p99 == whole.p99
    simulation = Simulation(in_chunks(arrivals, services), Script(5), WORLD)
    longest = 0
    while not simulation.over:
        simulation.step()
        longest = max(longest, len(simulation.stream.arrivals))
    assert longest < 100_000


@pytest.mark.parametrize(
    ("arrivals", "services", "rule"),
    [
        ([2.0, 1.0], [1.0, 1.0], "sorted"),
        ([1.0], [-1.0], ">= 0"),
        ([1.0], [math.nan], "finite"),
        ([1.0, 2.0], [1.0], "one service time"),
    ],
)
def test_a_trace_that_cannot_be_is_refused(arrivals: list[float], services: list[float], rule: str) -> None:
    with pytest.raises(TraceError, match=rule):
        run(arrivals, services, Script(1))


def test_a_trace_of_nothing_costs_nothing() -> None:
    outcome = run([], [], Script(1))
    assert (outcome.uploads, outcome.attainment, outcome.cost) == (0, 1.0, 0.0)


def test_a_million_uploads_in_one_second_are_simulated() -> None:
    arrivals = np.linspace(0, 1, 1_000_000)
    outcome = simulate(arrivals, np.full(1_000_000, 0.001), 100, WORLD)
    assert outcome.finished == 1_000_000


@pytest.mark.parametrize(
    "change", [{"slots": 0}, {"start_delay": -1.0}, {"decision_interval": 0.0}, {"report_loss": 1.0}]
)
def test_a_plant_that_cannot_be_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="must be"):
        run([1.0], [1.0], Script(1), replace(WORLD, **change))
