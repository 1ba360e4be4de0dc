"""The journal: what is recorded can be read, by others and meanwhile; it stays small; its errors name it."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from upswell.analysis.decision import Decision, Reason, Step
from upswell.errors import JournalError
from upswell.events import capture
from upswell.journal import FailureRow, Journal, JournalEntry, JournalReader, ReportRow, writer
from upswell.messages import WorkerCrash
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MB = 1_000_000


def entry(
    app_id: str = "e123456", at: float = 1000.0, *, changed: bool = True, desired: int = 3
) -> JournalEntry:
    return JournalEntry(
        app_id=app_id,
        at=at,
        epoch=7,
        changed=changed,
        snapshot=ordinary(at=at, recent_response_times=()),
        decision=Decision(
            desired_workers=desired,
            steps=(Step("test", 2, desired, "{a} x 2", {"a": 1.5}),),
            rejected=(Reason("test", "no"),),
        ),
    )


def row(app_id: str = "e123456", finished_at: float = 1000.0, **fields: Any) -> ReportRow:
    return ReportRow(
        app_id, finished_at - 3.0, finished_at, fields.get("waiting"), fields.get("service"), "stored", "r1"
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite", MB)
    yield made
    made.close()


def test_what_was_recorded_is_read_back_whole_by_another_reader(journal: Journal, tmp_path: Path) -> None:
    journal.record([entry()], [row(waiting=1.0, service=2.0), row()])
    journal.flush()
    reader = JournalReader(tmp_path / "journal.sqlite")
    assert reader.latest("e123456") == entry()
    assert reader.latest("other") is None
    assert reader.decisions() == [entry()]
    assert reader.applications() == ["e123456"]
    full, bare = reader.reports()
    assert full == ReportRow(
        app_id="e123456",
        arrived_at=997.0,
        finished_at=1000.0,
        waiting_time=1.0,
        service_time=2.0,
        outcome="stored",
    )
    assert (bare.waiting_time, bare.service_time) == (None, None)
    assert bare.request_id is None, "who replays traffic is given no ids"


@pytest.mark.usefixtures("journal")
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("journal.sqlite*")} == {0o600}


def test_decisions_are_chosen_by_application_time_number_and_change(journal: Journal) -> None:
    for number in range(6):
        journal.record([entry("ab"[number % 2], 1000.0 + number, changed=number < 3)], [])
    journal.flush()
    assert [e.at for e in journal.decisions("a")] == [1000.0, 1002.0, 1004.0]
    assert [e.at for e in journal.decisions(since=1003.0)] == [1003.0, 1004.0, 1005.0]
    assert [e.at for e in journal.decisions(since=1001.0, until=1002.0)] == [1001.0, 1002.0]
    assert [e.at for e in journal.decisions(limit=2)] == [1004.0, 1005.0]
    assert [e.at for e in journal.decisions(changed_only=True)] == [1000.0, 1001.0, 1002.0]
    latest = journal.latest("b")
    assert latest is not None
    assert latest.at == 1005.0


class _Overheard(JournalReader):
    asked: tuple[str, tuple[object, ...]] = ("", ())

    def _entries(self, query: str, *parameters: object) -> list[JournalEntry]:
        self.asked = query, parameters
        return super()._entries(query, *parameters)


@pytest.mark.parametrize("more", [{}, {"since": 1.0}, {"until": 9.0}, {"changed_only": True}])
def test_the_decisions_of_one_application_are_found_by_an_index(
    journal: Journal, tmp_path: Path, more: dict[str, Any]
) -> None:
    journal.record([entry("a")], [])
    journal.flush()
    reader = _Overheard(tmp_path / "journal.sqlite")
    reader.decisions("a", **more)
    query, parameters = reader.asked
    with sqlite3.connect(tmp_path / "journal.sqlite") as file:
        plan = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
    assert plan[0].startswith("SEARCH decisions USING INDEX")


def test_the_single_response_times_stand_in_the_reports_only(journal: Journal) -> None:
    full = JournalEntry(
        app_id="e123456",
        at=1000.0,
        epoch=7,
        changed=True,
        snapshot=ordinary(recent_response_times=(1.0,) * 1000),
        decision=Decision.of("test", 2, 3, "{a} x 3 = 3", {"a": 1.0}),
    )
    journal.record([full], [])
    journal.flush()
    assert journal.decisions()[0].snapshot.recent_response_times == ()


def test_a_journal_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        journal = Journal(tmp_path / "deep/er/journal.sqlite", MB)
        journal.record([entry(at=1000.0 + number)], [])
        journal.close()
    reader = JournalReader(tmp_path / "deep/er/journal.sqlite")
    assert [e.at for e in reader.decisions()] == [1000.0, 1001.0, 1002.0]


def test_of_many_unchanged_decisions_some_are_kept_in_turn_and_changed_ones_always(journal: Journal) -> None:
    """A thousand applications would else push each other's history out within minutes."""
    names = [f"app{number:03}" for number in range(100)]
    for turn in range(5):
        unchanged = [entry(name, 1000.0 + turn, changed=False) for name in names]
        journal.record([entry("changed", 1000.0 + turn), *unchanged], [])
    journal.flush()
    assert len(journal.decisions("changed")) == 5
    kept = [e.app_id for e in journal.decisions(limit=10_000) if e.app_id != "changed"]
    assert sorted(kept) == names
    assert len(journal.applications()) == 101


def test_the_file_stays_below_its_size_and_forgets_the_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, MB)
    largest = 0
    for number in range(150):
        at = 1000.0 + number
        journal.record([entry(at=at)], [row(finished_at=at, waiting=0.1, service=0.2)] * 1000)
        if number % 10 == 9:
            journal.flush()
            largest = max(largest, sum(file.stat().st_size for file in tmp_path.iterdir()))
    assert largest < 1.2 * MB + 40_000  # the shared-memory file of SQLite's log is 32 KiB
    finished = [report.finished_at for report in journal.reports()]
    assert finished == sorted(finished)
    assert finished[-1] == 1149.0
    assert finished[0] > 1000.0
    assert len(finished) > 5000
    assert journal.decisions()[-1].at == 1149.0
    journal.close()


def test_a_row_that_cannot_be_written_is_told_and_those_after_it_are_written(journal: Journal) -> None:
    journal.record([], [], [FailureRow("e123456", 1000.0, None, None, 2**63, "failed", "why")])
    journal.flush()
    with pytest.raises(JournalError, match="too large"):
        journal.record([entry()], [])
    journal.flush()
    assert journal.decisions() == [entry()]


def test_crashes_are_found_by_worker_and_time_the_newest_first_and_are_bounded(journal: Journal) -> None:
    crashes = [WorkerCrash(app_id="e123456", worker_id=f"w{n}", at=float(n), exit_code=n) for n in range(300)]
    journal.record_crashes(crashes)
    journal.flush()
    assert journal.crashes(worker_id="w299") == crashes[-1:]
    assert journal.crashes("e123456", since=297.0, until=298.0) == [crashes[298], crashes[297]]
    assert journal.crashes("other") == []
    assert len(journal.crashes(limit=1000)) == MB // 5000


def test_a_file_that_is_not_there_reads_as_an_empty_journal(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path / "none.sqlite")
    assert (reader.latest("a"), reader.decisions(), reader.applications(), list(reader.reports())) == (
        None, [], [], [],
    )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_file_whose_writer_has_not_made_its_tables_yet_reads_as_an_empty_journal(tmp_path: Path) -> None:
    """A monitor has just started, and somebody asks for the status."""
    path = tmp_path / "journal.sqlite"
    sqlite3.connect(path).execute("PRAGMA journal_mode = WAL").connection.close()
    reader = JournalReader(path)
    assert list(reader.reports()) == []
    assert reader.decisions() == []
    assert reader.settings("e1") == {}


def test_a_corrupt_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database, " * 500)
    with pytest.raises(JournalError, match=str(path)):
        Journal(path, MB)
    with pytest.raises(JournalError, match=str(path)):
        JournalReader(path).latest("e123456")
    assert path.read_bytes().startswith(b"this is no database")


def test_another_programs_database_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(JournalError, match="another program's database"):
        Journal(path, MB)


def test_a_journal_is_taken_over_while_the_leader_that_hangs_holds_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path, MB).close()
    hung = sqlite3.connect(path, isolation_level=None)
    hung.execute("BEGIN IMMEDIATE")
    journal = Journal(path, MB)  # waits for a lock 10 seconds, then raises
    journal.remember_settings({"e123456": {"max_workers": 8}})
    journal.take_up()
    journal.record([entry(at=1.0)], [])
    hung.execute("ROLLBACK")
    hung.close()
    journal.close()
    assert [e.at for e in JournalReader(path).decisions()] == [1.0]


def test_rounds_that_the_disk_did_not_take_before_the_end_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_CLOSE_SECONDS", 0.01)
    go_on = threading.Event()
    journal = Journal(tmp_path / "journal.sqlite", MB)
    monkeypatch.setattr(journal._writer, "_write", lambda _batch: go_on.wait(60))
    with capture() as log:
        journal.record([entry(at=1.0)], [])
        journal.close()
    go_on.set()
    (failed,) = [event for event in log if event["event"] == "monitor.journal_failed"]
    assert str(failed["error"]).startswith("the disk is too slow: ")


def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    if os.geteuid() == 0:
        folder.write_text("root may write anywhere, but not below a file")
    else:
        folder.mkdir(mode=0o500)
    with pytest.raises(JournalError, match="folder"):
        Journal(folder / "journal.sqlite", MB)


def test_a_round_that_could_not_be_written_is_told_at_the_next_and_writing_goes_on(tmp_path: Path) -> None:
    """As when the disk is full for a while: decisions go on, and the journal comes back by itself."""
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, MB)
    journal.record([entry(at=1.0)], [])
    journal.flush()
    with sqlite3.connect(path) as meddler:
        meddler.execute("ALTER TABLE reports RENAME TO hidden")
    journal.record([entry(at=2.0)], [row()])
    journal.flush()
    with sqlite3.connect(path) as meddler:
        meddler.execute("ALTER TABLE hidden RENAME TO reports")
    meddler.close()
    with pytest.raises(JournalError, match="no such table"):
        journal.record([entry(at=3.0)], [row()])
    journal.record([entry(at=4.0)], [row()])
    journal.close()
    assert [e.at for e in JournalReader(path).decisions()] == [1.0, 3.0, 4.0]
