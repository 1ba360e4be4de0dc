"""The flight recorder: what was seen, what was decided and why, and when uploads came and how long they took.

What comes in: the monitor's rounds. What goes out: the same, to `status`, the dashboard and `replay`, also
in other processes and while the monitor writes. It is bounded: the oldest is forgotten. Must not know:
brokers, policies.

A journal that cannot be opened is a `JournalError` at once. One that fails later (disk full) loses what it
could not write, says so at the next `record`, and goes on trying: a decision never waits for it.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from upswell.analysis.period_totals import PeriodTotals
from upswell.analysis.snapshot import worked_out
from upswell.errors import JournalError
from upswell.journal.hours import SELECT_REASONS, TOTALS_FIELDS, HourCounter, select_totals
from upswell.journal.points import PointCounter, standing
from upswell.journal.rows import (
    SELECT_CHOICES,
    SELECT_CRASHES,
    SELECT_FAILURES,
    SELECT_REPORTS,
    ChoiceRow,
    FailureRow,
    JournalEntry,
    ReportRow,
)
from upswell.journal.schema import connect, upgrade
from upswell.journal.writer import JournalBatch, Writer
from upswell.messages import WorkerCrash
from upswell.settings import DECIDING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from upswell.analysis.billing import Bill
    from upswell.journal.hours import Grouping
    from upswell.journal.writer import EntryFields
    from upswell.settings import Settings


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(JournalEntry)


class JournalReader:
    """Reads a journal's file, whoever writes it; a file that is not there reads as an empty journal."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def latest(self, app: str) -> JournalEntry | None:
        """Return the newest entry of an application, or None.

        Raises:
            JournalError: the file is there and cannot be read. So do all readers.
        """
        return next(iter(self._entries("SELECT entry FROM latest WHERE app_id = ?", app)), None)

    def applications(self) -> list[str]:
        """Return the names of the applications that were decided for, sorted."""
        return [app_id for (app_id,) in self._read("latest", "SELECT app_id FROM latest ORDER BY app_id")]

    def bills(self) -> dict[str, Bill]:
        """Return what each application cost so far, by name."""
        return {
            entry.app_id: entry.bill
            for entry in self._entries("SELECT entry FROM latest")
            if entry.bill is not None
        }

    def decisions(
        self,
        app: str | None = None,
        since: float | None = None,
        limit: int = 1000,
        *,
        until: float | None = None,
        changed_only: bool = False,
    ) -> list[JournalEntry]:
        """Return the newest `limit` entries, oldest first, of one application or all, `since` to `until`."""
        where, values = _where({"app_id =": app, "at >=": since, "at <=": until}, "changed" * changed_only)
        query = f"SELECT entry FROM decisions {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - names of columns
        return self._entries(query, *values, limit)[::-1]

    def decision_at(self, app: str, at: float) -> JournalEntry | None:
        """Return the newest entry of an application that was made by then, or None."""
        query = "SELECT entry FROM decisions WHERE app_id = ? AND at <= ? ORDER BY at DESC LIMIT 1"
        return next(iter(self._entries(query, app, at)), None)

    def oldest(self, app: str) -> JournalEntry | None:
        """Return the oldest entry of an application that is still there, or None."""
        query = "SELECT entry FROM decisions WHERE app_id = ? ORDER BY id LIMIT 1"
        return next(iter(self._entries(query, app)), None)

    def reports(
        self,
        app: str | None = None,
        since: float | None = None,
        limit: int = -1,
        *,
        until: float | None = None,
    ) -> Iterator[ReportRow]:
        """Give the attempts that ended, in the order of their reports; `limit` -1 means all."""
        where, values = _where({"app_id =": app, "finished_at >=": since, "finished_at <=": until})
        rows = self._read("reports", f"{SELECT_REPORTS} {where} ORDER BY id LIMIT ?", *values, limit)
        return (ReportRow(*row) for row in rows)

    def totals(
        self, grouping: Grouping, first_hour: int, end_hour: int, app: str | None = None
    ) -> list[PeriodTotals]:
        """Return what the hours from the first until the end (since 1970) brought, by application."""
        rows = self._read("hours", select_totals(grouping), app, first_hour, end_hour)
        return [PeriodTotals(**dict(zip(TOTALS_FIELDS, row, strict=True))) for row in rows]

    def reasons(
        self, first_hour: int, end_hour: int, app: str | None = None
    ) -> list[tuple[str, str, str, int]]:
        """Return (application, what, why, how often) of failures and decisions, the most frequent first."""
        return list(self._read("reasons", SELECT_REASONS, app, first_hour, end_hour))  # type: ignore[arg-type] - columns of SQL

    def failures(
        self, app: str | None = None, request_id: str | None = None, limit: int = 100
    ) -> list[FailureRow]:
        """Return the newest failed attempts and dead uploads, the newest first."""
        where, values = _where({"app_id =": app, "request_id =": request_id})
        rows = self._read("failures", f"{SELECT_FAILURES} {where} ORDER BY id DESC LIMIT ?", *values, limit)
        return [FailureRow(*row) for row in rows]

    def crashes(
        self,
        app: str | None = None,
        worker_id: str | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
        limit: int = 100,
    ) -> list[WorkerCrash]:
        """Return the newest crashes of workers, the newest first."""
        where, values = _where({"app_id =": app, "worker_id =": worker_id, "at >=": since, "at <=": until})
        rows = self._read("crashes", f"{SELECT_CRASHES} {where} ORDER BY at DESC LIMIT ?", *values, limit)
        fields = WorkerCrash.__struct_fields__
        return [WorkerCrash(**dict(zip(fields, row, strict=True))) for row in rows]

    def choice_at(self, app: str, at: float) -> ChoiceRow | None:
        """Return the newest choice of a setting for an application that was made by then, or None."""
        query = f"{SELECT_CHOICES} WHERE app_id = ? AND at <= ? ORDER BY at DESC LIMIT 1"
        return next((ChoiceRow(*row) for row in self._read("choices", query, app, at)), None)

    def settings(self, app: str) -> dict[str, Any]:
        """Return what the newest monitor scaled an application under, by name; empty where not told."""
        query = "SELECT settings FROM settings WHERE app_id = ?"
        with _named_errors(self._path):
            for (text,) in self._read("settings", query, app):
                return msgspec.json.decode(text, type=dict[str, Any])
        return {}

    def _entries(self, query: str, *parameters: object) -> list[JournalEntry]:
        with self._connected() as found:
            if found is None:
                return []
            connection, version = found
            return [read_entry(version, text) for (text,) in connection.execute(query, parameters)]

    def _read(self, table: str, query: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a query; none where its table is not there: the file may be older."""
        with self._connected() as found:
            if found is not None and has_table(found[0], table):
                yield from found[0].execute(query, parameters)

    @contextmanager
    def _connected(self) -> Generator[tuple[sqlite3.Connection, int] | None]:
        """Give a connection and the version of the file, None where it has no tables; errors name it."""
        if not self._path.exists():
            yield None
            return
        with _named_errors(self._path):
            connection, version = connect(self._path)
            try:
                yield (connection, version) if version else None  # 0: its writer has made the file alone yet
            finally:
                connection.close()


class Journal(JournalReader):
    """Writes a journal, from a thread of its own: what cannot be written is told by the next `record`.

    Args:
        path: the file, made with its folder where it is not there.
        max_bytes: size at which the oldest entries are forgotten; the file stays below 1.2 times that.

    Raises:
        JournalError: the file is no journal, or its folder cannot be written to; the message names the file.
    """

    def __init__(self, path: str | Path, max_bytes: int) -> None:
        super().__init__(path)
        with _named_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)  # SQLite's own files beside it get the same mode
            self._writer = Writer(self._path, max_bytes)
        self.take_up()

    def take_up(self) -> dict[str, Bill]:
        """Go on from what another process recorded in this file meanwhile; return the bills.

        Raises:
            JournalError: the file cannot be read.
        """
        bills = self.bills()
        self._hours = HourCounter({app: bill.worker_seconds for app, bill in bills.items()})
        self._points = PointCounter()  # what it counted before was another term's
        return bills

    def record(
        self,
        entries: Sequence[JournalEntry],
        reports: Sequence[ReportRow],
        failures: Sequence[FailureRow] = (),
    ) -> None:
        """Hand over one round; it is written soon, in the order of the calls.

        Raises: JournalError: an earlier round could not be written, or the disk is too slow; this round is
            tried all the same.
        """
        entries, reports, failures = list(entries), list(reports), list(failures)
        sums = partial(self._hours.take, entries, reports, failures)
        points = partial(self._points.take, entries, reports)
        problem = self._writer.put(JournalBatch(partial(_rows, entries), reports, failures, sums, points))
        if problem:
            raise JournalError(f"the journal cannot be written: {self._path}: {problem}")

    def remember(self, settings: Settings) -> None:
        """Hand over what each application is scaled under."""
        self.remember_settings({app: _deciding(settings.for_app(app)) for app in settings.apps})

    def remember_settings(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Hand over each application's settings by name."""
        self._writer.keep_settings([(app, _encode(dict(own)).decode()) for app, own in settings.items()])

    def record_choices(self, choices: Sequence[ChoiceRow]) -> None:
        """Hand over settings that were chosen."""
        self._writer.keep_choices(list(choices))

    def record_crashes(self, crashes: Sequence[WorkerCrash]) -> None:
        """Hand over workers that crashed; one that is there already is let pass."""
        self._writer.keep_crashes(list(crashes))

    def flush(self, timeout: float = 60.0) -> None:
        """Wait until what was recorded is written, or was given up."""
        self._writer.flush(timeout)

    def close(self) -> None:
        """Write what is left and let go of the file."""
        self._writer.close()


def read_entry(version: int, text: str) -> JournalEntry:
    """Return an entry from its JSON in a file of a version."""
    return _decoder.decode(upgrade(version, text))


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the file has a table."""
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone())


def _where(given: dict[str, object], also: str = "") -> tuple[str, list[object]]:
    """Return the conditions whose value is given, and their values: SQLite uses an index of nothing else."""
    known = {condition: value for condition, value in given.items() if value is not None}
    conditions = [f"{condition} ?" for condition in known] + [also] * bool(also)
    return f"WHERE {' AND '.join(conditions)}" if conditions else "", list(known.values())


def _rows(entries: list[JournalEntry]) -> list[EntryFields]:
    return [
        (entry.app_id, entry.at, entry.changed, _encode(_slim(entry)).decode(), standing(entry))
        for entry in entries
    ]


def _slim(entry: JournalEntry) -> JournalEntry:
    """Leave out single response and service times, which stand in the reports; work out percentiles."""
    snapshot = entry.snapshot
    return msgspec.structs.replace(
        entry,
        snapshot=msgspec.structs.replace(
            snapshot,
            recent_response_times=(),
            recent_service_times=(),
            response_time=worked_out(snapshot.response_time),
            waiting_time=worked_out(snapshot.waiting_time),
            service_time=worked_out(snapshot.service_time),
        ),
    )


def _deciding(own: Settings) -> dict[str, Any]:
    values = {name: getattr(own, name) for name in DECIDING}
    if own.rules_file:  # a replay may run in another folder
        values["rules_file"] = str(Path(own.rules_file).expanduser().absolute())
    return values


@contextmanager
def _named_errors(path: Path) -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
        raise JournalError(f"the journal cannot be used: {path}: {error}") from error
