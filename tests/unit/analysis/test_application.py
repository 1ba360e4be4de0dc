"""One application's snapshot: zero, missing and stale are three values."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from upswell.analysis.application import Application
from upswell.messages import UploadReport, WorkerStatus
from upswell.settings import Slo


def application(**changes: Any) -> Application:
    fields: dict[str, Any] = {
        "slo": Slo(0.95, 30.0),
        "window": 60.0,
        "slots": 4,
        "status_interval": 1.0,
        "capacity": 1000,
        "started_at": 1000.0,
    }
    return Application("e123456", **{**fields, **changes})


def report(response: float = 3.0, **fields: Any) -> UploadReport:
    return UploadReport(app_id="e123456", response_time=response, **fields)


def status(worker_id: str, state: Any = "ready", busy: int = 0) -> WorkerStatus:
    return WorkerStatus(app_id="e123456", worker_id=worker_id, state=state, busy=busy, slots=4, at=0.0)


def test_nothing_heard_is_missing_and_not_zero() -> None:
    seen = application()
    snapshot = seen.snapshot(1100.0)
    assert seen.blind
    assert (snapshot.messages_ready, snapshot.arrival_rate, snapshot.attainment, snapshot.oldest_age) == (
        None, None, None, None,
    )  # fmt: skip
    assert snapshot.queue_depth is None


def test_an_empty_queue_is_zero_and_not_missing() -> None:
    seen = application()
    seen.depth(0, 0, 0, 1090.0)
    snapshot = seen.snapshot(1100.0)
    assert not seen.blind
    assert (snapshot.queue_depth, snapshot.arrival_rate, snapshot.oldest_age) == (0, 0.0, 0.0)
    assert snapshot.stale == ()


def test_a_depth_older_than_the_window_is_stale() -> None:
    seen = application()
    seen.depth(5, 0, 0, 1000.0)
    snapshot = seen.snapshot(1061.0)
    assert snapshot.messages_ready is None
    assert snapshot.stale == ("messages_ready",)
    assert seen.snapshot(1061.0).arrival_rate is None


def test_arrivals_are_what_ended_and_what_the_queue_grew_by() -> None:
    seen = application()
    seen.depth(10, 4, 1, 1040.0)
    for number in range(60):
        seen.report(report(service_time=1.0), 1041.0 + number / 2)
    seen.report(report(outcome="dead"), 1060.0)
    seen.report(report(outcome="failed"), 1060.0)  # it comes again: it neither arrived nor left
    seen.depth(40, 3, 1, 1090.0)
    snapshot = seen.snapshot(1090.0)
    assert snapshot.arrival_rate == pytest.approx((61 + 30 - 1) / 60)
    assert snapshot.throughput == pytest.approx(1.0)
    assert snapshot.failures == 2
    assert snapshot.attainment == pytest.approx(60 / 61)


def test_a_purged_queue_is_no_negative_arrival_rate() -> None:
    seen = application()
    seen.depth(500, 0, 0, 1040.0)
    seen.depth(0, 0, 0, 1090.0)
    assert seen.snapshot(1090.0).arrival_rate == 0.0


def test_a_bare_report_tells_the_response_time_only() -> None:
    seen = application()
    seen.report(report(3.0), 1090.0)
    snapshot = seen.snapshot(1091.0)
    assert snapshot.response_time is not None
    assert snapshot.service_time is None
    assert snapshot.waiting_time is None
    assert snapshot.attainment == 1.0


def test_recent_response_times_are_handed_out_once() -> None:
    seen = application()
    seen.report(report(3.0), 1090.0)
    seen.report(report(40.0), 1090.0)
    assert seen.snapshot(1091.0).recent_response_times == (3.0, 40.0)
    assert seen.snapshot(1092.0).recent_response_times == ()


def test_a_report_that_ended_before_the_window_says_nothing_of_now() -> None:
    seen = application()
    seen.report(report(3.0), 1090.0, age=61.0)
    snapshot = seen.snapshot(1091.0)
    assert snapshot.response_time is None
    assert snapshot.recent_response_times == ()


@pytest.mark.parametrize(("consumers", "in_flight", "unheard"), [(2, 5, 0), (3, 5, 4), (1, 1, 0)])
def test_statuses_bound_what_is_in_flight_where_the_broker_does_not_say(
    consumers: int, in_flight: int, unheard: int
) -> None:
    """A consumer not heard of holds up to its slots; what a worker held that is gone may wait again."""
    seen = application()
    seen.status(status("a", busy=4), 1090.0)
    seen.status(status("b", busy=1), 1090.0)
    seen.depth(7, None, consumers, 1090.0)
    snapshot = seen.snapshot(1091.0)
    assert (snapshot.messages_unacknowledged, snapshot.unheard_in_flight) == (in_flight, unheard)


def test_what_new_workers_took_unheard_is_in_flight_and_its_return_is_no_arrival() -> None:
    """Around a scaling on RabbitMQ: ten uploads leave the queue a second before anyone says who has them."""
    seen = application(slots=1)
    seen.depth(0, None, 0, 1000.0)
    seen.depth(10, None, 0, 1002.0)
    seen.depth(0, None, 10, 1004.0)
    hidden = seen.snapshot(1004.0)
    assert (hidden.messages_ready, hidden.messages_unacknowledged, hidden.arrivals) == (0, 10, 10)
    for number in range(10):
        seen.status(replace(status(f"w{number}", busy=1), slots=1), 1005.0)
    seen.depth(0, None, 10, 1006.0)
    told = seen.snapshot(1006.0)
    assert (told.messages_unacknowledged, told.unheard_in_flight, told.arrivals) == (10, 0, 10)


def test_a_report_that_comes_late_is_no_second_arrival() -> None:
    seen = application()
    seen.depth(0, 0, 1, 1000.0)
    seen.depth(0, 1, 1, 1002.0)
    seen.depth(0, 0, 1, 1004.0)
    seen.report(report(1.0), 1020.0, age=17.0)
    seen.depth(0, 0, 1, 1020.0)
    assert seen.snapshot(1020.0).arrivals == 1


def test_slots_are_those_that_the_workers_found_and_until_then_those_of_the_settings() -> None:
    """`slots = "auto"`: a worker may find 32 where the settings begin with 4; an old one stays at 4."""
    seen = application()
    assert (seen.snapshot(1001.0).slots_per_worker, seen.snapshot(1001.0).ready_slots) == (4, 0)
    seen.status(replace(status("a"), slots=32), 1002.0)
    seen.status(status("b"), 1002.0)
    snapshot = seen.snapshot(1002.0)
    assert (snapshot.slots_per_worker, snapshot.ready_slots) == (18, 36)


def test_where_the_settings_of_slots_change_a_new_worker_has_those_and_the_others_what_they_have() -> None:
    seen = application()
    seen.status(replace(status("a"), ready_at=1000.0), 1002.0)
    seen.expect(Slo(0.95, 30.0), 4)
    assert seen.snapshot(1002.0).slots_of_one_more == 4
    seen.expect(Slo(0.95, 30.0), 16)
    seen.status(replace(status("a"), ready_at=1000.0), 1003.0)
    snapshot = seen.snapshot(1003.0)
    assert (snapshot.slots_each, snapshot.slots_of_one_more) == (4, 16)
    seen.status(replace(status("b"), ready_at=1003.0, slots=16), 1004.0)
    snapshot = seen.snapshot(1004.0)
    assert (snapshot.slots_each, snapshot.slots_of_one_more) == (10, 16)


def test_after_a_restart_the_number_of_workers_is_the_one_that_runs() -> None:
    seen = application()
    for worker_id in "abc":
        seen.status(status(worker_id), 1002.0)
    seen.status(status("d", "starting"), 1002.0)
    seen.status(status("e", "draining"), 1002.0)
    assert seen.snapshot(1003.0).workers.desired == 4
    seen.depth(0, None, 6, 1003.0)
    assert seen.snapshot(1003.0).workers.desired == 6  # workers whose status was lost still consume


def test_during_the_first_window_workers_that_turn_up_late_still_count() -> None:
    seen = application()
    seen.decided(1)
    for worker_id in "abc":
        seen.status(status(worker_id), 1005.0)
    early = seen.snapshot(1006.0)
    assert early.warming_up
    assert early.workers.desired == 3
    for worker_id in "abc":
        seen.status(status(worker_id), 1061.0)
    later = seen.snapshot(1061.0)
    assert not later.warming_up
    assert later.workers.desired == 1


def test_the_oldest_age_follows_the_newest_waiting_time_but_not_beyond_the_last_empty_queue() -> None:
    seen = application()
    seen.depth(0, 0, 1, 1050.0)
    seen.depth(9, 4, 1, 1060.0)
    assert seen.snapshot(1062.0).oldest_age == pytest.approx(
        12.0
    )  # no report yet: it may have come right after
    seen.report(report(9.0, waiting_time=7.0, service_time=2.0), 1062.0)
    assert seen.snapshot(1062.0).oldest_age == pytest.approx(7.0)
    seen.report(report(99.0, waiting_time=97.0, service_time=2.0), 1063.0)
    assert seen.snapshot(1063.0).oldest_age == pytest.approx(13.0)


def test_the_age_in_flight_grows_until_an_upload_ends() -> None:
    seen = application()
    seen.depth(0, 0, 1, 1050.0)
    assert seen.snapshot(1050.0).in_flight_age is None
    seen.depth(5, 4, 1, 1052.0)
    assert seen.snapshot(1052.0).in_flight_age == 0.0
    assert seen.snapshot(1058.0).in_flight_age == 6.0
    seen.report(report(service_time=6.5), 1058.5)
    assert seen.snapshot(1059.0).in_flight_age == pytest.approx(0.5)


def test_silent_workers_are_named_stale() -> None:
    seen = application()
    seen.status(status("a"), 1090.0)
    assert seen.snapshot(1099.0).stale == ("workers",)
