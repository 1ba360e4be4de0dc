"""The embedded broker's file: what it is made as, and what is said of one that cannot serve."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from upswell.broker.sqlite.database import BrokerDatabase
from upswell.broker.sqlite.schema import SCHEMA_VERSION
from upswell.errors import BrokerError
from upswell.events import capture

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BrokerDatabase]:
    file = BrokerDatabase(tmp_path / "broker.sqlite")
    yield file
    file.close()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write anywhere; the tests must see what others see."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def fill(file: BrokerDatabase) -> None:
    """Leave no room in a file: SQLite then says what it says on a full disk."""
    pages = file.db.execute("PRAGMA page_count").fetchone()[0]
    file.db.execute(f"PRAGMA max_page_count = {pages}")


def make_room(file: BrokerDatabase) -> None:
    file.db.execute("PRAGMA max_page_count = 1000000")


def write_much(file: BrokerDatabase) -> None:
    file.db.execute("INSERT INTO messages (queue, body) VALUES (1, zeroblob(100000))")


def test_all_files_are_for_their_owner_alone(file: BrokerDatabase) -> None:
    """They hold other people's messages."""
    made = sorted(path.name for path in file.path.parent.iterdir())
    assert made == ["broker.sqlite", "broker.sqlite-bells", "broker.sqlite-shm", "broker.sqlite-wal"]
    for path in file.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    BrokerDatabase(tmp_path / "state" / "upswell" / "broker.sqlite").close()
    assert (tmp_path / "state" / "upswell" / "broker.sqlite").exists()


def test_a_synced_transaction_syncs_at_its_commit_and_another_does_not(file: BrokerDatabase) -> None:
    """2 is FULL: the log is synced at each commit; 1 is NORMAL: it is not."""

    def level() -> int:
        return file.db.execute("PRAGMA synchronous").fetchone()[0]

    assert file.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    wanted = [True, False, True, True, False, True]
    assert [file.transact(level, synced=synced) for synced in wanted] == [2, 1, 2, 2, 1, 2]


def test_a_failed_transaction_leaves_nothing(file: BrokerDatabase) -> None:
    def work() -> None:
        write_much(file)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        file.transact(work, synced=True)
    assert file.db.execute("SELECT count(*) FROM messages").fetchone() == (0,)


def test_a_transaction_is_tried_again_until_the_disk_has_room(file: BrokerDatabase) -> None:
    fill(file)
    pauses: list[int] = []

    def pause() -> bool:
        pauses.append(1)
        if len(pauses) == 3:
            make_room(file)
        return True

    with capture() as logs:
        file.transact(lambda: write_much(file), synced=True, pause=pause)
    assert file.db.execute("SELECT count(*) FROM messages").fetchone() == (1,)
    assert [(entry["event"], entry.get("failures")) for entry in logs] == [
        ("broker.disk_refuses", None),
        ("broker.disk_takes_again", 3),
    ]


def test_a_full_disk_is_an_error_for_who_cannot_wait(file: BrokerDatabase) -> None:
    fill(file)
    with pytest.raises(BrokerError, match=r"the disk is full \(\d+ bytes free\): .*broker\.sqlite"):
        file.transact(lambda: write_much(file), synced=True)


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    path.write_bytes(b"not a database at all, but long enough to look like one" * 100)
    with pytest.raises(BrokerError, match=r"broker\.sqlite is damaged") as caught:
        BrokerDatabase(path)
    assert "move it away" in str(caught.value)
    assert path.read_bytes().startswith(b"not a database"), "nothing may be done to it"


def test_a_damaged_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    BrokerDatabase(path).close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996  # the root of the table of tables
    path.write_bytes(content)
    with pytest.raises(BrokerError, match=r"is damaged.*\.recover"):
        BrokerDatabase(path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (id INTEGER)")
    other.close()
    with pytest.raises(BrokerError, match="another program's database"):
        BrokerDatabase(path)


def test_a_newer_versions_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    file = BrokerDatabase(path)
    file.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    file.close()
    with pytest.raises(BrokerError, match=rf"schema version {SCHEMA_VERSION + 1}, .* knows {SCHEMA_VERSION}"):
        BrokerDatabase(path)


def test_a_folder_that_is_not_writable_is_named_with_its_mode() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with (
            as_nobody(),
            pytest.raises(BrokerError, match=r"cannot read and write .*mode is 0555"),
        ):
            BrokerDatabase(folder / "broker.sqlite")


def test_a_writable_file_in_a_folder_that_is_not_is_refused_too() -> None:
    """SQLite could not keep its log there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "broker.sqlite").touch()
        (folder / "broker.sqlite").chmod(0o666)
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(BrokerError, match="cannot read and write"):
            BrokerDatabase(folder / "broker.sqlite")


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=str(tmp_path)):
        BrokerDatabase(tmp_path)


def test_a_replaced_file_is_noticed(file: BrokerDatabase) -> None:
    assert not file.is_replaced()
    file.path.rename(file.path.with_name("moved"))
    assert file.is_replaced()
    file.path.touch()
    assert file.is_replaced()
