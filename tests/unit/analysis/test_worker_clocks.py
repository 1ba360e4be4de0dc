"""Workers' clocks: their error cancels out of a report's age."""

from __future__ import annotations

import pytest

from upswell.analysis.worker_clocks import WorkerClocks
from upswell.messages import UploadReport, WorkerStatus


def status(at: float, worker_id: str = "w") -> WorkerStatus:
    return WorkerStatus(app_id="e123456", worker_id=worker_id, state="ready", busy=0, slots=4, at=at)


def report(finished_at: float | None, worker_id: str | None = "w") -> UploadReport:
    return UploadReport(app_id="e123456", response_time=1.0, worker_id=worker_id, finished_at=finished_at)


@pytest.mark.parametrize("error", [0.0, 3600.0, -3600.0])
def test_a_worker_whose_clock_is_wrong_has_reports_of_the_right_age(error: float) -> None:
    clocks = WorkerClocks()
    clocks.heard(status(1000.0 + error), 1000.0)
    assert clocks.age(report(1001.0 + error), 1005.0) == pytest.approx(4.0)


def test_a_clock_that_jumps_is_right_again_at_the_next_status() -> None:
    clocks = WorkerClocks()
    clocks.heard(status(1000.0), 1000.0)
    clocks.heard(status(4601.0), 1001.0)
    assert clocks.age(report(4602.0), 1002.0) == pytest.approx(0.0)


def test_a_report_from_the_future_is_new() -> None:
    clocks = WorkerClocks()
    clocks.heard(status(1000.0), 1000.0)
    assert clocks.age(report(9999.0), 1001.0) == 0.0


def test_a_clock_that_nobody_knows_is_only_believed_where_it_is_trusted() -> None:
    clocks = WorkerClocks()
    assert clocks.age(report(400.0), 1000.0) == 0.0
    assert clocks.age(report(400.0), 1000.0, trusted=True) == 600.0
    assert clocks.age(report(None, None), 1000.0, trusted=True) == 0.0


def test_memory_is_bounded() -> None:
    clocks = WorkerClocks(limit=3)
    for number in range(10):
        clocks.heard(status(500.0, f"w{number}"), 1000.0)
    assert len(clocks._errors) == 3
    assert clocks.age(report(500.0, "w9"), 1000.0) == 0.0
