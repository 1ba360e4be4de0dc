"""What the monitor hears: reports and statuses come in, windows and the journal's rows fill.

A report counts once however often it travels, at the time it ended and not when it arrived. An invalid one
goes to a queue of its own with the reason. It does not know policies, decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from upswell.analysis.duplicates import Duplicates
from upswell.analysis.worker_clocks import WorkerClocks
from upswell.broker.protocol import Message
from upswell.errors import MessageError
from upswell.events import get_logger
from upswell.journal import FailureRow, ReportRow
from upswell.messages import NO_REASON, UploadReport, WorkerStatus, decode
from upswell.safe import safe

if TYPE_CHECKING:
    import asyncio

    from upswell.broker.protocol import Broker, Delivery
    from upswell.monitor.applications import Applications

_log = get_logger()

Clock = Callable[[], float]

_DUPLICATES_REMEMBERED = 300_000
_ROWS_KEPT = 100_000
_REFUSED_BODY_BYTES = 64 * 1024
_REASON_CHARACTERS = 500


class Intake:
    """Takes deliveries, acks each as soon as it counts.

    Args:
        broker: to ack, and to publish what was refused.
        applications: where reports and statuses go.
        clock: our own clock, which never jumps.
        window: seconds of the windows.
        refused_queue: where invalid reports go.
        started_at: when the monitor started.
        keep_rows: whether a journal will fetch `rows`.
        leads: whether this monitor leads: a report that comes to one that does not is put back.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        applications: Applications,
        clock: Clock,
        window: float,
        refused_queue: str,
        started_at: float,
        keep_rows: bool,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._broker = broker
        self._applications = applications
        self._clock = clock
        self._refused_queue = refused_queue
        self._clocks = WorkerClocks()
        self._duplicates = Duplicates(window, _DUPLICATES_REMEMBERED)
        self._trust_clocks_until = started_at + window
        self._window = window
        self._leads = leads
        self._keep_rows = keep_rows
        self._rows: list[ReportRow] = []
        self._failures: list[FailureRow] = []
        self._refused = 0
        self._refused_why = ""
        self.reports = 0
        self.duplicates = 0
        self.refused = 0

    def begin(self, now: float) -> None:
        """Take reports in from now on: for a window, the queue may hold some of workers that are gone."""
        self._trust_clocks_until = now + self._window

    def on_report(self, delivery: Delivery) -> None:
        """Take one report in and ack it."""
        if not self._leads():
            self._broker.release(delivery)
            return
        now = self._clock()
        try:
            report = decode(UploadReport, delivery.body)
            application = self._applications.get(report.app_id, now)
        except MessageError as error:
            self._refuse(delivery, str(error))
            return
        self.reports += 1
        # Without worker and instant, two reports of the same bytes may be of two uploads.
        if (
            report.worker_id is not None
            and report.finished_at is not None
            and self._duplicates.seen(delivery.body, now)
        ):
            self.duplicates += 1
        elif application is not None:
            # In the first window the queue may hold reports of workers that are gone.
            age = self._clocks.age(report, now, trusted=now < self._trust_clocks_until)
            application.report(report, now, age)
            if self._keep_rows and len(self._rows) < _ROWS_KEPT:
                finished_at = now - age
                self._rows.append(
                    ReportRow(
                        report.app_id,
                        finished_at - report.response_time,
                        finished_at,
                        report.waiting_time,
                        report.service_time,
                        report.outcome,
                        report.request_id,
                    )
                )
                if report.outcome != "stored":
                    self._failures.append(
                        FailureRow(
                            report.app_id,
                            finished_at,
                            report.request_id,
                            report.worker_id,
                            report.attempt,
                            report.outcome,
                            safe(report.reason or NO_REASON, _REASON_CHARACTERS),
                        )
                    )
        self._broker.ack(delivery)

    def on_status(self, delivery: Delivery) -> None:
        """Take one status in and ack it; an invalid one is only counted, the next comes in a second."""
        now = self._clock()
        try:
            status = decode(WorkerStatus, delivery.body)
        except MessageError as error:
            self._note_refused(str(error))
        else:
            self._clocks.heard(status, now)
            application = self._applications.get(status.app_id, now)
            if application is not None:
                application.status(status, now)
        self._broker.ack(delivery)

    def rows(self) -> tuple[list[ReportRow], list[FailureRow]]:
        """Return the journal's rows since the last call: all reports, and more of those that failed."""
        rows = self._rows, self._failures
        self._rows, self._failures = [], []
        return rows

    def tell_refused(self) -> None:
        """Log once a round how many messages were refused since the last."""
        if self._refused:
            _log.warning("monitor.message_refused", count=self._refused, newest_reason=self._refused_why)
            self._refused = 0

    def _note_refused(self, why: str) -> None:
        self._refused += 1
        self.refused += 1
        self._refused_why = why

    def _refuse(self, delivery: Delivery, why: str) -> None:
        """Move an invalid report to its queue, then ack it: it must neither come again nor vanish."""
        self._note_refused(why)
        message = Message(
            body=delivery.body[:_REFUSED_BODY_BYTES],
            routing_key=self._refused_queue,
            headers={"x-upswell-reason": why[:_REASON_CHARACTERS], "x-upswell-bytes": len(delivery.body)},
        )

        def confirmed(published: asyncio.Future[None]) -> None:
            if published.cancelled():
                return
            error = published.exception()
            if error is not None:
                _log.error("monitor.refused_report_lost", queue=self._refused_queue, error=error)
            self._broker.ack(delivery)

        self._broker.publish(message).add_done_callback(confirmed)
