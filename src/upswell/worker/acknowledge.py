"""When a worker acknowledges an upload: once its report, and if dead its dead letter, are confirmed.

    stored   report confirmed -> ack
    failed   report sent, backoff -> retry (counts as an attempt), or release (does not: the store was down)
    dead     dead letter confirmed, report confirmed -> ack

What comes in: an upload and how an attempt at it ended. What goes out: the report, a copy of it for the
publisher who asked for one, the dead letter; one ack, retry or release for each delivery; `on_gone(upload)`.
It knows nothing of slots and handlers.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from upswell.broker.protocol import Message
from upswell.broker.topology import Queue, dead_letter_queue, report_queue
from upswell.errors import BrokerError
from upswell.events import get_logger
from upswell.messages import Outcome, UploadReport, encode
from upswell.requests import named_in
from upswell.worker.outcomes import dead_letter, frames_of, reason_of, reply, url_of, waiting_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker.protocol import Broker, Delivery
    from upswell.handlers.protocol import Stored
    from upswell.worker.upload import Upload

_log = get_logger()

REPUBLISH_SECONDS = 1.0
"""How long to wait before a refused message is published again."""


class Acknowledger:
    """Reports, dead letters and acks of one worker."""

    def __init__(
        self,
        *,
        app_id: str,
        worker_id: str,
        broker: Broker,
        upload_queue: str,
        reports_to: str,
        on_gone: Callable[[Upload], None],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._app_id = app_id
        self._worker_id = worker_id
        self._broker = broker
        self._report_queue = report_queue(reports_to)
        self._dead_letter_queue = dead_letter_queue(upload_queue)
        self._on_gone = on_gone
        self._clock = clock
        self._monotonic = monotonic
        self.counts: dict[Outcome, int] = {"stored": 0, "failed": 0, "dead": 0}

    def stored(self, upload: Upload, stored: Stored | None) -> None:
        """Report an upload as stored, and acknowledge it when the report is confirmed."""
        self.counts["stored"] += 1
        upload.report = encode(self._report(upload, "stored", stored=stored))
        self._publish(upload).add_done_callback(partial(self._confirmed, upload))

    def failed(self, upload: Upload, error: BaseException, retry_seconds: float) -> None:
        """Report an attempt that failed, without waiting for the confirm, and put the upload back later."""
        self.counts["failed"] += 1
        reason = reason_of(error)
        assert upload.request is not None
        _log.warning(
            "worker.upload_failed",
            request_id=upload.request.id,
            attempt=upload.attempt,
            reason=reason,
            retry_seconds=round(retry_seconds, 3),
            **upload.trace_ids,
            **_frames(error),
        )
        upload.report = encode(self._report(upload, "failed", reason=reason))
        self._publish(upload).add_done_callback(_forgive)
        upload.timer = asyncio.get_running_loop().call_later(retry_seconds, self.put_back, upload)

    def dead(self, upload: Upload, error: BaseException) -> None:
        """Send an upload to the dead-letter queue, report it, and acknowledge it when both are confirmed."""
        self.counts["dead"] += 1
        upload.is_dead = True
        reason = reason_of(error)
        first = upload.deliveries[0]
        if upload.request is None:
            app_is_valid, request_id = named_in(first.body, first.message_id)
        else:
            app_is_valid, request_id = True, upload.request.id
        _log.warning(
            "worker.upload_dead",
            request_id=request_id,
            attempt=upload.attempt,
            reason=reason,
            **upload.trace_ids,
            **_frames(error),
        )
        if app_is_valid:
            upload.report = encode(self._report(upload, "dead", reason=reason, request_id=request_id))
        letter = dead_letter(
            first,
            error,
            queue=self._dead_letter_queue.name,
            app_id=self._app_id,
            worker_id=self._worker_id,
            died_at=self._clock(),
        )
        upload.task = asyncio.get_running_loop().create_task(self._see_through(upload, letter))

    def put_back(self, upload: Upload) -> None:
        """Return an upload to the queue for its next attempt."""
        self._settle(upload, self._broker.retry if upload.is_counted else self._broker.release)

    def release(self, upload: Upload) -> None:
        """Return an upload to the queue as if it had never been delivered."""
        self._settle(upload, self._broker.release)

    def _acknowledge(self, upload: Upload) -> None:
        self._settle(upload, self._broker.ack)

    def _settle(self, upload: Upload, settle: Callable[[Delivery], None]) -> None:
        for delivery in upload.deliveries:
            settle(delivery)
        self._on_gone(upload)

    def _confirmed(self, upload: Upload, confirm: asyncio.Future[None]) -> None:
        if confirm.cancelled() or confirm.exception() is not None:
            upload.task = asyncio.get_running_loop().create_task(self._see_through(upload, None))
        else:
            self._acknowledge(upload)

    async def _see_through(self, upload: Upload, letter: Message | None) -> None:
        """Publish a dead letter and then a report, each until it is confirmed; then acknowledge."""
        if letter is not None:
            await self._publish_until_confirmed(letter, self._dead_letter_queue)
            self._answer(upload)
        if upload.report:
            await self._publish_until_confirmed(self._message(upload), self._report_queue)
        self._acknowledge(upload)

    async def _publish_until_confirmed(self, message: Message, queue: Queue) -> None:
        while True:
            try:
                await self._broker.publish(message)
            except BrokerError as error:  # someone deleted the queue, most likely: make it again
                _log.warning("worker.publish_refused", queue=queue.name, reason=reason_of(error))
            else:
                return
            await asyncio.sleep(REPUBLISH_SECONDS)
            try:
                await self._broker.declare(queue)
            except BrokerError as error:
                _log.warning("worker.publish_refused", queue=queue.name, reason=reason_of(error))

    def _publish(self, upload: Upload) -> asyncio.Future[None]:
        self._answer(upload)
        return self._broker.publish(self._message(upload))

    def _message(self, upload: Upload) -> Message:
        return Message(body=upload.report, routing_key=self._report_queue.name)

    def _answer(self, upload: Upload) -> None:
        for delivery in upload.deliveries:
            if delivery.reply_to is not None and upload.report:
                self._answer_to(delivery, upload.report)

    def answer_joined(self, upload: Upload, twin: Upload) -> None:
        """Answer whoever published again what is stored already; the others were answered."""
        answered = {delivery.reply_to for delivery in twin.deliveries}
        if twin.is_stored and twin.report:
            for delivery in upload.deliveries:
                if delivery.reply_to not in answered:
                    self._answer_to(delivery, twin.report)

    def _answer_to(self, delivery: Delivery, report: bytes) -> None:
        message = reply(delivery, report)
        if message is not None:
            self._broker.publish(message).add_done_callback(_forgive)

    def _report(
        self,
        upload: Upload,
        outcome: Outcome,
        *,
        stored: Stored | None = None,
        reason: str | None = None,
        request_id: str | None = None,
    ) -> UploadReport:
        if upload.trace is not None:
            upload.trace.reports(outcome, reason, None if stored is None else stored.bytes)
        service_time = self._monotonic() - upload.started
        request = upload.request
        waited = None if request is None else waiting_time(request.published_at, upload.delivered_at)
        return UploadReport(
            app_id=self._app_id,
            response_time=service_time if waited is None else waited + service_time,
            request_id=request_id if request is None else request.id,
            worker_id=self._worker_id,
            outcome=outcome,
            waiting_time=waited,
            service_time=service_time,
            bytes=None if stored is None else stored.bytes,
            checksum=None if stored is None else stored.checksum,
            url=None if stored is None else url_of(stored),
            finished_at=self._clock(),
            attempt=upload.attempt,
            reason=reason,
        )


def _frames(error: BaseException) -> dict[str, str]:
    """Return what the log says of where the user's own code failed: one line, innermost last."""
    frames = frames_of(error)
    return {"frames": " > ".join(frames)} if frames else {}


def _forgive(confirm: asyncio.Future[None]) -> None:
    """Take notice of an error, so that asyncio does not log it as never retrieved."""
    if not confirm.cancelled():
        confirm.exception()
