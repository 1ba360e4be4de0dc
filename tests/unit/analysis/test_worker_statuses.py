"""Statuses: workers by state, and how long they take to start."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from upswell.analysis.worker_statuses import WorkerCounts, WorkerStatuses
from upswell.messages import WorkerStatus


def status(worker_id: str, state: Any = "ready", busy: int = 0, **more: float) -> WorkerStatus:
    return WorkerStatus(
        app_id="e123456", worker_id=worker_id, state=state, busy=busy, slots=4, at=1000.0, **more
    )


def test_workers_are_counted_by_state_and_by_being_busy() -> None:
    statuses = WorkerStatuses(1.0)
    for one in (
        status("a", busy=3),
        status("b"),
        status("c", "starting"),
        status("d", "standby"),
        status("e", "draining", 1),
    ):
        statuses.heard(one, 1000.0)
    assert statuses.count(1001.0) == WorkerCounts(
        starting=1, ready=2, standby=1, draining=1, busy=2, in_flight=4, slots=8
    )


def test_only_the_newest_status_of_a_worker_counts() -> None:
    statuses = WorkerStatuses(1.0)
    statuses.heard(status("a", "starting"), 1000.0)
    statuses.heard(status("a", "ready", 2), 1001.0)
    assert statuses.count(1001.0) == WorkerCounts(ready=1, busy=1, in_flight=2, slots=4)


def test_a_worker_that_says_it_stopped_is_gone() -> None:
    statuses = WorkerStatuses(1.0)
    statuses.heard(status("a"), 1000.0)
    statuses.heard(status("a", "stopped"), 1000.5)
    assert statuses.count(1001.0) == WorkerCounts()


def test_a_silent_worker_is_not_counted_after_three_intervals_and_later_forgotten() -> None:
    """Nobody knows what it does: it is neither ready nor none."""
    statuses = WorkerStatuses(1.0)
    statuses.heard(status("a"), 1000.0)
    assert statuses.count(1003.0).ready == 1
    assert statuses.count(1003.1) == WorkerCounts(stale=1)
    assert statuses.count(1031.0) == WorkerCounts()
    assert not statuses._newest


def test_the_start_delay_is_the_mean_of_the_newest_ten_and_counts_each_worker_once() -> None:
    statuses = WorkerStatuses(1.0)
    assert statuses.start_delay is None
    statuses.heard(status("a", "starting", requested_at=990.0), 1000.0)
    assert statuses.start_delay is None
    for _ in range(3):
        statuses.heard(status("a", requested_at=990.0, ready_at=994.0), 1000.0)
    statuses.heard(status("b", requested_at=990.0, ready_at=992.0), 1000.0)
    assert statuses.start_delay == 3.0
    for number in range(10):
        statuses.heard(status(f"c{number}", requested_at=990.0, ready_at=991.0), 1000.0)
    assert statuses.start_delay == 1.0


def test_a_start_delay_below_zero_is_a_clocks_error_and_counts_as_zero() -> None:
    statuses = WorkerStatuses(1.0)
    statuses.heard(status("a", requested_at=990.0, ready_at=980.0), 1000.0)
    assert statuses.start_delay == 0.0


def test_an_upload_reported_as_ended_is_no_longer_in_hand() -> None:
    statuses = WorkerStatuses(1.0)
    statuses.heard(status("a", busy=3), 2000.0)
    statuses.ended("a", 999.5)  # by the worker's own clock before its status, which knew of it
    statuses.ended("a", 1000.5)
    statuses.ended("b", 1000.5)
    assert statuses.count(2000.6).in_flight == 2
    statuses.heard(status("a", busy=3), 2001.0)
    assert statuses.count(2001.0).in_flight == 3


def test_old_and_new_settings_side_by_side_are_counted_slot_by_slot() -> None:
    statuses = WorkerStatuses(1.0)
    statuses.heard(status("old"), 1000.0)
    statuses.heard(replace(status("new"), slots=16), 1000.0)
    statuses.heard(replace(status("leaving", "draining"), slots=16), 1000.0)
    assert statuses.count(1000.0).slots == 20


def test_a_new_worker_is_taken_to_have_what_the_newest_ten_have_or_had() -> None:
    statuses = WorkerStatuses(1.0)
    statuses.heard(replace(status("a", "starting"), slots=16), 1000.0)
    assert statuses.slots_of_new is None
    old = status("old", ready_at=900.0)
    statuses.heard(old, 1000.0)
    for number in range(10):
        statuses.heard(replace(old, worker_id=f"c{number}", slots=16), 1000.0)
    statuses.heard(old, 1001.0)
    assert statuses.slots_of_new == 16
    statuses.heard(replace(old, worker_id="c3", slots=26), 1002.0)  # slots = "auto": it found more
    assert statuses.slots_of_new == 17
    statuses.heard(replace(old, worker_id="c3", state="stopped"), 1003.0)
    assert statuses.slots_of_new == 17
    statuses.forget_slots()
    statuses.heard(old, 1004.0)
    assert statuses.slots_of_new is None


def test_what_a_start_takes_of_a_processor_is_the_median_of_the_newest_ten() -> None:
    statuses = WorkerStatuses(1.0)
    statuses.heard(status("a", "starting"), 1000.0)
    assert statuses.start_cpu is None
    statuses.heard(status("a", start_cpu=0.4), 1001.0)
    statuses.heard(status("a", start_cpu=0.4), 1002.0)
    statuses.heard(status("b", "standby", start_cpu=9.0), 1002.0)
    statuses.heard(status("c", start_cpu=0.5), 1002.0)
    assert statuses.start_cpu == 0.5
    for number in range(10):
        statuses.heard(status(f"d{number}", start_cpu=1.0 + number), 1003.0)
    assert statuses.start_cpu == 5.5
