from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.recorded_journal import BEGIN, SLO, write_journal
from upswell.cli.journals import open_journal
from upswell.errors import JournalError
from upswell.journal import Journal, ReportRow
from upswell.lab.recorded import read_recorded
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_recorded_cost_and_missed_what_the_fleet_really_did(tmp_path: Path) -> None:
    real = write_journal(tmp_path / "journal.sqlite")
    recorded = read_recorded(open_journal(str(tmp_path), Settings()), "e1")
    assert len(recorded.traffic.arrivals) == real.uploads
    assert recorded.traffic.work == pytest.approx(real.work)
    assert recorded.attainment(SLO) == pytest.approx(real.attainment, abs=0.005)
    assert recorded.billed.worker_seconds == pytest.approx(real.cost, rel=0.02)
    assert recorded.interval == 2.0
    assert recorded.traffic.arrivals[0] >= BEGIN


def test_reports_without_a_service_time_are_refused_where_none_tells_it(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite", told=False)
    with pytest.raises(JournalError, match="have no service times"):
        read_recorded(open_journal(str(tmp_path), Settings()), "e1")


def test_a_service_time_not_told_is_the_median_and_is_said_and_so_are_failed_attempts(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    write_journal(path)
    journal = Journal(path, 50_000_000)
    rows = [
        ReportRow("e1", BEGIN + 1, BEGIN + 90, None, None, "stored"),
        ReportRow("e1", BEGIN + 1, BEGIN + 3, 1.0, 1.0, "dead"),
    ]
    journal.record([], rows)
    journal.close()
    recorded = read_recorded(open_journal(str(path), Settings()), "e1")
    assert recorded.dead == 1
    assert "1 of 502 reports have no service time: the median" in recorded.traffic.notes[0]
    assert "1 attempts that were not stored" in recorded.traffic.notes[1]


def test_of_a_period_only_what_was_decided_and_ended_in_it_is_read(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal.sqlite")
    journal = open_journal(str(tmp_path), Settings())
    begin, end = BEGIN + 200, BEGIN + 300
    period = read_recorded(journal, "e1", begin, end)
    assert period.entries == [one for one in journal.decisions("e1") if begin <= one.at <= end]
    ended = [one for one in journal.reports("e1") if begin <= one.finished_at <= end]
    assert 0 < len(period.responses) <= len(ended)
    assert begin <= period.ended == max(one.finished_at for one in ended) <= end
    assert period.peak_workers <= read_recorded(journal, "e1").peak_workers
