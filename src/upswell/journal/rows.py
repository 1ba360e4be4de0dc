"""What a journal holds: entries, reports and failures. The fields of a row are the columns of its table."""

from __future__ import annotations

from msgspec import Struct

from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Snapshot
from upswell.messages import WorkerCrash


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
    request_id: str | None = None
    """The page shows it; who replays the traffic is not given it."""

    @property
    def response_time(self) -> float:
        """Seconds from its arrival to its end; clocks may differ, so it is at least zero."""
        return max(0.0, self.finished_at - self.arrived_at)


class FailureRow(Struct, frozen=True, gc=False):
    """One attempt that failed, or an upload that was given up (`outcome` is `dead`), as its worker told."""

    app_id: str
    at: float
    request_id: str | None
    worker_id: str | None
    attempt: int
    outcome: str
    reason: str


class ChoiceRow(Struct, frozen=True, gc=False):
    """A setting that the slo policy was told to follow, and what all of them would have cost and missed."""

    app_id: str
    at: float
    chosen: int
    """Index in the policy's family of settings; `before` likewise."""
    before: int
    setting: str
    why: str
    uploads: float
    allowed: float
    """Late uploads among them that the objective allows."""
    costs: bytes
    """Worker-seconds of each setting, single precision; `late` likewise uploads."""
    late: bytes


class ReasonCount(Struct, frozen=True, gc=False):
    """How often something happened in an hour for one reason: a failure, or a decision."""

    hour: int
    app_id: str
    what: str
    reason: str
    count: int


def _insert(table: str, row: type[Struct]) -> str:
    fields = row.__struct_fields__
    return f"INSERT INTO {table} ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})"  # noqa: S608 - names of fields


def _select(table: str, row: type[Struct], without: str = "") -> str:
    fields = [name for name in row.__struct_fields__ if name != without]
    return f"SELECT {', '.join(fields)} FROM {table}"  # noqa: S608 - as above


INSERT_REPORT = _insert("reports", ReportRow)
SELECT_REPORTS = _select("reports", ReportRow, without="request_id")
INSERT_FAILURE, SELECT_FAILURES = _insert("failures", FailureRow), _select("failures", FailureRow)
INSERT_CRASH = _insert("crashes", WorkerCrash).replace("INSERT", "INSERT OR IGNORE", 1)
SELECT_CRASHES = _select("crashes", WorkerCrash)
ADD_REASON = (
    f"{_insert('reasons', ReasonCount)} ON CONFLICT (hour, app_id, what, reason)"
    " DO UPDATE SET count = count + excluded.count"
)
SELECT_CHOICES = _select("choices", ChoiceRow)
INSERT_CHOICE = _insert("choices", ChoiceRow)
