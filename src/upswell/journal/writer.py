"""The thread that writes the journal's file, and how the file is kept small.

What comes in: batches. What goes out: rows on disk, one transaction a batch. It does not know what a decision
is.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import astuple

from upswell.events import get_logger
from upswell.journal.hours import ADD_HOUR, HourSums
from upswell.journal.points import ADD_POINT, BYTES_A_POINT, FORGET_POINTS, SHARES, STEPS, Standing
from upswell.journal.rows import (
    ADD_REASON,
    INSERT_CHOICE,
    INSERT_CRASH,
    INSERT_FAILURE,
    INSERT_REPORT,
    ChoiceRow,
    FailureRow,
    ReportRow,
)
from upswell.journal.schema import connect, migrate

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from upswell.messages import WorkerCrash

_log = get_logger()

UNCHANGED_A_ROUND = 20
"""Decisions that change nothing are recorded for so many applications a round, in turn."""

_CLOSE_SECONDS = 60.0
_WAITING_BATCHES = 100
_REPORTS_A_TRANSACTION = 500
_PAGE_BYTES = 4096
_MOST_POINTS_BETWEEN_FORGETTING = 5000

_ADD_SETTINGS = (
    "INSERT INTO settings (app_id, settings) VALUES (?, ?)"
    " ON CONFLICT (app_id) DO UPDATE SET settings = excluded.settings"
)
_FORGET_TENTH = "DELETE FROM {0} WHERE id <= (SELECT min(id) + (max(id) - min(id)) / 10 FROM {0})"
_FORGET_LATEST = "DELETE FROM latest WHERE at < (SELECT at FROM latest ORDER BY at DESC LIMIT 1 OFFSET 20000)"
_FORGET_HOURS = "DELETE FROM {0} WHERE hour < (SELECT hour FROM {0} ORDER BY hour DESC LIMIT 1 OFFSET ?)"
_FORGET_ROWS = "DELETE FROM {0} WHERE rowid <= (SELECT max(rowid) FROM {0}) - ?"
_BYTES_AN_HOUR, _BYTES_A_FAILURE, _BYTES_A_CHOICE = 1000, 5000, 20_000
"""The journal's bytes for each row of these tables that may stay: they fill at most a third of it."""


EntryFields = tuple[str, float, bool, str, Standing]
"""app_id, at, changed, JSON of the whole, how the application stands."""


class JournalBatch(Struct, frozen=True):
    """One round: what makes its entries' rows and its sums (in the thread), and what came since the last."""

    entries: Callable[[], list[EntryFields]]
    reports: list[ReportRow]
    failures: list[FailureRow]
    sums: Callable[[], HourSums]
    points: Callable[[], list[tuple[object, ...]]]


class Writer:
    """Takes batches and writes them, in a thread that starts with the first."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._batches: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._problem = ""
        self._dropped = 0
        self._turn = 0
        self._hour = 0
        self._points_added = 0
        self._connection, _ = connect(path)
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def put(self, batch: JournalBatch) -> str:
        """Take a batch to write; return why earlier ones were not written, or an empty text."""
        problem, self._problem = self._problem, ""
        if self._batches.qsize() >= _WAITING_BATCHES:
            self._dropped += 1
            return f"the disk is too slow: {self._dropped} rounds were dropped"
        self._keep(lambda: self._write(batch))
        return problem

    def flush(self, timeout: float) -> None:
        """Wait until every batch put so far was written or given up."""
        if self._thread is not None:
            written = threading.Event()
            self._batches.put(written.set)
            written.wait(timeout)

    def close(self) -> None:
        """Write what was put, then close the file; a disk that stands still is waited for a minute."""
        if self._thread is not None:
            self._batches.put(None)
            self._thread.join(timeout=_CLOSE_SECONDS)
            if self._thread.is_alive():
                error = f"the disk is too slow: {self._batches.qsize()} rounds were not written"
                _log.error("monitor.journal_failed", error=error)
                return
        self._connection.close()

    def _run(self) -> None:
        while (write := self._batches.get()) is not None:
            try:
                write()
            except Exception as error:  # noqa: BLE001 - a row that cannot be written must not end the thread
                self._problem = str(error) or type(error).__name__

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        # A power cut may lose the last rounds, never the file: a flight recorder needs no fsync for each.
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA secure_delete = OFF")
        # The write-ahead log stays below a tenth of the file.
        pages = max(8, min(1000, self._max_bytes // 20 // _PAGE_BYTES))
        run(f"PRAGMA wal_autocheckpoint = {pages}")
        run(f"PRAGMA journal_size_limit = {pages * _PAGE_BYTES}")
        migrate(self._connection)

    def keep_settings(self, rows: list[tuple[str, str]]) -> None:
        """Write (application, JSON of its settings), after the batches put so far."""
        self._keep(lambda: self._write_rows(_ADD_SETTINGS, rows))

    def keep_choices(self, rows: list[ChoiceRow]) -> None:
        """Write what settings were chosen, after the batches put so far."""
        self._keep(lambda: self._write_rows(INSERT_CHOICE, map(astuple, rows), "choices", _BYTES_A_CHOICE))

    def keep_crashes(self, rows: list[WorkerCrash]) -> None:
        """Write which workers crashed, each once, after the batches put so far."""
        self._keep(lambda: self._write_rows(INSERT_CRASH, map(astuple, rows), "crashes", _BYTES_A_FAILURE))

    def _keep(self, write: Callable[[], None]) -> None:
        self._batches.put(write)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()

    @contextmanager
    def _transacting(self) -> Generator[sqlite3.Connection]:
        """Begin a transaction and commit it; one that fails leaves nothing open for the next."""
        run = self._connection
        run.execute("BEGIN IMMEDIATE")
        try:
            yield run
            run.execute("COMMIT")
        except BaseException:
            if run.in_transaction:
                run.execute("ROLLBACK")
            raise

    def _write_rows(
        self, query: str, rows: Iterable[tuple[object, ...]], bounded: str = "", bytes_a_row: int = 1
    ) -> None:
        """Write rows; of a table that is `bounded` forget those over its bytes."""
        with self._transacting() as run:
            run.executemany(query, rows)
            if bounded:
                run.execute(_FORGET_ROWS.format(bounded), (self._max_bytes // bytes_a_row,))

    def _write(self, batch: JournalBatch) -> None:
        self._transaction(batch.entries(), batch.reports[:_REPORTS_A_TRANSACTION], batch)
        for start in range(_REPORTS_A_TRANSACTION, len(batch.reports), _REPORTS_A_TRANSACTION):
            self._transaction([], batch.reports[start : start + _REPORTS_A_TRANSACTION])

    def _transaction(
        self, entries: list[EntryFields], reports: list[ReportRow], batch: JournalBatch | None = None
    ) -> None:
        with self._transacting() as run:
            run.executemany(
                "INSERT INTO latest (app_id, at, entry, trouble, workers, queued) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (app_id) DO UPDATE SET at = excluded.at, entry = excluded.entry,"
                " trouble = excluded.trouble, workers = excluded.workers, queued = excluded.queued",
                [(app_id, at, entry, *astuple(now)) for app_id, at, _, entry, now in entries],
            )
            run.executemany(
                "INSERT INTO decisions (app_id, at, changed, entry) VALUES (?, ?, ?, ?)",
                [fields[:4] for fields in self._worth_keeping(entries)],
            )
            run.executemany(INSERT_REPORT, map(astuple, reports))
            if batch is not None:
                self._add_sums(batch.sums())
                self._add_points(batch.points())
                run.executemany(INSERT_FAILURE, map(astuple, batch.failures))
                if batch.failures:
                    run.execute(_FORGET_ROWS.format("failures"), (self._max_bytes // _BYTES_A_FAILURE,))
            self._forget_oldest()

    def _add_sums(self, sums: HourSums) -> None:
        run = self._connection
        run.executemany(ADD_HOUR, sums.hours)
        run.executemany(ADD_REASON, map(astuple, sums.reasons))
        newest = max((int(str(hour)) for hour, *_ in sums.hours), default=0)
        if newest > self._hour:
            self._hour = newest
            for table in ("hours", "reasons"):
                run.execute(_FORGET_HOURS.format(table), (self._max_bytes // _BYTES_AN_HOUR,))

    def _add_points(self, points: list[tuple[object, ...]]) -> None:
        self._connection.executemany(ADD_POINT, points)
        self._points_added += len(points)
        fiftieth = self._max_bytes // BYTES_A_POINT // 50
        if self._points_added >= min(_MOST_POINTS_BETWEEN_FORGETTING, fiftieth):
            self._points_added = 0
            for step, share in zip(STEPS, SHARES, strict=True):
                keep = int(share * self._max_bytes / BYTES_A_POINT)
                self._connection.execute(FORGET_POINTS, (step, keep))

    def _worth_keeping(self, entries: list[EntryFields]) -> list[EntryFields]:
        changed = [entry for entry in entries if entry[2]]
        unchanged = [entry for entry in entries if not entry[2]]
        if len(unchanged) > UNCHANGED_A_ROUND:
            start = self._turn % len(unchanged)
            self._turn = start + UNCHANGED_A_ROUND
            unchanged = (unchanged + unchanged)[start : start + UNCHANGED_A_ROUND]
        return changed + unchanged

    def _forget_oldest(self) -> None:
        """Drop the oldest tenth until the pages in use fit; freed pages are used again."""
        run = self._connection.execute
        while self._bytes_used() > self._max_bytes:
            before = self._connection.total_changes
            run(_FORGET_TENTH.format("decisions"))
            run(_FORGET_TENTH.format("reports"))
            run(_FORGET_LATEST)
            if self._connection.total_changes == before:
                return

    def _bytes_used(self) -> int:
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._connection.execute("PRAGMA page_size").fetchone()
        return (pages - free) * size
