"""The journal's tables, and how a file of an earlier version becomes one of this version.

`PRAGMA user_version` counts the migrations that a file has gone through. The writer takes an older file along
when it opens it; a reader, which may not write, takes along each entry that it reads. A newer file is
refused. A change of `JournalEntry` that old entries do not survive is one more migration at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from upswell.analysis.sentence import escaped

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x5550534A
"""Stands in the file's header ("UPSJ"), so that no other program's database is taken for a journal."""

Fields = dict[str, Any]


class Migration(Struct, frozen=True):
    """One step forward: SQL statements, and what becomes of the JSON of each entry."""

    tables: str = ""
    entry: Callable[[Fields], Fields] | None = None


def _reason_to_steps(entry: Fields) -> Fields:
    """A decision was a sentence; it became steps, of which such an entry has one."""
    decision: Fields = entry["decision"]
    if "steps" in decision:
        return entry
    before, after = entry["snapshot"]["workers"]["desired"], decision["desired_workers"]
    why = escaped(decision["reason"].removeprefix(f"hold {after}: "))
    step = {"who": "policy", "before": before, "after": after, "why": why, "inputs": decision["numbers"]}
    rejected = [{"who": "policy", "why": escaped(option)} for option in decision["rejected"]]
    return {**entry, "decision": {**decision, "steps": [step], "rejected": rejected}}


MIGRATIONS = (
    Migration(
        """
        CREATE TABLE latest (                      -- the newest entry of each application
            app_id TEXT PRIMARY KEY,
            at REAL NOT NULL,
            entry TEXT NOT NULL                    -- JSON of journal.JournalEntry
        ) WITHOUT ROWID;
        CREATE TABLE decisions (
            id INTEGER PRIMARY KEY,
            app_id TEXT NOT NULL,
            at REAL NOT NULL,
            changed INTEGER NOT NULL,
            entry TEXT NOT NULL
        );
        CREATE INDEX decisions_of_app ON decisions (app_id, id);
        CREATE TABLE reports (                     -- the columns are the fields of journal.ReportRow
            id INTEGER PRIMARY KEY,
            app_id TEXT NOT NULL,
            arrived_at REAL NOT NULL,
            finished_at REAL NOT NULL,
            waiting_time REAL,
            service_time REAL,
            outcome TEXT NOT NULL
        )
        """
    ),
    Migration(  # some journals of version 1 have it already
        """
        CREATE TABLE IF NOT EXISTS settings (      -- what each application is scaled under
            app_id TEXT PRIMARY KEY,
            settings TEXT NOT NULL                 -- JSON: name -> value
        ) WITHOUT ROWID
        """,
        _reason_to_steps,
    ),
    Migration(
        """
        CREATE TABLE hours (                       -- sums of an hour: they outlive what they were made of
            hour INTEGER NOT NULL,                 -- since 1970
            app_id TEXT NOT NULL,
            stored INTEGER NOT NULL,
            in_time INTEGER NOT NULL,
            dead INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            allowed REAL NOT NULL,
            worker_seconds REAL NOT NULL,
            peak_workers INTEGER NOT NULL,
            scalings INTEGER NOT NULL,
            PRIMARY KEY (hour, app_id)
        ) WITHOUT ROWID;
        CREATE TABLE reasons (                     -- the columns are the fields of journal.ReasonCount
            hour INTEGER NOT NULL,
            app_id TEXT NOT NULL,
            what TEXT NOT NULL,
            reason TEXT NOT NULL,
            count INTEGER NOT NULL,
            PRIMARY KEY (hour, app_id, what, reason)
        ) WITHOUT ROWID;
        CREATE TABLE failures (                    -- the columns are the fields of journal.FailureRow
            id INTEGER PRIMARY KEY,
            app_id TEXT NOT NULL,
            at REAL NOT NULL,
            request_id TEXT,
            worker_id TEXT,
            attempt INTEGER NOT NULL,
            outcome TEXT NOT NULL,
            reason TEXT NOT NULL
        );
        CREATE INDEX failures_of_request ON failures (request_id);
        -- What is still there of the past, against the objective of the newest decision
        INSERT INTO hours
            SELECT CAST(finished_at / 3600 AS INTEGER), app_id, sum(outcome = 'stored'),
                sum(outcome = 'stored'
                    AND finished_at - arrived_at <= json_extract(entry, '$.snapshot.slo.seconds')),
                sum(outcome = 'dead'), sum(outcome = 'failed'),
                sum(outcome <> 'failed') * (1 - json_extract(entry, '$.snapshot.slo.share')), 0, 0, 0
            FROM reports JOIN latest USING (app_id) GROUP BY 1, app_id;
        INSERT INTO hours
            SELECT CAST(at / 3600 AS INTEGER), app_id, 0, 0, 0, 0, 0,
                ifnull(max(paid) - min(paid), 0), max(workers), sum(changed)
            FROM (
                SELECT app_id, at, changed, json_extract(entry, '$.bill.starting')
                    + json_extract(entry, '$.bill.standby') + json_extract(entry, '$.bill.busy')
                    + json_extract(entry, '$.bill.idle') + json_extract(entry, '$.bill.draining') AS paid,
                    json_extract(entry, '$.snapshot.workers.starting')
                    + json_extract(entry, '$.snapshot.workers.ready')
                    + json_extract(entry, '$.snapshot.workers.standby')
                    + json_extract(entry, '$.snapshot.workers.draining') AS workers
                FROM decisions
            ) WHERE true GROUP BY 1, app_id
            ON CONFLICT (hour, app_id) DO UPDATE SET worker_seconds = excluded.worker_seconds,
                peak_workers = excluded.peak_workers, scalings = excluded.scalings
        """
    ),
    Migration(
        """
        CREATE TABLE points (                      -- the columns are those of journal/points.py
            app_id TEXT NOT NULL,
            step INTEGER NOT NULL,
            at REAL NOT NULL,
            seconds REAL NOT NULL,
            arrived INTEGER NOT NULL,
            stored INTEGER NOT NULL,
            in_time INTEGER NOT NULL,
            dead INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            p50 INTEGER,
            p95 INTEGER,
            p99 INTEGER,
            maximum INTEGER,
            ready INTEGER,
            in_flight INTEGER,
            desired INTEGER,
            demand REAL,
            starting REAL NOT NULL,
            standby REAL NOT NULL,
            idle REAL NOT NULL,
            busy REAL NOT NULL,
            draining REAL NOT NULL,
            PRIMARY KEY (app_id, step, at)
        ) WITHOUT ROWID;
        ALTER TABLE latest ADD COLUMN trouble INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE latest ADD COLUMN workers INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE latest ADD COLUMN queued INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX changes_of_app ON decisions (app_id, at) WHERE changed
        """
    ),
    Migration(
        """
        CREATE TABLE choices (                     -- the columns are the fields of journal.ChoiceRow
            id INTEGER PRIMARY KEY,
            app_id TEXT NOT NULL,
            at REAL NOT NULL,
            chosen INTEGER NOT NULL,
            before INTEGER NOT NULL,
            setting TEXT NOT NULL,
            why TEXT NOT NULL,
            uploads REAL NOT NULL,
            allowed REAL NOT NULL,
            costs BLOB NOT NULL,                   -- 4 bytes a setting, little-endian
            late BLOB NOT NULL
        );
        CREATE INDEX choices_of_app ON choices (app_id, at)
        """
    ),
    Migration("ALTER TABLE reports ADD COLUMN request_id TEXT"),
    Migration(
        """
        CREATE TABLE crashes (                     -- the columns are the fields of messages.WorkerCrash
            app_id TEXT NOT NULL,
            worker_id TEXT PRIMARY KEY,
            at REAL NOT NULL,
            exit_code INTEGER,
            last_lines TEXT NOT NULL
        );
        CREATE INDEX crashes_of_app ON crashes (app_id, at)
        """
    ),
)

VERSION = len(MIGRATIONS)
REQUEST_IDS_SINCE = 6
"""The version from which on the table of reports names the requests."""


def connect(path: Path) -> tuple[sqlite3.Connection, int]:
    """Return a connection to a journal, usable from any one thread at a time, and its version (0: empty).

    Raises:
        sqlite3.Error: the file is no database, another program's, or a newer version's.
    """
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    try:
        return connection, _version(connection)
    except BaseException:
        connection.close()
        raise


def _version(connection: sqlite3.Connection) -> int:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables:
        return 0
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is another program's database")
    if version > VERSION:
        raise sqlite3.DatabaseError(
            f"a newer Upswell wrote it (version {version}, this one knows {VERSION}): "
            "upgrade Upswell, or move the file away to begin a new journal"
        )
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a journal to this version, all or nothing; one that is there already needs no lock.

    A leader that hangs may hold the lock, and who is to take over from it must not wait for that.
    """
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        for migration in MIGRATIONS[version:]:
            for statement in filter(str.strip, migration.tables.split(";")):
                connection.execute(statement)
        if any(migration.entry for migration in MIGRATIONS[version:]):
            connection.create_function("upgraded", 1, partial(upgrade, version), deterministic=True)
            for table in ("latest", "decisions"):
                connection.execute(f"UPDATE {table} SET entry = upgraded(entry)")  # noqa: S608 - one of two
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def upgrade(version: int, entry: str) -> str:
    """Return the JSON of an entry of an earlier version as this version writes it."""
    upgrades = [migration.entry for migration in MIGRATIONS[version:] if migration.entry]
    if not upgrades:
        return entry
    fields: Fields = msgspec.json.decode(entry, type=Fields)
    for one in upgrades:
        fields = one(fields)
    return msgspec.json.encode(fields).decode()
