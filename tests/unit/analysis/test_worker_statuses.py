"""The roster: workers by state, and how long they take to start."""

from __future__ import annotations

from typing import Any

from upswell.analysis.worker_statuses import WorkerCounts, WorkerStatuses
from upswell.messages import WorkerStatus


def status(worker_id: str, state: Any = "ready", busy: int = 0, **more: float) -> WorkerStatus:
    return WorkerStatus(
        app_id="e123456", worker_id=worker_id, state=state, busy=busy, slots=4, at=1000.0, **more
    )


def test_workers_are_counted_by_state_and_by_being_busy() -> None:
    roster = WorkerStatuses(1.0)
    for one in (
        status("a", busy=3),
        status("b"),
        status("c", "starting"),
        status("d", "standby"),
        status("e", "draining", 1),
    ):
        roster.heard(one, 1000.0)
    assert roster.count(1001.0) == WorkerCounts(
        starting=1, ready=2, standby=1, draining=1, busy=2, in_flight=4
    )


def test_only_the_newest_status_of_a_worker_counts() -> None:
    roster = WorkerStatuses(1.0)
    roster.heard(status("a", "starting"), 1000.0)
    roster.heard(status("a", "ready", 2), 1001.0)
    assert roster.count(1001.0) == WorkerCounts(ready=1, busy=1, in_flight=2)


def test_a_worker_that_says_it_stopped_is_gone() -> None:
    roster = WorkerStatuses(1.0)
    roster.heard(status("a"), 1000.0)
    roster.heard(status("a", "stopped"), 1000.5)
    assert roster.count(1001.0) == WorkerCounts()


def test_a_silent_worker_is_not_counted_after_three_intervals_and_later_forgotten() -> None:
    """Nobody knows what it does: it is neither ready nor none."""
    roster = WorkerStatuses(1.0)
    roster.heard(status("a"), 1000.0)
    assert roster.count(1003.0).ready == 1
    assert roster.count(1003.1) == WorkerCounts(stale=1)
    assert roster.count(1031.0) == WorkerCounts()
    assert not roster._statuses


def test_the_start_delay_is_the_mean_of_the_newest_ten_and_counts_each_worker_once() -> None:
    roster = WorkerStatuses(1.0)
    assert roster.start_delay is None
    roster.heard(status("a", "starting", requested_at=990.0), 1000.0)
    assert roster.start_delay is None
    for _ in range(3):
        roster.heard(status("a", requested_at=990.0, ready_at=994.0), 1000.0)
    roster.heard(status("b", requested_at=990.0, ready_at=992.0), 1000.0)
    assert roster.start_delay == 3.0
    for number in range(10):
        roster.heard(status(f"c{number}", requested_at=990.0, ready_at=991.0), 1000.0)
    assert roster.start_delay == 1.0


def test_a_start_delay_below_zero_is_a_clocks_error_and_counts_as_zero() -> None:
    roster = WorkerStatuses(1.0)
    roster.heard(status("a", requested_at=990.0, ready_at=980.0), 1000.0)
    assert roster.start_delay == 0.0
