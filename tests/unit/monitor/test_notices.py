from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import FailureReason, ObservedTotals
from upswell.journal import JournalEntry
from upswell.monitor.alarms import Alarms
from upswell.monitor.notices import DEAD_PAUSE, Notices
from upswell.testing.snapshots import ordinary

NOW = 1_795_000_000.0
PAGE = Path(__file__).parents[3] / "docs" / "webhook.md"


class Ear:
    """Takes rounds, and keeps what was told."""

    def __init__(self, *known: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.alarms = Alarms()
        self.known = known or ("e123456",)
        self.notices = Notices(lambda body: self.told.append(json.loads(body)), "upswell_report", 60.0)

    def round(self, after: float, *entries: JournalEntry) -> list[str]:
        """Take a round in; return the new notices' events."""
        before = len(self.told)
        changes = self.alarms.tell(entries, NOW + after)
        self.notices.take(entries, changes, self.known, NOW + after)
        return [notice["event"] for notice in self.told[before:]]


def entry(app_id: str = "e123456", *, alarm: bool = False, dead: int = 0, **changes: Any) -> JournalEntry:
    snapshot = replace(ordinary(**changes), app_id=app_id, totals=ObservedTotals(dead=dead))
    decision = Decision.hold("bottleneck", 2, "nothing gets through")
    return JournalEntry(
        app_id=app_id,
        at=NOW,
        epoch=1,
        changed=False,
        snapshot=snapshot,
        decision=decision.alarmed("bottleneck") if alarm else decision,
    )


def test_an_alarm_is_told_when_it_comes_and_when_it_goes() -> None:
    ear = Ear()
    reasons = (FailureReason("NoSuchBucket: https://me:secret@host/x?sig=1", 12),)
    assert ear.round(0.0, entry(alarm=True, failure_reasons=reasons)) == ["alarm_raised"]
    assert ear.round(2.0, entry(alarm=True)) == []
    assert ear.round(9.0, entry()) == ["alarm_cleared"]
    raised, cleared = ear.told
    assert (raised["alarm"], raised["apps"], raised["app_count"]) == ("bottleneck", ["e123456"], 1)
    assert raised["failures"][0]["count"] == 12
    assert "nothing gets through" in raised["reason"]
    assert "12 failed: NoSuchBucket" in raised["text"]
    assert "secret" not in str(ear.told)
    assert cleared["text"] == "e123456: alarm bottleneck is over, after 9 s"


def test_an_alarm_of_many_applications_is_one_notice() -> None:
    apps = [f"a{number}" for number in range(500)]
    ear = Ear(*apps)
    assert ear.round(0.0, *(entry(app, alarm=True) for app in apps)) == ["alarm_raised"]
    (notice,) = ear.told
    assert (notice["app_count"], len(notice["apps"])) == (500, 20)
    assert notice["text"].startswith("a0 and 499 more: alarm bottleneck")


def test_a_missed_objective_is_told_once_and_its_recovery_when_it_has_held_for_a_window() -> None:
    ear = Ear()
    assert ear.round(0.0, entry(attainment=1.0)) == []
    assert ear.round(2.0, entry(attainment=0.9)) == ["slo_missed"]
    assert ear.round(4.0, entry(attainment=0.96)) == []
    assert ear.round(6.0, entry(attainment=0.9)) == []
    assert ear.round(65.0, entry(attainment=None)) == []
    assert ear.round(66.0, entry(attainment=0.96)) == ["slo_met"]
    assert ear.told[0]["attainment"] == 0.9
    assert ear.told[0]["objective"] == "95% < 30s"


def test_dead_letters_are_told_at_once_and_then_once_a_minute() -> None:
    ear = Ear()
    assert ear.round(0.0, entry(dead=1)) == ["dead_letters"]
    assert ear.round(2.0, entry(dead=5)) == []
    assert ear.round(4.0, entry(dead=9)) == []
    assert ear.round(DEAD_PAUSE + 1, entry(dead=9)) == ["dead_letters"]
    assert [notice["dead"] for notice in ear.told] == [1, 8]
    assert ear.round(2 * DEAD_PAUSE + 2, entry(dead=9)) == []


def test_applications_that_only_messages_name_are_not_told_of() -> None:
    assert Ear().round(0.0, entry("hostile", dead=3, attainment=0.1)) == []


def test_the_page_shows_a_notice_as_it_is_posted() -> None:
    ear = Ear()
    ear.round(0.0, entry(alarm=True, failure_reasons=(FailureReason("NoSuchBucket", 12),)))
    page = PAGE.read_text()
    example = json.loads(page.split("```json\n")[1].split("```")[0])
    assert example.keys() == ear.told[0].keys()
    for name in ("alarm_cleared", "dead_letters", "slo_missed", "slo_met", "attainment", "objective", "dead"):
        assert f"`{name}`" in page
