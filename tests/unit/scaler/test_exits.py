"""A crashed worker is replaced at once; a crash loop is slowed down, and ends when a worker lives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from support.memory_fleet import MemoryFleet
from upswell.fleets.protocol import FleetWorker
from upswell.scaler.costs import ScalingCosts
from upswell.scaler.exits import HEALTHY_SECONDS, LONGEST_DELAY, CrashBackoff, WorkerExits
from upswell.scaler.plan import ObservedWorker

if TYPE_CHECKING:
    from upswell.scaler.plan import Phase


def test_the_first_crash_is_replaced_at_once_and_the_next_wait_longer_and_longer() -> None:
    backoff = CrashBackoff()
    assert [backoff.crashed(100.0) for _ in range(5)] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert not backoff.may_start(107.9)
    assert backoff.may_start(108.0)


def test_no_wait_is_longer_than_the_longest() -> None:
    backoff = CrashBackoff()
    assert max(backoff.crashed(100.0) for _ in range(2000)) == LONGEST_DELAY


def test_a_worker_started_after_the_last_crash_that_lives_ends_the_loop() -> None:
    backoff = CrashBackoff()
    backoff.crashed(100.0)
    backoff.crashed(101.0)
    assert not backoff.lives(requested_at=102.0, now=103.0)
    assert backoff.lives(requested_at=102.0, now=103.0 + HEALTHY_SECONDS)
    assert backoff.crashed(200.0) == 0.0


def test_an_old_worker_that_lives_on_does_not_end_the_loop_of_the_new_ones() -> None:
    """Its image may be the good one of yesterday."""
    backoff = CrashBackoff()
    backoff.crashed(100.0)
    assert not backoff.lives(requested_at=10.0, now=1000.0)
    assert backoff.crashes == 1


@pytest.mark.parametrize("lived", [HEALTHY_SECONDS - 5, 2 * HEALTHY_SECONDS])
def test_a_worker_that_never_came_to_run_has_not_lived(lived: float) -> None:
    """Its image cannot be pulled, which shows only after `start_timeout`: that is a crash loop, too."""

    async def scenario() -> list[float]:
        costs = ScalingCosts()
        exits, now, waits = WorkerExits(MemoryFleet(), costs), 1000.0, []
        for number in range(4):
            worker = FleetWorker(worker_id=f"w{number}", app_id="a", state="running", requested_at=now)
            costs.started(worker.worker_id, now)
            await exits.note([worker], {worker.worker_id: seen(worker, "starting")}, {}, {}, now)
            await exits.note([worker], {worker.worker_id: seen(worker, "starting")}, {}, {}, now + lived)
            now += lived
            ended = msgspec.structs.replace(worker, state="exited", exit_code=1)
            await exits.note([ended], {worker.worker_id: seen(worker, "ended")}, {}, {}, now)
            ended_at = now
            while not exits.may_start("a", now):
                now += 1
            waits.append(now - ended_at)
        return waits

    assert asyncio.run(scenario()) == [0.0, 1.0, 2.0, 4.0]


def seen(worker: FleetWorker, phase: Phase) -> ObservedWorker:
    return ObservedWorker(
        worker_id=worker.worker_id, app_id=worker.app_id, phase=phase, requested_at=worker.requested_at
    )


def test_a_clock_set_back_does_not_make_the_wait_longer() -> None:
    backoff = CrashBackoff()
    for _ in range(4):
        backoff.crashed(1_000_000.0)
    assert backoff.may_start(500.0)
