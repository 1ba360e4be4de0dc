"""What a journal holds: entries and reports. The fields of a report are the columns of its table."""

from __future__ import annotations

from msgspec import Struct

from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Snapshot


class JournalEntry(Struct, frozen=True, kw_only=True, gc=False):
    """One decision of the monitor of that `epoch`, the snapshot it was made from, the cost so far."""

    app_id: str
    at: float
    epoch: int
    changed: bool
    snapshot: Snapshot
    decision: Decision
    bill: Bill | None = None


class ReportRow(Struct, frozen=True, gc=False):
    """One attempt at an upload: instants in UTC seconds since 1970, times in seconds, None where unknown."""

    app_id: str
    arrived_at: float
    finished_at: float
    waiting_time: float | None
    service_time: float | None
    outcome: str

    @property
    def response_time(self) -> float:
        """Seconds from its arrival to its end; clocks may differ, so it is at least zero."""
        return max(0.0, self.finished_at - self.arrived_at)


_FIELDS = ReportRow.__struct_fields__
_COLUMNS, _VALUES = ", ".join(_FIELDS), ", ".join("?" * len(_FIELDS))
INSERT_REPORT = f"INSERT INTO reports ({_COLUMNS}) VALUES ({_VALUES})"  # noqa: S608 - names of fields
SELECT_REPORTS = f"SELECT {_COLUMNS} FROM reports"  # noqa: S608 - as above
