"""What was stored, as workers reported to this machine: a small SQLite file in the state folder.

What comes in: reports of stored uploads. What goes out: which ids are stored already, with which checksum.
It is a convenience: lost or deleted, everything is published again, and the workers find it stored. So
nothing fails where it cannot be written, on a full disk for example. Entries older than `KEEP_SECONDS` are
forgotten.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from upswell.errors import UpswellError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

KEEP_SECONDS = 90 * 86400.0
WAIT_SECONDS = 10.0
"""How long another command of this machine may hold the file."""

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS stored (
        app_id TEXT, id TEXT, bytes INTEGER, checksum TEXT, at REAL, url TEXT, PRIMARY KEY (app_id, id)
    ) WITHOUT ROWID
"""


class StoredEntry(Struct, frozen=True):
    """A stored upload, as its worker reported it; None: not told."""

    request_id: str
    bytes: int | None
    checksum: str | None
    at: float
    url: str | None


def look_up(path: Path, app_id: str, request_ids: Sequence[str]) -> list[StoredEntry]:
    """Return those of the uploads that are recorded; nothing is made or written.

    Raises:
        UpswellError: the file cannot be read.
    """
    if not path.exists():
        return []
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_SECONDS)
        ) as db:
            url = "url" if _has_url(db) else "NULL"
            rows = db.execute(
                f"SELECT id, bytes, checksum, at, {url} FROM stored WHERE app_id = ? "  # noqa: S608 - one of two words
                "AND id IN (SELECT value FROM json_each(?))",
                [app_id, json.dumps(list(request_ids))],
            ).fetchall()
    except sqlite3.Error as error:
        raise UpswellError(f"cannot read the record of stored files {path}: {error}") from error
    return [StoredEntry(*row) for row in rows]


def _has_url(db: sqlite3.Connection) -> bool:
    return any(row[1] == "url" for row in db.execute("PRAGMA table_info(stored)"))


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
        self.error = ""
        """Why it is not written to any more; empty: it is."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, timeout=WAIT_SECONDS)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_SCHEMA)
            if not _has_url(self._connection):  # an earlier version made it
                self._connection.execute("ALTER TABLE stored ADD COLUMN url TEXT")
            self._connection.execute("DELETE FROM stored WHERE at < ?", [clock() - KEEP_SECONDS])
            self._connection.commit()
        except (OSError, sqlite3.Error) as error:
            raise UpswellError(f"cannot use the record of stored files {path}: {error}") from error

    def add(self, request_id: str, size: int | None, checksum: str | None, url: str | None = None) -> None:
        """Add a stored upload; the same again changes nothing."""
        values = (self._app_id, request_id, size, checksum, self._clock(), url)
        with self._forgiving():
            self._connection.execute("INSERT OR REPLACE INTO stored VALUES (?, ?, ?, ?, ?, ?)", values)

    def commit(self) -> None:
        """Write what was added to the disk."""
        with self._forgiving():
            self._connection.commit()

    @contextmanager
    def _forgiving(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self.error = f"cannot write the record of stored files {self._path}: {error}"

    def find(self, request_ids: Sequence[str]) -> dict[str, str | None]:
        """Return id -> checksum (None: not known) of those that are stored."""
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
