"""The sample's rule, and the scale-in that was left as an exercise."""

from __future__ import annotations

import pytest

from upswell.policies.threshold import ThresholdPolicy
from upswell.testing.snapshots import constant_time, ordinary


def test_each_report_slower_than_the_objective_starts_one_more() -> None:
    decision = ThresholdPolicy().decide(ordinary(recent_response_times=(31.0, 30.0, 2.0, 99.0)))
    assert decision.desired_workers == 4
    assert (
        decision.reason
        == "scale out 2 → 4: 2 of 4 new reports took longer than 30 s; each starts one worker more"
    )


def test_slow_reports_count_even_where_the_depth_is_not_known() -> None:
    """As in the sample, which asks for no depth: a slow report is a fact."""
    blind = ordinary(recent_response_times=(31.0,), messages_ready=None)
    assert ThresholdPolicy().decide(blind).desired_workers == 3


def test_one_worker_goes_when_all_is_calm() -> None:
    calm = ordinary(current=3, messages_unacknowledged=5)
    assert ThresholdPolicy().decide(calm).desired_workers == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"messages_ready": 1}, "1 upload waits"),
        ({"response_time": constant_time(15.0)}, "p95 of 15 s is not below 15 s"),
        (
            {"messages_unacknowledged": 6},
            "6 uploads in flight would fill more than 70% of the 8 slots",
        ),
    ],
)
def test_nobody_goes_while_something_speaks_against_it(change: dict[str, object], why: str) -> None:
    decision = ThresholdPolicy().decide(ordinary(current=3, **change))
    assert decision.desired_workers == 3
    assert why in decision.reason


def test_an_idle_application_goes_down_one_by_one_without_any_report() -> None:
    idle = ordinary(current=3, messages_unacknowledged=0, response_time=None, recent_response_times=())
    assert ThresholdPolicy().decide(idle).desired_workers == 2


def test_no_worker_is_no_reason_for_a_negative_number() -> None:
    assert ThresholdPolicy().decide(ordinary(current=0, messages_unacknowledged=0)).desired_workers == 0
