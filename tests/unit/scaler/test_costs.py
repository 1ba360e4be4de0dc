"""What is billed: from each start request to the worker's end."""

from __future__ import annotations

from typing import Literal

from upswell.fleets.protocol import FleetWorker
from upswell.scaler.costs import ScalingCosts


def worker(
    worker_id: str, requested_at: float, state: Literal["running", "exited"] = "running"
) -> FleetWorker:
    return FleetWorker(worker_id=worker_id, app_id="a1", state=state, requested_at=requested_at)


def test_a_worker_is_billed_from_its_start_request_to_its_end() -> None:
    ledger = ScalingCosts()
    ledger.started("w1", 100.0)
    ledger.running([worker("w1", 100.0)], 105.0)
    assert ledger.worker_seconds(108.0) == 8.0
    ledger.running([worker("w1", 100.0, "exited")], 110.0)
    ledger.running([], 120.0)
    assert ledger.worker_seconds(500.0) == 10.0


def test_an_adopted_worker_is_billed_from_when_it_was_asked_for() -> None:
    ledger = ScalingCosts()
    ledger.running([worker("w1", 40.0), worker("w2", 90.0)], 100.0)
    assert ledger.worker_seconds(100.0) == 70.0


def test_a_worker_that_vanished_is_billed_until_it_was_missed() -> None:
    ledger = ScalingCosts()
    ledger.running([worker("w1", 40.0)], 50.0)
    ledger.running([], 60.0)
    assert ledger.worker_seconds(1000.0) == 20.0
