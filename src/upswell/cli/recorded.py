"""What a journal recorded, ready to be replayed or explained.

In: a journal's file. Out: its traffic, and what the recorded fleet cost and missed. An attempt is replayed as
an upload of its own: it came when it was published, and kept a slot busy as long as it really did.
"""

from __future__ import annotations

import math
import re
import statistics
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.cli.traffic import Traffic
from upswell.errors import JournalError
from upswell.journal import Entry, JournalReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upswell.analysis.snapshot import Snapshot
    from upswell.journal import JournalReport
    from upswell.settings import Slo

_AGO = re.compile(r"\A-\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|min|h|d)\Z")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_CLOCK = re.compile(r"\A\d{1,2}:\d{2}(:\d{2})?\Z")
ALL = -1
LONGEST_GAP = 10
"""A gap between two decisions longer than so many usual ones is not billed: no monitor ran."""


class Recorded(Struct, frozen=True, kw_only=True):
    """One application's past: its traffic, its decisions, and what came of them."""

    app_id: str
    traffic: Traffic
    entries: list[Entry]
    failed: int
    """Attempts that were not stored."""
    responses: tuple[float, ...]
    """Response times of the stored ones, in seconds."""
    dead: int
    interval: float
    cost: float | None
    """Worker-seconds, summed over the decisions' snapshots; None where there are too few."""

    def attainment(self, slo: Slo) -> float:
        """Return the share that was answered in time; dead ones are late."""
        in_time = sum(response <= slo.seconds for response in self.responses)
        return in_time / max(1, len(self.responses) + self.dead)


def open_journal(path: str) -> JournalReader:
    """Return a reader of the journal, or of the one in a state folder.

    Raises:
        JournalError: there is none.
    """
    file = Path(path)
    if file.is_dir():
        file /= "journal.sqlite"
    if not file.is_file():
        raise JournalError(f"the journal must be a file, or a state folder that has one: {file} is not there")
    return JournalReader(file)


def application(journal: JournalReader, app: str | None) -> str:
    """Return the application meant: the one named, or the only one.

    Raises:
        JournalError: the journal does not know it, or knows several and none was named.
    """
    known = journal.applications()
    if app is None and len(known) == 1:
        return known[0]
    names = ", ".join(known) or "no decision at all"
    if app is None:
        raise JournalError(f"--app must name one of the journal's applications: {names}")
    if app not in known:
        raise JournalError(f"--app must name one of the journal's applications: {names}; got {app}")
    return app


def read_recorded(journal: JournalReader, app: str) -> Recorded:
    """Return an application's past.

    Raises:
        JournalError: the file cannot be read, or no report tells how long an upload took.
    """
    entries = sorted(journal.decisions(app, limit=ALL), key=lambda entry: entry.at)
    if not entries:
        raise JournalError(f"the journal must hold decisions of {app}, got none")
    reports, notes = _comparable(list(journal.reports(app)), entries)
    if not reports:
        raise JournalError(f"the journal must hold reports of {app}, got none")
    services, guessed = _services(reports, app)
    notes += guessed
    arrivals = np.array([report.arrived_at for report in reports])
    order = np.argsort(arrivals, kind="stable")
    failed = sum(report.outcome != "stored" for report in reports)
    if failed:
        notes.append(f"{failed:,} attempts that were not stored are replayed as uploads of their own")
    stored = [report for report in reports if report.outcome == "stored"]
    interval = _interval(entries)
    return Recorded(
        app_id=app,
        traffic=Traffic(case=app, arrivals=arrivals[order], services=services[order], notes=tuple(notes)),
        entries=entries,
        failed=failed,
        responses=tuple(max(0.0, report.finished_at - report.arrived_at) for report in stored),
        dead=sum(report.outcome == "dead" for report in reports),
        interval=interval,
        cost=_cost(entries, interval),
    )


def _comparable(reports: list[JournalReport], entries: list[Entry]) -> tuple[list[JournalReport], list[str]]:
    """Leave out what arrived long before the first decision that is still there; return what to say of it."""
    since = entries[0].at - entries[0].snapshot.window
    kept = [report for report in reports if report.arrived_at >= since]
    left_out = len(reports) - len(kept)
    return kept, [f"{left_out:,} uploads from before the first decision are left out"] if left_out else []


def _services(reports: list[JournalReport], app: str) -> tuple[NDArray[np.float64], list[str]]:
    """Return each attempt's service time; one that was not told is taken as the median of those told."""
    known = [report.service_time for report in reports if report.service_time is not None]
    if not known:
        raise JournalError(f"the journal's reports of {app} must tell service times, got none that does")
    middle = statistics.median(known)
    times = [
        min(middle, max(0.0, report.finished_at - report.arrived_at))
        if report.service_time is None
        else report.service_time
        for report in reports
    ]
    unknown = len(reports) - len(known)
    note = (
        f"{unknown:,} of {len(reports):,} reports told no service time: the median, {middle:.3g} s, stands in"
    )
    return np.array(times), [note] if unknown else []


def _interval(entries: list[Entry]) -> float:
    gaps = [later.at - earlier.at for earlier, later in pairwise(entries)]
    gaps = [gap for gap in gaps if gap > 0]
    return statistics.median(gaps) if gaps else math.nan


def _cost(entries: list[Entry], interval: float) -> float | None:
    if math.isnan(interval):
        return None
    cost = 0.0
    for earlier, later in pairwise(entries):
        gap = later.at - earlier.at
        if 0 < gap <= LONGEST_GAP * interval:
            workers = earlier.snapshot.workers
            cost += gap * (workers.starting + workers.ready + workers.standby + workers.draining)
            cost += _started(earlier.snapshot, later.snapshot)
    return cost


def _started(earlier: Snapshot, later: Snapshot) -> float:
    """Return the seconds from request to first status of those first heard of in between."""
    if earlier.totals is None or later.totals is None:
        return 0.0
    return max(0.0, later.totals.start_seconds - earlier.totals.start_seconds)


def parse_time(text: str, newest: float, now: float) -> float:
    """Return the instant that a text names, in seconds since 1970.

    Args:
        text: ISO 8601 (without a zone: local time), seconds since 1970, `-5min` (before now), `14:03:20`
            (the last such time of day before the newest decision), or `latest`.
        newest: instant of the newest decision.
        now: the present.

    Raises:
        JournalError: it is none of these.
    """
    ago = _AGO.match(text)
    if ago:
        return now - float(ago["number"]) * _UNITS[ago["unit"]]
    if text == "latest":
        return newest
    try:
        if _CLOCK.match(text):
            return _time_of_day(text, newest)
        number = _number(text)
        at = datetime.fromisoformat(text).timestamp() if number is None else number
    except (ValueError, OverflowError, OSError):
        at = math.nan
    if not math.isfinite(at):
        raise JournalError(
            "at must be an instant such as 2026-11-24T14:03:20, 14:03:20, -5min, 1795000000 or latest, "
            f"got {text!r}"
        )
    return at


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _time_of_day(text: str, newest: float) -> float:
    day = time.strftime("%Y-%m-%d", time.localtime(newest))
    padded = text if text.index(":") == 2 else f"0{text}"  # noqa: PLR2004 - two digits of hours
    at = datetime.fromisoformat(f"{day}T{padded}").timestamp()
    # A second of grace: what is shown is rounded down.
    return at if at <= newest + 1 else at - 86400
