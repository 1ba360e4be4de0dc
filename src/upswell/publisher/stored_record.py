"""What this machine sent and what was stored of it: a small SQLite file in the state folder.

What comes in: requests that the broker has confirmed, and reports of stored uploads. What goes out: which ids
are stored already, with which checksum, and when an upload was sent. It is a convenience: lost or deleted,
everything is published again, and the workers find it stored. So nothing fails where it cannot be written, on
a full disk for example. Entries older than `KEEP_SECONDS` are forgotten.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from upswell.errors import UpswellError
from upswell.requests import key_of
from upswell.safe import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence
    from pathlib import Path

    from upswell.messages import UploadRequest
    from upswell.settings import Settings

KEEP_SECONDS = 90 * 86400.0
WAIT_SECONDS = 10.0
"""How long another command of this machine may hold the file."""

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS stored (
        app_id TEXT, id TEXT, bytes INTEGER, checksum TEXT, at REAL, url TEXT, PRIMARY KEY (app_id, id)
    ) WITHOUT ROWID
"""
_SENT_SCHEMA = """
    CREATE TABLE IF NOT EXISTS sent (
        app_id TEXT, id TEXT, key TEXT, uri TEXT, bytes INTEGER, at REAL, PRIMARY KEY (app_id, id)
    ) WITHOUT ROWID
"""


class StoredEntry(Struct, frozen=True):
    """A stored upload, as its worker reported it; None: not told."""

    request_id: str
    bytes: int | None
    checksum: str | None
    at: float
    url: str | None


class SentEntry(Struct, frozen=True):
    """An upload that this machine sent: the broker has confirmed it."""

    request_id: str
    key: str
    uri: str
    bytes: int | None
    at: float


def record_path(settings: Settings) -> Path:
    """Return where this machine's record is."""
    return settings.state_path / "stored.sqlite"


def look_up(path: Path, app_id: str, request_ids: Sequence[str]) -> list[StoredEntry]:
    """Return those of the uploads that are recorded; nothing is made or written.

    Raises:
        UpswellError: the file cannot be read.
    """
    with _reading(path) as db:
        if db is None or not (columns := _columns(db, "stored")):
            return []
        url = "url" if "url" in columns else "NULL"
        rows = db.execute(
            f"SELECT id, bytes, checksum, at, {url} FROM stored WHERE app_id = ? "  # noqa: S608 - one of two words
            "AND id IN (SELECT value FROM json_each(?))",
            [app_id, json.dumps(list(request_ids))],
        ).fetchall()
    return [StoredEntry(*row) for row in rows]


def look_up_sent(path: Path, app_id: str, names: Collection[str]) -> list[SentEntry]:
    """Return what was sent under any of these names, ids, keys or URIs, oldest first; nothing is written.

    Raises:
        UpswellError: the file cannot be read.
    """
    with _reading(path) as db:
        if db is None or not _columns(db, "sent"):
            return []
        rows = db.execute(
            "WITH names AS MATERIALIZED (SELECT value FROM json_each(?)) "
            "SELECT id, key, uri, bytes, at FROM sent WHERE app_id = ? "
            "AND (id IN names OR key IN names OR uri IN names) ORDER BY at",
            [json.dumps(sorted(names)), app_id],
        ).fetchall()
    return [SentEntry(*row) for row in rows]


def forget_sent(path: Path, app_id: str, request_ids: Collection[str] | None = None) -> None:
    """Forget what was sent, all of it or these: it was deleted from the queue. No file is made.

    Raises:
        UpswellError: the file cannot be written.
    """
    if not path.exists():
        return
    every = "" if request_ids is None else " AND id IN (SELECT value FROM json_each(?))"
    values = [app_id] if request_ids is None else [app_id, json.dumps(sorted(request_ids))]
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as db, db:
            if _columns(db, "sent"):
                db.execute(f"DELETE FROM sent WHERE app_id = ?{every}", values)  # noqa: S608 - one of two conditions
    except sqlite3.Error as error:
        raise UpswellError(f"cannot write the record of stored files {path}: {error}") from error


@contextmanager
def _reading(path: Path) -> Generator[sqlite3.Connection | None]:
    if not path.exists():
        yield None
        return
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_SECONDS)
        ) as db:
            yield db
    except sqlite3.Error as error:
        raise UpswellError(f"cannot read the record of stored files {path}: {error}") from error


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")}


class StoredRecord:
    """The stored uploads of one application; `commit` makes what was added durable."""

    def __init__(self, path: Path, app_id: str, clock: Callable[[], float] = time.time) -> None:
        """Open the file, or make it.

        Raises:
            UpswellError: it cannot be opened, or is something else.
        """
        self._app_id = app_id
        self._clock = clock
        self._path = path
        self._stored: list[tuple[str, str, int | None, str | None, float, str | None]] = []
        self._sent: list[tuple[str, str, str, str, int | None, float]] = []
        """Written by `commit`, both: nothing is locked between two of them, however long the broker takes."""
        self.error = ""
        """Why it is not written to any more; empty: it is."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, timeout=WAIT_SECONDS)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_SCHEMA)
            self._connection.execute(_SENT_SCHEMA)
            if "url" not in _columns(self._connection, "stored"):  # an earlier version made it
                self._connection.execute("ALTER TABLE stored ADD COLUMN url TEXT")
            for table in ("stored", "sent"):
                self._connection.execute(f"DELETE FROM {table} WHERE at < ?", [clock() - KEEP_SECONDS])  # noqa: S608 - one of two words
            self._connection.commit()
        except (OSError, sqlite3.Error) as error:
            raise UpswellError(f"cannot use the record of stored files {path}: {error}") from error

    def add(self, request_id: str, size: int | None, checksum: str | None, url: str | None = None) -> None:
        """Add a stored upload; the same again changes nothing."""
        self._stored.append((self._app_id, request_id, size, checksum, self._clock(), url))

    def sent(self, request: UploadRequest) -> None:
        """Add a request that the broker has confirmed; what is sent again counts from then on.

        Its URI is masked: it may hold a password or a signature. Such a one is found by its id or key alone.
        """
        if request.id is None:
            return
        uri = masked(request.uri)
        self._sent.append((self._app_id, request.id, key_of(request), uri, request.size_bytes, self._clock()))

    def commit(self) -> None:
        """Write what was added to the disk."""
        stored, self._stored = self._stored, []
        sent, self._sent = self._sent, []
        try:
            with self._connection as db:  # which rolls back what fails: no lock is left behind
                db.executemany("INSERT OR REPLACE INTO stored VALUES (?, ?, ?, ?, ?, ?)", stored)
                db.executemany("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?, ?)", sent)
        except sqlite3.Error as error:
            self.error = f"cannot write the record of stored files {self._path}: {error}"

    def find(self, request_ids: Sequence[str]) -> dict[str, str | None]:
        """Return id -> checksum (None: not known) of those that are stored."""
        if self._stored:
            self.commit()
        marks = ",".join("?" * len(request_ids))
        rows = self._connection.execute(
            f"SELECT id, checksum FROM stored WHERE app_id = ? AND id IN ({marks})",  # noqa: S608 - marks alone
            [self._app_id, *request_ids],
        )
        return {str(row[0]): row[1] for row in rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
        self._connection.close()
