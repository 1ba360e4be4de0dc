"""The documented examples, each told as a small story of snapshots."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from upswell.policies.constant import ConstantPolicy
from upswell.policies.guarded import Guarded
from upswell.policies.rules.file import parse
from upswell.policies.rules.policy import RulesGuard, RulesPolicy
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from upswell.analysis.decision import Decision

EXAMPLES = Path(__file__).parents[4] / "examples/rules"


class Story:
    """An example at work; `wanted` makes it a guard around a policy that always wants so many."""

    def __init__(self, name: str, wanted: int | None = None) -> None:
        book = parse(f"{name}.toml", (EXAMPLES / f"{name}.toml").read_text("utf-8"))
        alone = wanted is None
        self._policy = RulesPolicy(book) if alone else Guarded(ConstantPolicy(wanted), RulesGuard(book))
        self.last: Decision | None = None

    def at(self, at: float, **seen: Any) -> int:
        """Return the number of workers decided at an instant."""
        self.last = self._policy.decide(ordinary(at=at, **seen))
        return self.last.desired_workers

    def steadily(self, begin: float, end: float, **seen: Any) -> list[int]:
        """Return what was decided every two seconds from `begin` until before `end`."""
        return [self.at(begin + 2 * step, **seen) for step in range(int((end - begin) / 2))]


def helsinki(day: int, hour: int, minute: int = 0) -> float:
    """Return the instant of a day of January 2026: the 5th is a Monday."""
    return datetime(2026, 1, day, hour, minute, tzinfo=ZoneInfo("Europe/Helsinki")).timestamp()


def test_threshold_starts_a_worker_for_each_slow_report_and_lets_one_go_when_all_is_calm() -> None:
    story = Story("threshold")
    assert story.at(0, current=3, recent_response_times=(31.0, 2.0, 45.0)) == 5
    calm = {"current": 5, "messages_unacknowledged": 3}
    wanted = story.steadily(2, 50, **calm)
    assert wanted[:14] == [5] * 14, "calm must hold for 30 s"
    assert wanted[14:] == [4, 5, 5, 5, 5, 4, 5, 5, 5, 5], "one at a time, 10 s apart"


def test_threshold_keeps_workers_that_the_rest_could_not_replace() -> None:
    story = Story("threshold")
    assert set(story.steadily(0, 60, current=3, messages_unacknowledged=6)) == {3}


def test_business_hours_have_five_workers_from_ten_to_eight_on() -> None:
    story = Story("business-hours", wanted=1)
    assert [story.at(helsinki(5, *time)) for time in ((7, 49), (7, 50), (8, 0), (17, 59), (18, 0))] == [
        1, 5, 5, 5, 1,
    ]  # fmt: skip
    assert story.at(helsinki(10, 12)) == 1, "a Saturday"
    assert Story("business-hours", wanted=9).at(helsinki(5, 12)) == 9, "the policy may want more"


def test_the_weekend_has_a_floor_and_a_cap() -> None:
    assert Story("weekend-floor", wanted=1).at(helsinki(10, 3)) == 2
    assert Story("weekend-floor", wanted=50).at(helsinki(11, 23, 59)) == 20
    assert Story("weekend-floor", wanted=50).at(helsinki(12, 0)) == 50, "a Monday"


def test_a_flash_crowd_doubles_what_the_policy_wants() -> None:
    story = Story("flash-crowd", wanted=4)
    assert set(story.steadily(0, 60, messages_ready=5)) == {4}
    growing = [story.at(60.0 + 2 * step, messages_ready=5 + 10 * step) for step in range(30)]
    assert growing[0] == 4
    assert growing[-1] == 8, "300 within a minute"
    assert "on average between the halves of 60 s" in story.last.reason


def test_one_batch_is_no_flash_crowd() -> None:
    story = Story("flash-crowd", wanted=4)
    wanted = [*story.steadily(0, 60), story.at(60, messages_ready=99), *story.steadily(62, 120)]
    assert set(wanted) == {4}


def test_many_errors_freeze_the_number_whatever_others_say() -> None:
    story = Story("error-freeze", wanted=9)
    failing = {"current": 3, "failures": 100, "throughput": 1.0}
    wanted = story.steadily(0, 40, **failing)
    assert wanted[:15] == [9] * 15
    assert wanted[15:] == [3] * 5
    assert "failure_share 0.625" in story.last.reason
    assert story.at(40, current=3) == 9, "it works again"


def test_before_any_attempt_has_ended_nothing_is_frozen() -> None:
    story = Story("error-freeze", wanted=9)
    assert set(story.steadily(0, 60, current=3, failures=0, throughput=0.0)) == {9}


def test_after_a_burst_nobody_goes_for_ten_minutes() -> None:
    story = Story("keep-after-burst", wanted=2)
    assert story.at(0, current=6) == 2
    assert story.at(10, current=6, arrival_rate=11.0) == 6
    assert story.at(609, current=6) == 6
    assert story.at(611, current=6) == 2


def test_an_idle_application_goes_to_zero_after_a_quarter_of_an_hour() -> None:
    story = Story("idle-to-zero", wanted=1)
    idle = {"messages_ready": 0, "messages_unacknowledged": 0}
    wanted = story.steadily(0, 902, **idle)
    assert set(wanted[:450]) == {1}
    assert wanted[450] == 0
    assert story.at(904, messages_ready=1, messages_unacknowledged=0) == 1


def test_a_policy_that_flaps_is_kept_from_letting_go() -> None:
    story = Story("flapping", wanted=3)
    decided: list[int] = []
    for number in range(4):  # the policy inside wants 3; the number is above, then not
        decided.append(story.at(120.0 * number, current=5))
        story.at(120.0 * number + 60, current=3)
    assert decided == [3, 3, 5, 5]


def test_twenty_slow_reports_within_five_minutes_bring_half_as_many_again() -> None:
    story = Story("many-slow-reports", wanted=4)
    slow = [story.at(10.0 * step, recent_response_times=(31.0, 1.0)) for step in range(40)]
    assert slow[:19] == [4] * 19
    assert slow[19] == 6
    assert set(slow[20:]) == {4}, "five minutes to see what it did"


def test_after_an_outage_the_backlog_is_staffed_by_littles_law() -> None:
    story = Story("outage-recovery", wanted=3)
    down = {"messages_ready": 600, "throughput": 0.0}
    assert set(story.steadily(0, 60, **down)) == {3}
    assert story.at(60, messages_ready=600, throughput=2.0) == 20, "600 x 2 s / 15 s / 4 slots"
    assert story.at(62, messages_ready=0, throughput=2.0) == 3
    assert Story("outage-recovery", wanted=3).at(0, messages_ready=600, throughput=2.0) == 3, "no outage"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_documented_told_here_and_does_nothing_without_data_but_by_the_clock(
    path: Path,
) -> None:
    page = (EXAMPLES.parents[1] / "docs/rules.md").read_text("utf-8")
    assert f"examples/rules/{path.name}" in page
    assert f'Story("{path.stem}"' in Path(__file__).read_text("utf-8")
    blind = ordinary(
        current=7, at=helsinki(6, 3), messages_ready=None, messages_unacknowledged=None, arrival_rate=None,
        throughput=None, response_time=None, service_time=None, recent_response_times=(),
    )  # fmt: skip
    decision = RulesPolicy(parse(path.name, path.read_text("utf-8"))).decide(blind)
    assert decision.desired_workers == 7
