from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from upswell.errors import UpswellError
from upswell.messages import UploadRequest
from upswell.publisher import stored_record
from upswell.publisher.stored_record import (
    KEEP_SECONDS,
    SentEntry,
    StoredEntry,
    StoredRecord,
    forget_sent,
    look_up,
    look_up_sent,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_stored_is_known_again_with_its_checksum_per_application(tmp_path: Path) -> None:
    path = tmp_path / "state" / "stored.sqlite"
    with StoredRecord(path, "e1") as record:
        record.add("a", 5, "sha256:00")
        record.add("b", None, None)
    with StoredRecord(path, "e1") as record:
        assert record.find(["a", "b", "c"]) == {"a": "sha256:00", "b": None}
    with StoredRecord(path, "e2") as record:
        assert record.find(["a", "b", "c"]) == {}


def test_what_was_not_committed_when_the_command_was_killed_is_just_not_known(tmp_path: Path) -> None:
    first = StoredRecord(tmp_path / "r", "e1")
    first.add("a", 5, None)
    first.commit()
    first.add("b", 5, None)
    first._connection.close()  # as a kill does: what was not committed is gone
    with StoredRecord(tmp_path / "r", "e1") as record:
        assert record.find(["a", "b"]) == {"a": None}


def test_it_is_not_locked_between_two_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_record, "WAIT_SECONDS", 0.0)
    with StoredRecord(tmp_path / "r", "e1") as slow:  # it verifies large files, for one
        slow.add("a", 5, None)
        with StoredRecord(tmp_path / "r", "e2") as other:
            other.add("b", 5, None)
        assert (slow.error, other.error) == ("", "")
        assert slow.find(["a"]) == {"a": None}
        with StoredRecord(tmp_path / "r", "e3") as other:  # nor by what was looked for
            other.add("c", 5, None)
        assert (slow.error, other.error) == ("", "")


def test_a_full_disk_is_told_and_fails_nothing(tmp_path: Path) -> None:
    with StoredRecord(tmp_path / "r", "e1") as record:
        record.add("before", 5, None)
        record.commit()
        record._connection.execute("PRAGMA max_page_count = 1")  # as the disk is full from now on
        for number in range(2000):
            record.add(f"{number:0100d}", 5, "sha256:00")
        record.commit()
        assert record.error.startswith(f"cannot write the record of stored files {tmp_path / 'r'}: ")
        assert "full" in record.error
        assert record.find(["before"]) == {"before": None}


def test_old_entries_are_forgotten(tmp_path: Path) -> None:
    with StoredRecord(tmp_path / "r", "e1", clock=lambda: 1000.0) as record:
        record.add("old", 5, None)
    with StoredRecord(tmp_path / "r", "e1", clock=lambda: 1001.0 + KEEP_SECONDS) as record:
        assert record.find(["old"]) == {}


def test_a_file_that_is_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(b"no database" * 100)
    with pytest.raises(UpswellError, match="cannot use the record of stored files"):
        StoredRecord(tmp_path / "r", "e1")


def test_looking_up_makes_and_changes_nothing_and_reads_an_older_record(tmp_path: Path) -> None:
    assert look_up(tmp_path / "none", "e1", ["a"]) == []
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old"
    with sqlite3.connect(old) as file:
        file.execute(
            "CREATE TABLE stored (app_id TEXT, id TEXT, bytes INTEGER, checksum TEXT, at REAL,"
            " PRIMARY KEY (app_id, id)) WITHOUT ROWID"
        )
        file.execute("INSERT INTO stored VALUES ('e1', 'a', 5, 'sha256:00', 7.0)")
    file.close()
    before = old.read_bytes()
    assert look_up(old, "e1", ["a", "b"]) == [StoredEntry("a", 5, "sha256:00", 7.0, None)]
    assert old.read_bytes() == before
    with StoredRecord(old, "e1", clock=lambda: 8.0) as record:
        record.add("b", 6, None, "s3://bucket/b")
        assert record.find(["a", "b"]) == {"a": "sha256:00", "b": None}
    assert look_up(old, "e1", ["b"]) == [StoredEntry("b", 6, None, 8.0, "s3://bucket/b")]


def request(name: str, **other: object) -> UploadRequest:
    return UploadRequest(app_id="e1", type="file", uri=f"file:///{name}", id=name, **other)  # type: ignore[arg-type]


def test_what_was_sent_is_found_by_each_of_its_names_until_it_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "r"
    assert look_up_sent(path, "e1", {"a"}) == []
    forget_sent(path, "e1")
    assert list(tmp_path.iterdir()) == []
    now = [1000.0]
    with StoredRecord(path, "e1", clock=lambda: now[0]) as record:
        record.sent(request("a", key="cats/a", size_bytes=5))
        now[0] = 1001.0
        record.sent(request("b"))
        record.sent(UploadRequest(app_id="e1", type="file", uri="file:///without-an-id"))
    a = SentEntry("a", "cats/a", "file:///a", 5, 1000.0)
    b = SentEntry("b", "b/b", "file:///b", None, 1001.0)
    for name in ("a", "cats/a", "file:///a"):
        assert look_up_sent(path, "e1", {name, "nothing"}) == [a]
    assert look_up_sent(path, "e1", {"b", "cats/a"}) == [a, b]
    assert look_up_sent(path, "e2", {"a"}) == []
    forget_sent(path, "e1", {"a"})
    assert look_up_sent(path, "e1", {"a", "b"}) == [b]
    forget_sent(path, "e1")
    assert look_up_sent(path, "e1", {"a", "b"}) == []


def test_what_was_sent_again_counts_from_then_on_and_is_forgotten_when_old(tmp_path: Path) -> None:
    now = [1000.0]
    with StoredRecord(tmp_path / "r", "e1", clock=lambda: now[0]) as record:
        record.sent(request("a"))
        now[0] = 2000.0
        record.sent(request("a"))
    assert [entry.at for entry in look_up_sent(tmp_path / "r", "e1", {"a"})] == [2000.0]
    with StoredRecord(tmp_path / "r", "e1", clock=lambda: 2001.0 + KEEP_SECONDS):
        pass
    assert look_up_sent(tmp_path / "r", "e1", {"a"}) == []


def test_a_record_of_an_earlier_version_tells_of_nothing_sent(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "r") as file:
        file.execute("CREATE TABLE stored (app_id TEXT, id TEXT, PRIMARY KEY (app_id, id)) WITHOUT ROWID")
    file.close()
    assert look_up_sent(tmp_path / "r", "e1", {"a"}) == []
    forget_sent(tmp_path / "r", "e1")
