"""A policy in virtual time sees what the monitor's own code would have made of the same story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from support.script import Script
from upswell.analysis.application import Application
from upswell.messages import UploadReport, WorkerStatus
from upswell.settings import Slo
from upswell.simulator.engine import Simulation, simulate
from upswell.simulator.jobs import in_chunks
from upswell.simulator.slotted import SlottedPool
from upswell.simulator.world import World

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Percentiles, Snapshot

WINDOW = 12.0
BUCKET = WINDOW / 60
WORLD = World(slo=Slo(0.9, 4.0), start_delay=2.5, decision_interval=1.0, window=WINDOW, initial_workers=2)


class Story:
    """Tells an `Application` by messages what happens in a simulation's pool."""

    def __init__(self, simulation: Simulation) -> None:
        assert isinstance(simulation.pool, SlottedPool)
        self.simulation, self.pool = simulation, simulation.pool
        self.take_ended = self.pool.take_ended
        self.pool.take_ended = self._take_ended  # type: ignore[method-assign]
        self.reports: list[tuple[float, float, float]] = []
        self.heard_at: list[float] = []
        self.known: dict[int, Any] = {}
        world, begin = simulation.world, simulation.now
        self.monitor = Application(
            world.app_id,
            slo=world.slo,
            window=world.window,
            slots=world.slots,
            status_interval=world.status_interval,
            capacity=10_000,
            started_at=begin - world.window,
        )
        self.monitor.decided(world.initial_workers)
        self.monitor.depth(0, 0, world.initial_workers, begin)

    def _take_ended(self, number: int) -> Any:
        ended = self.take_ended(number)
        self.reports += zip(*ended, strict=True)
        return ended

    def step(self) -> tuple[Snapshot, Snapshot]:
        """Return what the simulation's policy saw and what the monitor would have seen."""
        simulation, monitor = self.simulation, self.monitor
        seen = simulation.observe()
        now = simulation.now
        while self.reports and self.reports[0][0] + simulation.world.report_lag <= now:
            end, response, service = self.reports.pop(0)
            self.heard_at.append(end + simulation.world.report_lag)
            monitor.report(
                UploadReport(
                    app_id=simulation.world.app_id,
                    response_time=response,
                    waiting_time=response - service,
                    service_time=service,
                    outcome="stored",
                ),
                end + simulation.world.report_lag,
            )
        self._statuses(now)
        monitor.depth(self.pool.waiting(simulation.stream), self.pool.in_flight, 1, now)
        told = monitor.snapshot(now)
        wanted = simulation._policy.decide(seen).desired_workers
        simulation.apply(wanted)
        monitor.decided(wanted)
        return seen, told

    def _statuses(self, now: float) -> None:
        pool = self.pool
        busy: dict[int, int] = {}
        for free_at, _, worker in pool._free:
            busy[worker.number] = busy.get(worker.number, 0) + (free_at > now)
        staying = {worker.number: worker for worker in pool._workers.values() if worker.ready_at <= now}
        leaving = {worker.number: worker for _, worker in pool._leaving}
        for number, worker in sorted({**staying, **leaving}.items(), key=lambda item: item[1].ready_at):
            first = number not in self.known
            self.known[number] = worker
            requested = worker.coming[0] if worker.coming[0] > 0 else None
            self._status(
                worker,
                "draining" if number in leaving else "ready",
                busy.get(number, 0) if number in staying else 1,
                at=worker.ready_at if first else now,
                requested=requested,
                now=now,
            )
        for number in set(self.known) - set(staying) - set(leaving):
            self._status(self.known.pop(number), "stopped", 0, at=now, requested=None, now=now)

    def _status(self, worker: Any, state: Any, busy: int, *, at: float, requested: Any, now: float) -> None:
        self.monitor.status(
            WorkerStatus(
                app_id=self.simulation.world.app_id,
                worker_id=str(worker.number),
                state=state,
                busy=busy,
                slots=self.simulation.world.slots,
                at=at,
                requested_at=requested,
                ready_at=worker.ready_at if requested is not None else None,
            ),
            now,
        )


def jobs(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    gaps = np.concatenate((rng.exponential(0.4, 150), [40.0], rng.exponential(0.2, 150)))
    return np.cumsum(gaps), rng.exponential(1.2, len(gaps))


def same(seen: Percentiles | None, told: Percentiles | None) -> bool:
    if seen is None or told is None:
        return seen is told
    names = ("count", "mean", "p50", "p95", "p99", "maximum")
    return [getattr(seen, name) for name in names] == pytest.approx([getattr(told, name) for name in names])


EXACT = (
    "app_id", "at", "slo", "window", "slots_per_worker", "slots", "slots_of_new", "arrivals",
    "messages_ready", "messages_unacknowledged", "unheard_in_flight", "depth_age", "failures", "stale",
    "warming_up",
)  # fmt: skip
NEARLY = ("start_delay", "oldest_age", "in_flight_age", "recent_response_times", "recent_service_times")


@pytest.mark.parametrize("lag", [0.0, 0.3, 2.6])
@pytest.mark.parametrize("slots", [1, 2])
def test_the_policy_sees_field_by_field_what_the_monitor_would(slots: int, lag: float) -> None:
    world = replace(WORLD, slots=slots, report_lag=lag, slow_down=lambda _running: 1.0)
    rng = np.random.default_rng(3)
    policy = Script(*np.repeat(rng.integers(1, 7, 60), 3).tolist())
    simulation = Simulation(in_chunks(*jobs(slots)), policy, world)
    story = Story(simulation)
    compared = 0
    while not simulation.over:
        seen, told = story.step()
        for name in EXACT:
            assert getattr(seen, name) == getattr(told, name), (name, seen.at)
        for name in NEARLY:
            assert getattr(seen, name) == pytest.approx(getattr(told, name), abs=1e-9), (name, seen.at)
        for name in ("service_time", "waiting_time", "response_time"):
            assert same(getattr(seen, name), getattr(told, name)), (name, seen.at)
        assert seen.workers == told.workers
        assert seen.totals == pytest.approx(told.totals)
        edge = seen.at - WINDOW
        if not any(edge < at <= edge + BUCKET for at in story.heard_at):  # the monitor counts in buckets
            compared += 1
            assert seen.arrival_rate == pytest.approx(told.arrival_rate, abs=1e-9)
            assert seen.throughput == pytest.approx(told.throughput)
            assert seen.attainment == pytest.approx(told.attainment)
    assert compared > 50
    assert {snapshot.stale for snapshot in policy.seen} == {(), ("service_time",)}


def test_both_pools_are_seen_alike() -> None:
    arrivals, services = jobs(4)
    # Scale-out only: which of the busy ones leaves is drawn in the one and known in the other.
    wished = [2] * 20 + [3] * 20 + [5]
    fast, followed = Script(*wished), Script(*wished)
    simulate(arrivals, services, fast, WORLD)
    simulate(arrivals, services, followed, replace(WORLD, slow_down=lambda _running: 1.0))
    assert len(fast.seen) == len(followed.seen)
    for one, other in zip(fast.seen, followed.seen, strict=True):
        for name in ("service_time", "waiting_time", "response_time"):
            assert same(getattr(one, name), getattr(other, name))
        lazy = {"service_time": None, "waiting_time": None, "response_time": None}
        assert replace(one, **lazy) == replace(other, **lazy)


def test_the_age_of_the_queues_head_is_estimated_and_not_known() -> None:
    policy = Script(1)
    simulate(np.array([0.2, 0.5, 0.6]), np.array([2.5, 2.0, 1.0]), policy, replace(WORLD, initial_workers=1))
    ages = [snapshot.oldest_age for snapshot in policy.seen]
    assert ages[:2] == [1.0, 2.0]  # since the queue was last seen empty; the true ages are 0.5 and 1.5
    assert ages[2] == 0.0  # the one reported last had not waited at all; the true age is 2.4


def test_a_crashed_worker_is_counted_until_it_missed_three_statuses() -> None:
    world = replace(
        WORLD, slots=2, initial_workers=3, start_delay=100.0, mean_time_between_crashes=25.0, seed=2
    )
    policy = Script(3)
    simulation = Simulation(in_chunks(np.array([0.0, 90.0]), np.array([0.1, 0.1])), policy, world)
    sizes = []
    while not simulation.over:
        snapshot = simulation.observe()
        policy.seen.append(snapshot)
        sizes.append(simulation.pool.size)  # nobody is asked for in its place: it is not applied
    ready = [snapshot.workers.ready for snapshot in policy.seen]
    crashed, missed = sizes.index(2), ready.index(2)
    assert missed - crashed == 3
    assert ["workers" in snapshot.stale for snapshot in policy.seen[crashed : missed + 1]] == [False] * 3 + [
        True
    ]
