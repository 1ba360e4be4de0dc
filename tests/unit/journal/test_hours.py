"""The sums of hours: what was reported is counted, what it cost is in them, and they outlive the reports."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Workers
from upswell.journal import FailureRow, Journal, JournalEntry, JournalReader, ReportRow
from upswell.journal.hours import OTHERS, REASONS_AN_HOUR
from upswell.settings import Slo
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from upswell.analysis.period_totals import PeriodTotals

MB = 1_000_000
HOUR = 3600.0
BEGIN = 490_000 * HOUR  # 2025-11-24 16:00 UTC
SLO = Slo(0.95, 30.0)


def entry(at: float, *, app: str = "e1", desired: int = 2, paid: float = 0.0, **fields: Any) -> JournalEntry:
    workers = Workers(desired=2, starting=1, ready=2, standby=1, draining=3)
    why, inputs = "{n:upload} queued, {s:s} each", {"n": 240.0, "s": 2.1}
    return JournalEntry(
        app_id=app,
        at=at,
        epoch=1,
        changed=desired != 2,
        snapshot=replace(ordinary(at=at), app_id=app, slo=fields.pop("slo", SLO), workers=workers),
        decision=fields.pop("decision", Decision.of("slo", 2, desired, why, inputs)),
        bill=Bill(since=BEGIN, at=at, busy=paid),
    )


def report(at: float, seconds: float, outcome: str = "stored", app: str = "e1") -> ReportRow:
    return ReportRow(app, at - seconds, at, None, None, outcome)


def failure(at: float, reason: str, outcome: str = "failed") -> FailureRow:
    return FailureRow("e1", at, "r1", "w1", 2, outcome, reason)


def recorded(path: Path, *rounds: tuple[Any, ...], max_bytes: int = 10 * MB) -> JournalReader:
    journal = Journal(path / "journal.sqlite", max_bytes)
    for number, one in enumerate(rounds):
        journal.record(*one)
        if number % 50 == 0:
            journal.flush()
    journal.close()
    return JournalReader(path / "journal.sqlite")


def whole(reader: JournalReader, app: str | None = None) -> list[PeriodTotals]:
    return reader.totals("period", 0, 10**6, app)


def test_uploads_count_against_the_objective_of_their_round(tmp_path: Path) -> None:
    reports = [report(BEGIN + 5, 29.0), report(BEGIN + 5, 31.0), report(BEGIN + 5, 1.0, "dead")]
    later = [report(BEGIN + 9, 29.0), report(BEGIN + 9, 1.0, "failed")]
    reader = recorded(tmp_path, ([entry(BEGIN)], reports), ([entry(BEGIN + 9, slo=Slo(0.5, 10.0))], later))
    (total,) = whole(reader)
    assert (total.stored, total.in_time, total.dead, total.failed) == (3, 1, 1, 1)
    assert (total.ended, total.late, total.missed) == (4, 2, 3)
    assert abs(total.allowed - (3 * 0.05 + 0.5)) < 1e-9
    assert total.held is False
    assert total.attainment == 0.25


def test_an_hour_costs_what_the_bill_grew_by_also_after_a_restart(tmp_path: Path) -> None:
    recorded(tmp_path, ([entry(BEGIN, paid=100.0)], []), ([entry(BEGIN + HOUR, paid=150.0)], []))
    reader = recorded(tmp_path, ([entry(BEGIN + HOUR + 9, paid=175.0)], []))
    first, second = reader.totals("hour", 0, 10**6)
    assert (first.worker_seconds, second.worker_seconds) == (100.0, 75.0)
    assert (first.begin, first.end, first.peak_workers) == (BEGIN, BEGIN + HOUR, 7)
    (both,) = whole(reader)
    assert (both.worker_seconds, both.hours, both.end - both.begin) == (175.0, 2, 2 * HOUR)


def test_applications_and_hours_outside_are_left_out(tmp_path: Path) -> None:
    reader = recorded(
        tmp_path,
        ([entry(BEGIN), entry(BEGIN, app="e2")], [report(BEGIN, 1.0), report(BEGIN, 1.0, app="e2")]),
        ([entry(BEGIN + HOUR)], [report(BEGIN + HOUR, 1.0)]),
    )
    assert [(total.app_id, total.stored) for total in whole(reader)] == [("e1", 2), ("e2", 1)]
    assert [total.stored for total in whole(reader, "e1")] == [2]
    assert [total.stored for total in reader.totals("period", 490_001, 490_002)] == [1]


def test_decisions_and_failures_are_counted_by_what_they_have_in_common(tmp_path: Path) -> None:
    limited = Decision.of("slo", 2, 21, "{n:worker} are needed", {"n": 21.0}).then("bounds", 12, "limited")
    rounds = [
        ([entry(BEGIN, desired=5)], [], [failure(BEGIN, "the source does not exist: file:///data/a.jpg")]),
        ([entry(BEGIN, desired=9)], [], [failure(BEGIN, "the source does not exist: file:///data/b.jpg")]),
        ([entry(BEGIN, desired=1)], [], [failure(BEGIN, "no right", "dead")]),
        ([entry(BEGIN, desired=12, decision=limited)], []),
        ([entry(BEGIN, decision=Decision.hold("monitor", 2, "nothing heard yet"))], []),
    ]
    assert recorded(tmp_path, *rounds).reasons(0, 10**6) == [
        ("e1", "dead", "no right", 1),
        ("e1", "failed", "the source does not exist: file:///...", 2),
        ("e1", "hold", "monitor: nothing heard yet", 1),
        ("e1", "scale in", "slo: N uploads queued, N s each", 1),
        ("e1", "scale out", "slo: N uploads queued, N s each", 2),
        ("e1", "scale out", "slo: N workers are needed; then bounds", 1),
    ]


def test_a_worker_that_invents_reasons_fills_no_journal(tmp_path: Path) -> None:
    hostile = [
        failure(BEGIN, f"reason {'ab'[n % 2]}{chr(97 + n // 26)}{chr(97 + n % 26)}") for n in range(500)
    ]
    reader = recorded(tmp_path, ([entry(BEGIN)], [], hostile), max_bytes=MB)
    counts = {reason: count for _, _, reason, count in reader.reasons(0, 10**6)}
    assert len(counts) == REASONS_AN_HOUR + 1
    assert counts[OTHERS] == 500 - REASONS_AN_HOUR
    assert len(reader.failures(limit=1000)) == MB // 5000


def test_a_request_s_failures_are_found_the_newest_first(tmp_path: Path) -> None:
    rows = [replace(failure(BEGIN + n, f"reason {n}"), request_id=f"r{n % 2}") for n in range(4)]
    reader = recorded(tmp_path, ([entry(BEGIN)], [], rows))
    assert [row.reason for row in reader.failures("e1", "r1")] == ["reason 3", "reason 1"]
    assert reader.failures("other") == []


def test_hours_outlive_their_reports_and_are_bounded_too(tmp_path: Path) -> None:
    many = [report(BEGIN, 1.0)] * 24_000
    rounds = [
        ([entry(BEGIN + n * HOUR) for n in range(first, first + 50)], many if first == 0 else [])
        for first in range(0, 1200, 50)
    ]
    reader = recorded(tmp_path, *rounds, max_bytes=MB)
    assert len(list(reader.reports())) < 24_000
    assert len(reader.totals("hour", 0, 10**6)) == 1001  # the oldest hour that may stay, and those after it
    assert sum(total.stored for total in whole(reader)) == 0


@pytest.mark.parametrize(("zone", "hours"), [("UTC", [8, 4]), ("JST-9", [12]), ("EST5", [13, 1])])
def test_days_are_those_of_the_clock_on_the_wall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, hours: list[int]
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        rounds = [([entry(BEGIN + n * HOUR)], []) for n in range(sum(hours))]
        assert [total.hours for total in recorded(tmp_path, *rounds).totals("day", 0, 10**6)] == hours
    time.tzset()


def test_the_past_of_an_older_journal_is_counted_when_it_is_taken_along(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as file:
        file.executescript((Path(__file__).parent / "journal_version_1.sql").read_text("utf-8"))
    file.close()
    assert JournalReader(path).totals("period", 0, 10**6) == []
    assert JournalReader(path).reasons(0, 10**6) == []
    assert JournalReader(path).failures() == []
    Journal(path, MB).close()
    (total,) = JournalReader(path).totals("period", 0, 10**6)
    assert (total.stored, total.in_time, total.failed, total.scalings) == (5, 5, 1, 2)
    assert total.allowed > 0.2
    assert total.worker_seconds > 0
