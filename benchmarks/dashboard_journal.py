"""A journal as a monitor of many applications leaves it after a week; every number is fixed.

In: a path, how many applications, the present. Out: the file.
"""

from __future__ import annotations

import math
import random
import sqlite3
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Percentiles, Workers
from upswell.journal import Journal, JournalEntry, ReportRow
from upswell.journal.hours import ADD_HOUR
from upswell.journal.points import ADD_POINT, STEPS
from upswell.settings import Slo
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from pathlib import Path

WEEK = 7 * 86_400
KEPT_SECONDS = {STEPS[0]: 1800, STEPS[1]: 8 * 3600, STEPS[2]: WEEK}
_WHY = "{queued:upload} queued, {each:s} each; to start all within {within:s} takes {n:worker}"
NAMES = (
    "photos",
    "videos",
    "invoices",
    "scans",
    "backups",
    "avatars",
    "reports",
    "exports",
    "claims",
    "maps",
)


def name_of(number: int) -> str:
    """Return an application's name."""
    name = NAMES[number % len(NAMES)]
    return name if number < len(NAMES) else f"{name}-{number // len(NAMES):04d}"


def wave(number: int, at: float) -> float:
    """Return how busy an application is, 0 to 1: a day's wave with a burst every few hours."""
    day = 0.5 + 0.4 * math.sin(2 * math.pi * (at / 86_400 - 0.3 + number / 37))
    burst = 0.55 if (at / 60 + 17 * number) % 240 < 9 else 0.0
    return min(1.0, 0.1 + 0.5 * day + burst)


def entry(number: int, at: float, *, changed: bool = False) -> JournalEntry:
    """Return the round of an application at an instant."""
    busy = wave(number, at)
    workers = 1 + round(6 * busy)
    late = busy > 0.9 and number % 9 == 4
    p95 = (2.0 + 16 * busy**3) * (2.2 if late else 1)
    slo = Slo(0.95, 30.0)
    times = Percentiles(count=100, mean=p95 / 3, p50=p95 / 3, p95=p95, p99=p95 * 1.3, maximum=p95 * 1.6)
    seen = replace(
        ordinary(at=at),
        app_id=name_of(number),
        slo=slo,
        arrival_rate=round(6 * busy, 2),
        messages_ready=int(40 * max(0.0, busy - 0.7)),
        response_time=times,
        attainment=0.91 if p95 > 30 else 0.99,
        failures=0,
        workers=Workers(desired=workers, ready=workers, busy=max(1, workers - 1)),
    )
    inputs = {"queued": 40.0 * busy, "each": 2.1, "within": 6.0, "n": float(workers)}
    decision = Decision.of("slo", workers - int(changed), workers, _WHY, inputs)
    if number == 27:
        decision = decision.alarmed("bottleneck")
    bill = Bill(since=at - WEEK, at=at, busy=workers * WEEK / 2)
    return JournalEntry(
        app_id=name_of(number), at=at, epoch=1, changed=changed, snapshot=seen, decision=decision, bill=bill
    )


def _point(number: int, step: int, at: float) -> tuple[object, ...]:
    busy, length = wave(number, at), max(2, step)
    stored = int(6 * busy * length)
    workers, p95 = 1 + round(6 * busy), int(1000 * (2.0 + 16 * busy**3))
    return (
        name_of(number), step, at, float(length), stored, stored, int(stored * 0.99), 0, 0,
        p95 // 3, p95, int(p95 * 1.3), int(p95 * 1.6), int(40 * max(0.0, busy - 0.7)), workers * 2, workers,
        round(6 * busy, 2), 0, 0, 1, workers - 1, 0,
    )  # fmt: skip


def write_past(path: Path, applications: int, now: float, *, days: float = 7.0) -> None:
    """Write the course of `days` until now, as it would still be there."""
    Journal(path, 1_000_000_000).close()
    with sqlite3.connect(path) as file:
        for number in range(applications):
            for step, kept in KEPT_SECONDS.items():
                length = max(2, step)
                count = int(min(kept, days * 86_400) / length)
                file.executemany(
                    ADD_POINT, (_point(number, step, now - length * back) for back in range(count, -1, -1))
                )
            hours = [
                (int(now / 3600) - back, name_of(number), 5000, 4950, 3, 10, 250.0, 12_000.0, 9, 30)
                for back in range(int(days * 24))
            ]
            file.executemany(ADD_HOUR, hours)


def write_rounds(path: Path, applications: int, now: float, *, reports: int = 20) -> None:
    """Write some changes of the past hours, single uploads of the last minutes, and the present round."""
    rng = random.Random(5)
    journal = Journal(path, 1_000_000_000)
    journal.remember_settings(
        {name_of(n): {"policy": "slo", "price_per_worker_hour": 0.08} for n in range(applications)}
    )
    for back in range(40, -1, -1):
        at = now - back * 240
        changed = [entry(number, at, changed=True) for number in range(min(applications, 20))]
        rows = [
            ReportRow(name_of(number), at - took, at - offset, 0.3, took - 0.3, "stored")
            for number in range(min(applications, 20))
            for _ in range(reports)
            for took, offset in [(rng.lognormvariate(1.2, 0.6) + 0.3, rng.random() * 60)]
        ]
        journal.record(changed, rows)
    journal.record([entry(number, now) for number in range(applications)], [])
    journal.flush(120)
    journal.close()
