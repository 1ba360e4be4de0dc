"""A journal of a week with good hours and bad ones, written as a monitor writes it; every number is fixed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Workers
from upswell.journal import FailureRow, Journal, JournalEntry, ReportRow
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
BEGIN = 490_040 * HOUR
"""2025-11-26 08:00 UTC."""
DAYS = 7
_BAD = {30: 0.8, 31: 0.6, 76: 0.9, 100: 0.0}
"""Hour -> share of its uploads that were in time; no upload was in hour 100."""
_SILENT = range(110, 114)
"""Hours without a monitor."""
_OUT = "{queued:upload} queued, {each:s} each; to start all within {within:s} takes {n:worker}"


def write_week(path: Path, apps: tuple[str, ...] = ("photos",), *, max_bytes: int = 50_000_000) -> None:
    """Write it: 20 to 100 uploads an hour of each application."""
    journal = Journal(path, max_bytes)
    paid = 0.0
    for hour in range(24 * DAYS):
        if hour in _SILENT:
            continue
        at = BEGIN + hour * HOUR + 60
        wave = 1 + math.sin(2 * math.pi * (hour % 24 - 6) / 24)
        count = 0 if hour == 100 else 20 + round(40 * wave)
        workers = 1 + round(4 * wave) + (hour in _BAD) * 3
        paid += workers * HOUR
        entries = [_entry(app, at, workers, paid, hour) for app in apps]
        in_time = round(count * _BAD.get(hour, 0.99))
        reports = [
            ReportRow(app, at + n - (4.0 if n < in_time else 45.0), at + n, 1.0, 3.0, "stored")
            for app in apps
            for n in range(count)
        ]
        failures = _failures(apps[0], at, hour)
        reports += [ReportRow(row.app_id, row.at - 1, row.at, None, None, row.outcome) for row in failures]
        journal.record(entries, reports, failures)
        if hour % 50 == 0:
            journal.flush()
    journal.close()


def write_full(path: Path, max_bytes: int) -> float:
    """Write until everything that the journal keeps is at its bound; return when the last hour ended."""
    journal = Journal(path, max_bytes)
    apps, at = [f"app{number}" for number in range(12)], BEGIN
    for first in range(0, 9000, 60):
        entries, reports, failures = list[JournalEntry](), list[ReportRow](), list[FailureRow]()
        for hour in range(first, first + 60):
            at = BEGIN + hour * HOUR + 60
            entries += [_entry(app, at, 2 + hour % 7, HOUR * hour, hour) for app in apps]
            reports += [ReportRow(app, at - 4.0, at, 1.0, 3.0, "stored") for app in apps] * 8
            failures += [
                FailureRow(app, at, f"{app}-{hour}", "w1", 1, "failed", f"reason {'abc'[n]}")
                for app in apps
                for n in range(3)
            ]
        journal.record(entries, reports, failures)
        journal.flush()
    journal.close()
    return at


def _entry(app: str, at: float, workers: int, paid: float, hour: int) -> JournalEntry:
    inputs = {"queued": 10.0 * workers, "each": 2.1, "within": 6.0, "n": float(workers)}
    desired = workers + hour % 3 - 1
    decision = Decision.of("slo", workers, desired, _OUT, inputs)
    if hour % 12 == 2:
        decision = decision.then("bounds", desired - 1, "limited to max_workers {m}", {"m": 4.0})
        desired -= 1
    return JournalEntry(
        app_id=app,
        at=at,
        epoch=1,
        changed=desired != workers,
        snapshot=replace(
            ordinary(at=at), app_id=app, workers=Workers(desired=workers, ready=workers, busy=workers)
        ),
        decision=decision,
        bill=Bill(since=BEGIN, at=at, busy=0.7 * paid, idle=0.3 * paid),
    )


def _failures(app: str, at: float, hour: int) -> list[FailureRow]:
    refused = 'NoSuchBucket: bucket "photos" does not exist at http://127.0.0.1:9000'
    missing = f"the source does not exist: file:///data/{hour}/cat.jpg"
    rows = [FailureRow(app, at, f"b{hour}-{n}", "w1", 1, "failed", refused) for n in range(25)]
    dead = [FailureRow(app, at, f"d{hour}", "w1", 1, "dead", missing)]
    return [*(rows if hour in (30, 31) else []), *(dead if hour % 50 == 7 else [])]
