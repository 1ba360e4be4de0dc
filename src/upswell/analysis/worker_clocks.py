"""How old a report is, though every worker's clock may be wrong.

A worker's newest status was sent just before it was received, so the difference of the two instants is the
error of that worker's clock. The same error stands in its reports' `finished_at` and cancels out. Where a
report waited in its queue (no monitor ran, the connection stalled), what remains is how long. A clock that
jumps is right again at the next status.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.messages import UploadReport, WorkerStatus


class WorkerClocks:
    """The clock error of each worker, of the `limit` that were heard of last."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._errors: OrderedDict[str, float] = OrderedDict()

    def heard(self, status: WorkerStatus, at: float) -> None:
        """Learn from a status received at the instant `at` of our own clock."""
        self._errors[status.worker_id] = at - status.at
        self._errors.move_to_end(status.worker_id)
        if len(self._errors) > self._limit:
            self._errors.popitem(last=False)

    def age(self, report: UploadReport, at: float, *, trusted: bool = False) -> float:
        """Return the seconds from the end of an upload to `at`, when its report was received; never below 0.

        The clock of a worker that never sent a status is unknown: its report counts as new, unless
        clocks are `trusted` to agree.
        """
        if report.finished_at is None:
            return 0.0
        error = self._errors.get(report.worker_id or "")
        if error is None:
            if not trusted:
                return 0.0
            error = 0.0
        return max(0.0, at - report.finished_at - error)
