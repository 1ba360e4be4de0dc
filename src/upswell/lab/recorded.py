"""What a journal recorded, ready to be replayed or explained.

In: a journal's file. Out: its traffic, and what the recorded fleet cost and missed. An attempt is replayed as
an upload of its own: it came when it was published, and kept a slot busy as long as it really did.
"""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from upswell.analysis.billing import Bill
from upswell.errors import JournalError
from upswell.journal import JournalEntry
from upswell.lab.traffic import Traffic
from upswell.settings import DECIDING, Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upswell.journal import JournalReader, ReportRow
    from upswell.settings import Slo

ALL = -1


class Recorded(Struct, frozen=True, kw_only=True):
    """One application's past: its traffic, its decisions, and what came of them."""

    app_id: str
    traffic: Traffic
    entries: list[JournalEntry]
    failed: int
    """Attempts that were not stored."""
    responses: tuple[float, ...]
    """Response times of the stored ones, in seconds."""
    dead: int
    ended: float
    """When the last of them did, in seconds since 1970."""
    interval: float
    settings: Settings | None
    """What it was scaled under; None where the journal does not tell."""
    billed: Bill | None
    """What the workers cost in the time of the traffic; None where the journal has no bills."""

    @property
    def peak_workers(self) -> int:
        """The most workers that there were at a decision."""
        return max(entry.snapshot.workers.running for entry in self.entries)

    def in_time(self, slo: Slo) -> int:
        """Return how many were answered in time."""
        return sum(response <= slo.seconds for response in self.responses)

    def attainment(self, slo: Slo) -> float:
        """Return the share that was answered in time; dead ones are late."""
        return self.in_time(slo) / max(1, len(self.responses) + self.dead)

    def bill(self, slo: Slo) -> Bill | None:
        """Return what it cost, with the uploads that were in time under this objective."""
        bill = self.billed
        if bill is None:
            return None
        return replace(bill, stored=len(self.responses), in_time=self.in_time(slo), dead=self.dead)


def read_recorded(
    journal: JournalReader, app: str, begin: float | None = None, end: float | None = None
) -> Recorded:
    """Return an application's past, all that is there or that from `begin` to `end`.

    Raises:
        JournalError: the file cannot be read, or no report tells how long an upload took.
    """
    entries = sorted(journal.decisions(app, begin, ALL, until=end), key=lambda entry: entry.at)
    if not entries:
        raise JournalError(f"the journal has no decisions of {app}")
    reports, notes = _comparable(list(journal.reports(app, begin, until=end)), entries)
    if not reports:
        raise JournalError(f"the journal has no reports of {app}")
    services, guessed = _services(reports, app)
    notes += guessed
    arrivals = np.array([report.arrived_at for report in reports])
    order = np.argsort(arrivals, kind="stable")
    failed = sum(report.outcome != "stored" for report in reports)
    if failed:
        notes.append(f"{failed:,} attempts that were not stored are replayed as uploads of their own")
    stored = [report for report in reports if report.outcome == "stored"]
    ended = max(report.finished_at for report in reports)
    return Recorded(
        app_id=app,
        traffic=Traffic(case=app, arrivals=arrivals[order], services=services[order], notes=tuple(notes)),
        entries=entries,
        failed=failed,
        responses=tuple(report.response_time for report in stored),
        dead=sum(report.outcome == "dead" for report in reports),
        ended=ended,
        interval=_interval(entries),
        settings=recall(journal, app),
        billed=_bill(entries, float(arrivals.min()), ended),
    )


def _comparable(reports: list[ReportRow], entries: list[JournalEntry]) -> tuple[list[ReportRow], list[str]]:
    """Leave out what arrived long before the first decision that is still there; return what to say of it."""
    since = entries[0].at - entries[0].snapshot.window
    kept = [report for report in reports if report.arrived_at >= since]
    left_out = len(reports) - len(kept)
    return kept, [f"{left_out:,} uploads from before the first decision are left out"] if left_out else []


def _services(reports: list[ReportRow], app: str) -> tuple[NDArray[np.float64], list[str]]:
    """Return each attempt's service time; an unknown one is taken as the median of the known ones."""
    known = [report.service_time for report in reports if report.service_time is not None]
    if not known:
        raise JournalError(f"the journal's reports of {app} have no service times")
    middle = statistics.median(known)
    times = [
        min(middle, report.response_time) if report.service_time is None else report.service_time
        for report in reports
    ]
    unknown = len(reports) - len(known)
    note = (
        f"{unknown:,} of {len(reports):,} reports have no service time: the median, {middle:.3g} s, stands in"
    )
    return np.array(times), [note] if unknown else []


def _interval(entries: list[JournalEntry]) -> float:
    gaps = [later.at - earlier.at for earlier, later in pairwise(entries)]
    gaps = [gap for gap in gaps if gap > 0]
    return statistics.median(gaps) if gaps else math.nan


def _bill(entries: list[JournalEntry], begin: float, end: float) -> Bill | None:
    """Return what the workers cost from the last decision before `begin` to the first after `end`."""
    billed = [(entry.at, entry.bill) for entry in entries if entry.bill is not None]
    first = next((bill for at, bill in reversed(billed) if at <= begin), billed[0][1] if billed else None)
    last = next((bill for at, bill in billed if at >= end), billed[-1][1] if billed else None)
    if first is None or last is None or last.at <= first.at or last.since != first.since:
        return None
    return Bill(
        since=first.at,
        at=last.at,
        starting=last.starting - first.starting,
        standby=last.standby - first.standby,
        busy=last.busy - first.busy,
        idle=last.idle - first.idle,
        draining=last.draining - first.draining,
        unobserved=last.unobserved - first.unobserved,
    )


def recall(journal: JournalReader, app: str) -> Settings | None:
    """Return what an application was scaled under; None where the journal does not tell.

    Raises:
        JournalError: a value is invalid for its setting.
    """
    values = journal.settings(app)
    if not values:
        return None
    known = {name: value for name, value in values.items() if name in DECIDING}
    try:
        return msgspec.convert(known, Settings)
    except msgspec.ValidationError as error:
        raise JournalError(f"the journal's settings of {app} are from another version: {error}") from error
