"""A journal of an earlier version is taken along; one of a later version is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from upswell.analysis.sentence import sentence, told
from upswell.dashboard.page_journal import PageJournal
from upswell.errors import JournalError
from upswell.journal import Journal, JournalReader, ReportRow
from upswell.journal.schema import VERSION

MB = 1_000_000
APP = "e123456"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal that a monitor of version 1 wrote."""
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as file:
        file.executescript((Path(__file__).parent / "journal_version_1.sql").read_text("utf-8"))
    file.close()
    return path


def columns(path: Path, table: str) -> list[str]:
    file = sqlite3.connect(path)
    try:
        return [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
    finally:
        file.close()


def version(path: Path) -> int:
    file = sqlite3.connect(path)
    try:
        return file.execute("PRAGMA user_version").fetchone()[0]
    finally:
        file.close()


def assert_is_read(reader: JournalReader) -> None:
    """All that the old monitor recorded is there."""
    assert reader.applications() == [APP]
    assert [entry.decision.desired_workers for entry in reader.decisions(APP)] == [1, 9, 9, 9]
    assert [entry.decision.held for entry in reader.decisions(APP)] == [True, False, False, False]
    assert sentence(reader.decisions(APP)[0].decision) == "hold 1: the queue's depth is not known"
    latest = reader.latest(APP)
    assert latest is not None
    assert sentence(latest.decision).startswith(
        "hold 9: 100 wait and 0 are in flight, to be begun within 6 s"
    )
    assert told(latest.decision.rejected[0]) == "other settings: nothing rehearsed yet"
    assert latest.snapshot.messages_ready == 100
    assert reader.bills()[APP].busy == 46.5
    assert reader.settings(APP)["slo"] == "95% < 30s"
    reports = list(reader.reports(APP))
    assert len(reports) == 6
    assert reports[0] == ReportRow(APP, 9997.0, 10000.0, 1.0, 2.0, "stored")
    assert reports[4].outcome == "failed"


def test_a_reader_understands_an_old_journal_and_leaves_it_as_it_is(old: Path) -> None:
    """`status` and `replay` may look at a journal that they must not write to."""
    before = old.read_bytes()
    assert_is_read(JournalReader(old))
    assert old.read_bytes() == before


def test_a_monitor_takes_an_old_journal_along_and_goes_on_with_it(old: Path) -> None:
    journal = Journal(old, MB)
    assert version(old) == VERSION
    assert_is_read(journal)
    latest = journal.latest(APP)
    assert latest is not None
    journal.record([latest], [ReportRow(APP, 1.0, 2.0, None, None, "dead")])
    journal.close()
    reader = JournalReader(old)
    assert len(reader.decisions(APP)) == 5
    assert [report.outcome for report in reader.reports(APP)][-1] == "dead"


def test_an_old_journal_that_was_taken_along_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    Journal(old, MB).close()
    new = tmp_path / "new.sqlite"
    Journal(new, MB).close()
    for table in ("latest", "decisions", "reports", "settings"):
        assert columns(old, table) == columns(new, table) != []


def test_the_page_reads_an_old_journal_of_uploads_without_ids(old: Path) -> None:
    before = old.read_bytes()
    rows = PageJournal(old).ended(APP, 0.0, 1e6)
    assert len(rows) == 6
    assert {row.request_id for row in rows} == {None}
    assert old.read_bytes() == before
    journal = Journal(old, MB)
    journal.record([], [ReportRow(APP, 1e6, 1e6 + 1, None, None, "stored", "r1")])
    journal.close()
    assert [row.request_id for row in PageJournal(old).ended(APP, 1e6, 2e6)] == ["r1"]


def test_the_columns_of_the_table_of_reports_are_the_fields_of_a_report(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.sqlite", MB).close()
    assert columns(tmp_path / "journal.sqlite", "reports") == ["id", *ReportRow.__struct_fields__]


def test_a_newer_journal_is_refused_with_what_to_do_and_left_alone(old: Path) -> None:
    with sqlite3.connect(old) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(JournalError, match=r"version 99, this one knows \d+\): upgrade Upswell, or move"):
        Journal(old, MB)
    with pytest.raises(JournalError, match="upgrade Upswell"):
        JournalReader(old).latest(APP)
    assert version(old) == 99
