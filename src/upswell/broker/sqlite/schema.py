"""The embedded broker's file: its tables, how it is opened, and what its errors mean.

Takes a path; returns an open connection to a sound file of this version, or raises a `BrokerError` that says
what to do.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

from upswell.errors import BrokerError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1

APPLICATION_ID = 0x55505357
"""Stands in the file's header ("UPSW"), so that no other program's database is taken for a broker's."""

BUSY_SECONDS = 10.0
"""How long a transaction waits for other programs (a backup, the sqlite3 shell) to release the file."""

FRESH = 1 << 62
"""`turn` of a message that was never given back: after all that were."""

_SCHEMA = f"""
CREATE TABLE connections (
    id INTEGER PRIMARY KEY,                -- random, so never used twice: an old one's acks can do no harm
    name TEXT NOT NULL,
    pid INTEGER NOT NULL
);
CREATE TABLE queues (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    owner INTEGER,                         -- the connection that an exclusive queue lives with
    bound_to TEXT,
    delivery_limit INTEGER,
    dead_letter_queue TEXT,
    max_length INTEGER,
    message_ttl REAL,
    ready INTEGER NOT NULL DEFAULT 0,      -- kept by the triggers below: to count takes too long
    unacknowledged INTEGER NOT NULL DEFAULT 0,
    returns INTEGER NOT NULL DEFAULT 0     -- how often messages were given back; gives them their turn
);
CREATE INDEX queues_bound_to ON queues (bound_to) WHERE bound_to IS NOT NULL;
CREATE TABLE consumers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL,
    connection INTEGER NOT NULL,
    prefetch_count INTEGER NOT NULL,
    held INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX consumers_queue ON consumers (queue);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL,
    holder INTEGER,                        -- the connection that it is delivered to; NULL: ready
    turn INTEGER NOT NULL DEFAULT {FRESH},
    failed_attempts INTEGER NOT NULL DEFAULT 0,
    expires_at REAL,                       -- on the clock that counts from the machine's start
    message_id TEXT,
    reply_to TEXT,
    headers TEXT,
    body BLOB NOT NULL
);
CREATE INDEX messages_ready ON messages (queue, turn, id) WHERE holder IS NULL;
CREATE INDEX messages_held ON messages (holder) WHERE holder IS NOT NULL;
CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
    UPDATE queues SET ready = ready + 1 WHERE id = new.queue;
END;
CREATE TRIGGER message_moved AFTER UPDATE OF holder ON messages BEGIN
    UPDATE queues SET ready = ready + (new.holder IS NULL) - (old.holder IS NULL),
        unacknowledged = unacknowledged + (old.holder IS NULL) - (new.holder IS NULL)
    WHERE id = new.queue;
END;
CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN
    UPDATE queues SET ready = ready - (old.holder IS NULL),
        unacknowledged = unacknowledged - (old.holder IS NOT NULL)
    WHERE id = old.queue;
END;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""  # noqa: S608 - constants


def make_file(path: Path) -> None:
    """Make the file (0600: it holds other people's messages) and its folder, unless they are there.

    Raises:
        BrokerError: the folder is not writable, or is no folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise file_error(path, error) from error


def open_file(path: Path) -> sqlite3.Connection:
    """Return a connection to the broker's file, its tables made where missing; call it under the write lock.

    Raises:
        BrokerError: not a database, damaged, another program's, or of a newer version.
    """
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL").fetchone()
        # macOS only syncs to the platter when asked in these words; elsewhere they change nothing.
        db.execute("PRAGMA fullfsync = 1")
        db.execute("PRAGMA checkpoint_fullfsync = 1")
        # The log shrinks back to this after a checkpoint, whatever a burst made of it.
        db.execute("PRAGMA journal_size_limit = 16777216").fetchone()
        db.execute("PRAGMA temp_store = MEMORY")
        _check_schema(db, path)
    except sqlite3.Error as error:
        db.close()
        raise file_error(path, error) from error
    except BrokerError:
        db.close()
        raise
    return db


def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    application: int = db.execute("PRAGMA application_id").fetchone()[0]
    tables: int = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables == 0:
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
    elif application != APPLICATION_ID:
        raise BrokerError(f"{path} is another program's database; use another state_dir")
    elif version > SCHEMA_VERSION:
        raise BrokerError(
            f"{path} has schema version {version}, this Upswell knows {SCHEMA_VERSION}: a newer one made it; "
            "upgrade this one or use another state_dir"
        )


def is_passing(error: sqlite3.Error) -> bool:
    """Whether waiting may help: the disk is full, fails or is read-only, or the file is in use."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }


def file_error(path: Path, error: Exception) -> BrokerError:
    """Return the error that names the broker's file, its rule, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BrokerError(
            f"{path} is damaged ({error}): stop all Upswell commands and move it away together with its -wal "
            "and -shm files (a new one is made at the next start), or rescue what is in it with: "
            f"sqlite3 {path} .recover"
        )
    if code == sqlite3.SQLITE_FULL:
        free = shutil.disk_usage(path.parent).free
        return BrokerError(f"the disk is full ({free} bytes free): cannot write {path}")
    # SQLite keeps its log beside the file, so the folder must be writable too.
    return BrokerError(
        f"cannot read and write {path} and its folder (whose mode is {_mode(path.parent)}): {error}"
    )


def _mode(folder: Path) -> str:
    try:
        return f"{folder.stat().st_mode & 0o7777:04o}"
    except OSError:
        return "unknown"
