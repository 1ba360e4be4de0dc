"""What the page is told: hostile text is made safe, and nothing that is not known becomes zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec.structs import replace

from upswell.analysis.decision import Decision, Reason
from upswell.analysis.period_totals import PeriodTotals
from upswell.analysis.snapshot import FailureReason
from upswell.dashboard.page_journal import PageJournal
from upswell.dashboard.present import budget, cost, decision_whole, notices, present_state
from upswell.dashboard.views import Remembered
from upswell.journal import Journal, JournalEntry
from upswell.policies.slo.slo import SloPolicy
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = 1_795_000_000.0
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202eamqp://me:secret@host/ https://h/a?signature=s3cr3t"


def entry(decision: Decision | None = None, **seen: object) -> JournalEntry:
    decision = decision or Decision.of("slo", 2, 4, "{n:upload} queued", {"n": 7.0})
    return JournalEntry(
        app_id="photos",
        at=BEGIN,
        epoch=1,
        changed=True,
        snapshot=replace(ordinary(at=BEGIN), app_id="photos", **seen),
        decision=decision,
    )


def test_a_decision_is_told_with_steps_numbers_rejected_and_rehearsal() -> None:
    policy = SloPolicy()
    policy.follow(0, "the last 99 uploads would have cost 1.5 worker-hours with 3 late under this setting")
    decision = Decision(
        desired_workers=3,
        steps=Decision.of("slo", 2, 4, "{n:upload} queued, {s:s} each", {"n": 7.0, "s": 2.1})
        .then("bounds", 3, "limited to max_workers {m}", {"m": 3.0})
        .steps,
        rejected=(
            Reason("slo", "to start all at once takes {n:worker}", {"n": 9.0}),
            *policy.decide(ordinary(at=BEGIN)).rejected,
        ),
    )
    told = decision_whole(5, entry(decision))
    assert told["headline"] == "scale out 2 → 3"
    assert [(step["who"], step["before"], step["after"]) for step in told["steps"]] == [
        ("slo", 2, 4),
        ("bounds", 4, 3),
    ]
    assert told["steps"][0]["numbers"] == [["n", "7"], ["s", "2.1 s"]]
    assert [option["why"] for option in told["rejected"]] == ["to start all at once takes 9 workers"]
    said = "the last 99 uploads would have cost 1.5 worker-hours with 3 late under this setting"
    assert told["rehearsal"] == said


def test_hostile_text_is_made_safe_before_it_leaves() -> None:
    template = HOSTILE.replace("{", "{{")
    decision = Decision.of(HOSTILE[:40], 2, 4, template).alarmed("bottleneck")
    hostile = entry(decision, failure_reasons=(FailureReason(HOSTILE, 3),))
    told = msgspec.json.encode(
        [
            decision_whole(1, hostile),
            present_state(hostile, 0.1, "EUR"),
            notices(hostile, BEGIN, 10.0),
        ]
    ).decode()
    for secret in ("secret", "s3cr3t", "\x1b", "\u202e", "\\u001b["):
        assert secret not in told.replace("\\\\u001b[", ""), secret


def test_alarms_failures_and_a_missed_objective_are_said_in_words() -> None:
    decision = Decision.of("slo", 2, 2, "why").alarmed("bottleneck")
    reasons = (FailureReason("NoSuchBucket", 4),)
    words = [
        one["words"] for one in notices(entry(decision, attainment=0.5, failure_reasons=reasons), BEGIN, 9)
    ]
    assert words[0].startswith("More workers do not help: something else is the bottleneck")
    assert words[1].startswith("The objective is missed: 50.0% of the uploads")
    assert words[2].startswith("4 failed: NoSuchBucket")


def test_an_old_decision_says_only_that_it_is_old() -> None:
    told = notices(entry(attainment=0.1), BEGIN + 100, 10.0)
    assert [one["words"] for one in told] == ["The last decision is 100 s old, and so are its figures."]
    assert notices(None, BEGIN, 10.0)[0]["words"].startswith("No decision yet")


def test_cost_is_of_today_of_a_month_and_of_each_upload_in_time() -> None:
    today = PeriodTotals(app_id="photos", begin=0, end=7200, stored=110, in_time=100, worker_seconds=7200.0)
    day = PeriodTotals(app_id="photos", begin=0, end=36_000, hours=10, worker_seconds=72_000.0)
    told = cost(entry(), today, day, 0.1)
    assert (told["today"], told["month"], told["each"]) == (2.0, 2.0 * 730, 0.02)
    unknown = cost(entry(), None, None, 0.0)
    assert (unknown["today"], unknown["month"], unknown["each"], unknown["price"]) == (None,) * 4


def test_there_is_no_error_budget_before_an_upload_ended() -> None:
    assert budget(None) is None
    assert budget(PeriodTotals(app_id="photos", begin=0, end=3600)) is None
    week = PeriodTotals(app_id="photos", begin=0, end=3600, stored=100, in_time=98, allowed=5.0)
    told = budget(week)
    assert told is not None
    assert (told["left"], told["missed"]) == (pytest.approx(0.6), 2)


def test_what_is_remembered_is_made_anew_when_it_is_too_old_and_never_grows_without_bound() -> None:
    now, made = [0.0], list[int]()
    known = Remembered(5.0, lambda: now[0])
    for at in (0.0, 4.9, 5.0):
        now[0] = at
        known.get("a", lambda: made.append(1))
    assert len(made) == 2
    for number in range(10_000):
        known.get(number, lambda: None)
    assert len(known._known) <= 2001


def test_a_journal_that_is_not_there_or_is_none_is_no_crash(tmp_path: Path) -> None:
    reader = PageJournal(tmp_path / "none.sqlite")
    assert reader.chart("photos", 0, BEGIN).columns["at"] == []
    assert reader.changes("photos", 0, BEGIN) == []
    assert reader.ended("photos", 0, BEGIN) == []
    assert reader.listed("", "trouble", 0, 10).entries == []
    assert reader.sparks(["photos"], 0) == {}
    assert reader.prices(["photos"]) == {}


def test_prices_are_those_of_the_settings_that_a_monitor_left(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 10_000_000)
    journal.remember_settings({"photos": {"price_per_worker_hour": 0.25}, "clips": {}, "other": {}})
    journal.close()
    assert PageJournal(tmp_path / "journal.sqlite").prices(["photos", "clips"]) == {"photos": 0.25}


def test_the_list_is_searched_sorted_and_counted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 10_000_000)
    calm = entry(attainment=1.0, failures=0)
    late = entry(attainment=0.1)
    alarmed = replace(calm, decision=calm.decision.alarmed("bottleneck"))
    for name, one in (("calm", calm), ("Late", late), ("alarmed", alarmed)):
        journal.record([replace(one, app_id=name, snapshot=replace(one.snapshot, app_id=name))], [])
    journal.close()
    reader = PageJournal(tmp_path / "journal.sqlite")
    listed = reader.listed("", "trouble", 0, 10)
    assert [one.app_id for one in listed.entries] == ["alarmed", "Late", "calm"]
    assert (listed.found, listed.in_alarm, listed.missing) == (3, 1, 1)
    assert [one.app_id for one in reader.listed("LATE", "name", 0, 10).entries] == ["Late"]
    assert reader.listed("%", "no; such", 0, 10).found == 0
    assert [one.app_id for one in reader.listed("", "name", 1, 1).entries] == ["alarmed"]
