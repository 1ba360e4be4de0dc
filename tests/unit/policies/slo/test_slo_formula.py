"""The slo policy: which answer counts, with which sentence, and what it does when little is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.analysis.snapshot import Percentiles, Workers
from upswell.policies.slo.slo_formula import SloFormulaPolicy, service_time
from upswell.settings import Slo
from upswell.testing.snapshots import constant_time, ordinary


def test_the_sentence_shows_both_questions_and_their_numbers() -> None:
    """The example of the design: decision 5."""
    snapshot = ordinary(
        arrival_rate=12.0,
        service_time=Percentiles(count=700, mean=2.1, p50=2.0, p95=12.0, p99=15.0, maximum=20.0),
        messages_ready=200,
        messages_unacknowledged=40,
        workers=Workers(desired=10, ready=10, busy=10),
    )
    decision = SloFormulaPolicy().decide(snapshot)
    assert decision.reason == (
        "scale in 10 → 7: 12 uploads/s, 2.1 s each, keep 25.2 slots busy; "
        "that at most 5% wait longer than 18 s takes 26 slots = 7 workers of 4 slots; "
        "240 uploads in the system, 2.1 s each; to start the last within 18 s takes 28 slots "
        "= 7 workers of 4 slots"
    )


def test_a_calm_stream_is_staffed_by_erlangs_formula() -> None:
    decision = SloFormulaPolicy().decide(ordinary(arrival_rate=12.0, service_time=constant_time(2.1)))
    assert decision.desired_workers == 7  # 25.2 busy slots, 26 keep the objective
    assert decision.inputs["slots"] == 26


def test_an_idle_application_needs_no_worker() -> None:
    idle = ordinary(messages_ready=0, messages_unacknowledged=0, arrival_rate=0.0)
    assert SloFormulaPolicy().decide(idle).desired_workers == 0
    assert (
        SloFormulaPolicy().decide(replace(idle, service_time=None, response_time=None)).desired_workers == 0
    )


def test_what_has_waited_long_leaves_less_time_for_the_rest() -> None:
    fresh = ordinary(messages_ready=100, oldest_age=0.0)
    aged = ordinary(messages_ready=100, oldest_age=20.0)
    assert SloFormulaPolicy().decide(aged).desired_workers > SloFormulaPolicy().decide(fresh).desired_workers


def test_a_backlog_that_is_late_already_does_not_ask_for_everything() -> None:
    """It is lost at any price; a tenth of the objective's time is the least that is planned."""
    late = ordinary(messages_ready=96, oldest_age=3600.0)
    decision = SloFormulaPolicy().decide(late)
    assert decision.inputs["budget"] == pytest.approx(3.0)
    assert decision.inputs["slots"] == 67  # 200 s of work in 3 s


def test_a_slow_start_of_workers_asks_for_more_of_them() -> None:
    backlog = ordinary(messages_ready=200, start_delay=0.0)
    quick = SloFormulaPolicy().decide(backlog)
    slow = SloFormulaPolicy().decide(replace(backlog, start_delay=10.0))
    assert slow.desired_workers > quick.desired_workers
    assert "8 slots work on them for 10 s before a new worker is ready" in slow.reason
    # 204 uploads of 2 s, less the 80 s of work that 8 present slots do meanwhile, in 28 s - 10 s.
    assert slow.inputs["slots"] == 19


def test_the_start_up_delay_does_not_matter_where_present_workers_are_enough() -> None:
    enough = ordinary(messages_ready=8, workers=Workers(desired=2, ready=2))
    assert SloFormulaPolicy().decide(enough) == SloFormulaPolicy().decide(replace(enough, start_delay=25.0))


def test_failed_attempts_are_arrivals_to_the_slots() -> None:
    failing = ordinary(arrival_rate=12.0, failures=720)
    assert (
        SloFormulaPolicy().decide(failing).desired_workers
        > SloFormulaPolicy().decide(replace(failing, failures=0)).desired_workers
    )
    assert "720 retries in the window among them" in SloFormulaPolicy().decide(failing).reason


def test_a_backlog_never_asks_for_more_slots_than_uploads() -> None:
    few_long = ordinary(
        messages_ready=3, messages_unacknowledged=0, arrival_rate=0.0, service_time=constant_time(600.0)
    )
    assert SloFormulaPolicy().decide(few_long).inputs["slots"] == 3


def test_at_the_start_the_age_of_what_is_in_flight_stands_in_for_the_service_time() -> None:
    """Nothing has ended yet: the longer nothing ends, the longer an upload is believed to take."""
    start = ordinary(
        service_time=None,
        response_time=None,
        throughput=0.0,
        arrival_rate=0.0,
        messages_ready=40,
        messages_unacknowledged=4,
        in_flight_age=1.0,
    )
    early, late = (
        SloFormulaPolicy().decide(start),
        SloFormulaPolicy().decide(replace(start, in_flight_age=8.0)),
    )
    assert "no upload has ended for 1 s" in early.reason
    assert early.desired_workers < late.desired_workers


def test_uploads_and_nothing_that_tells_how_long_one_takes_give_a_hold() -> None:
    unknown = ordinary(service_time=None, response_time=None, throughput=None, in_flight_age=None)
    assert SloFormulaPolicy().decide(unknown).held


def test_bare_reports_tell_the_service_time_by_littles_law() -> None:
    bare = ordinary(service_time=None, throughput=2.0, messages_unacknowledged=6)
    known = service_time(bare)
    assert known is not None
    assert known.mean == pytest.approx(3.0)
    assert "6 in flight / 2 a second" in SloFormulaPolicy().decide(bare).reason


def test_bare_reports_of_unknown_workers_tell_the_response_time_at_most() -> None:
    bare = ordinary(service_time=None, messages_unacknowledged=None, response_time=constant_time(5.0))
    known = service_time(bare)
    assert known is not None
    assert known.mean == 5.0


def test_no_worker_goes_while_the_arrival_rate_is_not_known() -> None:
    decision = SloFormulaPolicy().decide(ordinary(current=9, arrival_rate=None))
    assert decision.held
    assert decision.desired_workers == 9


def test_no_worker_goes_while_it_is_not_known_how_long_the_oldest_upload_has_waited() -> None:
    waiting = ordinary(current=9, messages_ready=8)
    assert SloFormulaPolicy().decide(waiting).desired_workers < 9
    unknown = SloFormulaPolicy().decide(replace(waiting, oldest_age=None))
    assert (unknown.held, unknown.desired_workers) == (True, 9)
    empty = replace(waiting, messages_ready=0, oldest_age=None)
    assert SloFormulaPolicy().decide(empty).desired_workers < 9


def test_until_a_worker_was_seen_starting_a_quarter_of_the_objective_is_assumed_for_it() -> None:
    backlog = ordinary(messages_ready=200)
    assumed, known = (SloFormulaPolicy().decide(replace(backlog, start_delay=delay)) for delay in (None, 7.5))
    assert assumed.desired_workers == known.desired_workers
    assert (
        assumed.desired_workers > SloFormulaPolicy().decide(replace(backlog, start_delay=0.0)).desired_workers
    )
    assert "no worker was seen starting yet: 7.5 s are assumed" in assumed.reason
    assert "assumed" not in known.reason


def test_a_scale_out_says_what_it_could_not_count() -> None:
    blind = ordinary(messages_ready=200, messages_unacknowledged=None, oldest_age=None)
    decision = SloFormulaPolicy().decide(blind)
    assert decision.desired_workers > 2
    assert "uploads in flight are not counted" in decision.reason
    assert "how long the oldest upload has waited is unknown" in decision.reason


def test_an_empty_queue_is_not_an_idle_application_while_what_is_in_flight_is_unknown() -> None:
    blind = ordinary(service_time=None, response_time=None, messages_unacknowledged=None)
    decision = SloFormulaPolicy().decide(blind)
    assert decision.held
    assert "in the system" not in decision.reason


def test_no_worker_goes_on_old_service_times_while_something_is_in_the_system() -> None:
    old = ordinary(current=9, stale=("service_time",))
    assert SloFormulaPolicy().decide(old).held
    idle = replace(old, messages_unacknowledged=0, arrival_rate=0.0)
    assert SloFormulaPolicy().decide(idle).desired_workers == 0


@pytest.mark.parametrize(
    ("share", "tail"), [(0.5, 1.0), (0.9, 3.0), (0.95, 3.0), (0.98, 4.0), (0.99, 4.0), (0.999, 5.0)]
)
def test_the_tail_is_the_smallest_percentile_that_covers_the_share(share: float, tail: float) -> None:
    times = Percentiles(count=9, mean=2.0, p50=1.0, p95=3.0, p99=4.0, maximum=5.0)
    known = service_time(ordinary(slo=Slo(share, 30.0), service_time=times))
    assert known is not None
    assert known.tail == tail


@given(ready=st.integers(1, 2000), seconds=st.floats(0.1, 20), delay=st.floats(0, 10))
def test_the_wanted_slots_do_start_the_last_upload_in_time(ready: int, seconds: float, delay: float) -> None:
    """Work done by the present slots during the delay, then by the wanted ones, is all there is to do."""
    present = 2 * 4
    snapshot = ordinary(
        messages_ready=ready,
        messages_unacknowledged=0,
        arrival_rate=0.0,
        service_time=constant_time(seconds),
        start_delay=delay,
    )
    decision = SloFormulaPolicy().decide(snapshot)
    slots, budget = decision.desired_workers * 4, 30.0 - seconds
    if budget < 3.0 or budget - delay < 3.0 or slots >= ready:
        return
    work_done = present * delay + slots * (budget - delay) if slots > present else slots * budget
    assert work_done >= ready * seconds * (1 - 1e-9)


@pytest.mark.parametrize(
    "signals",
    [
        {"service_time": constant_time(1e308), "arrival_rate": 1e4},
        {"service_time": constant_time(math.nan)},
        {"arrival_rate": math.inf},
        {"service_time": constant_time(1e308), "arrival_rate": 0.0, "failures": 3},
    ],
)
def test_numbers_that_cannot_be_reckoned_with_give_a_hold_with_a_reason(signals: dict[str, Any]) -> None:
    """A throughput of nearly nothing makes a service time of nearly for ever, by Little's law."""
    decision = SloFormulaPolicy().decide(ordinary(current=3, messages_ready=5, **signals))
    assert decision.held
    assert decision.desired_workers == 3
    assert "beyond any fleet" in decision.reason


def test_a_throughput_too_small_to_be_one_tells_no_service_time() -> None:
    assert service_time(ordinary(service_time=None, throughput=1e-300, messages_unacknowledged=6)) is None
