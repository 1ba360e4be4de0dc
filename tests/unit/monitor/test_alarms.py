"""Which alarms are told as come and as gone."""

from __future__ import annotations

import pytest

from upswell.analysis.decision import Alarm, Decision
from upswell.journal import JournalEntry
from upswell.monitor.alarms import Alarms
from upswell.testing.snapshots import ordinary


class Told:
    """Takes the rounds of one application."""

    def __init__(self) -> None:
        self.alarms = Alarms()
        self.now = 0.0

    def round(self, *alarms: Alarm, app_id: str = "a") -> list[tuple[Alarm, bool]]:
        """Take a round with these alarms; return which alarms came (True) or went."""
        self.now += 2.0
        decision = Decision.of("slo", 2, 2, "why")
        for alarm in alarms:
            decision = decision.alarmed(alarm)
        entry = JournalEntry(
            app_id=app_id, at=self.now, epoch=1, changed=False, snapshot=ordinary(), decision=decision
        )
        return [(change.alarm, change.raised) for change in self.alarms.tell([entry], self.now)]


@pytest.mark.parametrize("hiding", ["signals_lost", "policy_failed"])
@pytest.mark.parametrize("hidden", ["bottleneck", "fleet_full"])
def test_an_alarm_that_another_hides_is_neither_gone_nor_new(hiding: Alarm, hidden: Alarm) -> None:
    told = Told()
    assert told.round(hidden) == [(hidden, True)]
    assert told.round(hiding) == [(hiding, True)]
    assert told.round(hiding) == []
    assert told.round(hidden) == [(hiding, False)]
    assert told.round() == [(hidden, False)]


def test_an_alarm_that_ended_while_another_hid_it_is_gone_when_that_is_known() -> None:
    told = Told()
    told.round("bottleneck")
    told.round("signals_lost")
    assert sorted(told.round()) == [("bottleneck", False), ("signals_lost", False)]


def test_of_two_that_hide_each_other_both_are_gone_when_neither_is_there() -> None:
    told = Told()
    assert told.round("signals_lost") == [("signals_lost", True)]
    assert told.round("policy_failed") == [("policy_failed", True)]
    assert told.round("signals_lost") == []
    assert sorted(told.round()) == [("policy_failed", False), ("signals_lost", False)]


def test_an_application_that_is_no_longer_there_is_in_no_alarm() -> None:
    told = Told()
    told.round("bottleneck")
    told.round("signals_lost")
    assert sorted(told.round(app_id="b")) == [("bottleneck", False), ("signals_lost", False)]
