"""One application's upload queue as a client uses it: publish, wait, look at the dead letters."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from upswell.broker.declaring import declare_upload_queue
from upswell.broker.listening import listen
from upswell.broker.topology import dead_letter_queue, reply_queue
from upswell.client.inquiry import Inquiry
from upswell.client.results import DeadUpload, PublishCounts
from upswell.errors import MessageError, UnroutableError, UploadFailed, UpswellError
from upswell.events import get_logger
from upswell.messages import UploadRequest, decode
from upswell.publisher.dead_letters import died_at, reason_of, request_id_of, retry_dead
from upswell.publisher.loop import Publisher
from upswell.publisher.publishing import follow
from upswell.publisher.readable import check_source
from upswell.publisher.replies import Replies
from upswell.publisher.unanswered import Unanswered
from upswell.traces import PUBLISHER, tracer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from upswell.broker import Broker, Delivery
    from upswell.client.pending import Pending, PendingUploads
    from upswell.client.results import UploadResult
    from upswell.settings import Settings

_log = get_logger()

ROUND_SECONDS = 1.0
"""How often it is asked what became of uploads whose reply does not come."""

LONG_WAIT_SECONDS = 1.0
"""After such a wait in vain the queue is looked at for a reason."""


class AppQueue:
    """`settings` are those that hold for the application; `reply_to` names the client's reply queue.

    `on_sent` gets each request that the broker has confirmed.
    """

    def __init__(
        self,
        broker: Broker,
        app_id: str,
        settings: Settings,
        pending: PendingUploads,
        reply_to: str,
        *,
        on_sent: Callable[[UploadRequest], None],
    ) -> None:
        self.app_id = app_id
        self.name = settings.upload_queue_of(app_id)
        self.settings = settings
        self._broker = broker
        self._tracer = tracer_of(settings, PUBLISHER)
        self._publisher = Publisher(
            broker=broker, upload_queue=self.name, reply_to=reply_to, tracer=self._tracer
        )
        self._pending = pending
        self._on_sent = on_sent
        self._waiting = 0
        self._inquiry = Inquiry(broker, self.name, settings)
        self._asking: asyncio.Task[None] | None = None

    async def declare(self) -> None:
        """Make the queue and its dead-letter queue unless they are there."""
        await declare_upload_queue(self._broker, self.name, delivery_limit=self.settings.delivery_limit)

    async def send(self, request: UploadRequest) -> None:
        """Publish a request; return when the broker has confirmed it.

        Raises:
            BrokerError: the broker refuses it.
        """
        check_source(self.settings, request.uri)
        try:
            await self._publisher.send(request)
        except UnroutableError:  # someone deleted the queue meanwhile
            await self.declare()
            await self._publisher.send(request)
        self._on_sent(request)

    async def wait(self, pending: Pending, timeout: float | None) -> UploadResult:
        """Return the result of an upload, once it has one.

        Raises:
            UploadFailed: it is dead, or nobody can tell any more.
            TimeoutError: neither, within `timeout` seconds.
            UpswellError: the client was closed.
        """
        self._waiting += 1
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            async with asyncio.timeout(timeout):
                await pending.ended.wait()
        except TimeoutError:
            raise TimeoutError(f"{_overdue(pending, timeout)}{await self._why(timeout or 0)}") from None
        finally:
            self._waiting -= 1
        if pending.result is not None:
            return pending.result
        if pending.reason is None:
            raise UpswellError(f"the client was closed before upload {pending.id} ended")
        raise UploadFailed(pending.reason, request_id=pending.id)

    async def publish_many(
        self,
        requests: AsyncIterator[UploadRequest],
        name: str,
        *,
        wait: bool,
        timeout: float | None,
        progress: Callable[[PublishCounts], None] | None,
    ) -> PublishCounts:
        """Publish all requests, pipelined; with `wait`, return when all are stored or dead.

        Args:
            requests: asked for the next one when there is room for it.
            name: of a reply queue that nobody else uses.
            wait: whether to wait for the uploads, too.
            timeout: seconds; what is left then is left.
            progress: called several times a second, and at the end.
        """
        started = time.monotonic()
        replies = Replies()
        queue = reply_queue(name)
        consumer = await listen(self._broker, queue, replies.take) if wait else None
        publisher = Publisher(
            broker=self._broker,
            upload_queue=self.name,
            reply_to=queue.name if wait else None,
            tracer=self._tracer,
            on_confirmed=self._on_sent,
        )

        def on_round(now: float) -> None:
            if progress is not None:
                progress(_counts(publisher, replies, now - started, complete=False))

        unanswered: Unanswered | None = None
        sent = self._checked(requests)
        try:
            if wait:
                known = await self._inquiry.known()
                unanswered = Unanswered(
                    self._broker,
                    self.name,
                    replies,
                    known.find,
                    self.settings.upload_timeout,
                    since=time.time(),
                )
                sent = replies.expecting(sent)
            end = await follow(replies, unanswered, _all(publisher, sent), timeout, on_round)
            counts = _counts(publisher, replies, time.monotonic() - started, complete=end == "complete")
        finally:
            if consumer is not None:
                await consumer.cancel()
                await self._broker.delete(queue.name)
        if progress is not None:
            progress(counts)
        return counts

    async def dead(self, limit: int) -> list[DeadUpload]:
        """Return up to `limit` dead letters, the oldest first; they stay where they are."""
        queue = dead_letter_queue(self.name).name
        return [_dead_upload(letter) for letter in await self._broker.look(queue, limit)]

    async def retry(self, ids: Collection[str]) -> int:
        """Publish dead letters again, all where no ids are given; return how many."""
        return await retry_dead(
            self._broker, self.name, lambda letter: not ids or request_id_of(letter) in ids, time.time
        )

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        self._inquiry.close()

    async def _why(self, waited: float) -> str:
        """Return a reason for a wait in vain that the queue shows; it is not asked at every short wait."""
        if waited < LONG_WAIT_SECONDS:
            return ""
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                depth = await self._broker.depth(self.name)
        except TimeoutError:
            return "; the broker does not answer"
        except UpswellError:
            return ""
        if depth is not None and not depth.consumers:
            return f"; no worker consumes {self.name}"
        return "" if depth is None else f"; {depth.messages_ready} wait in {self.name}"

    async def _checked(self, requests: AsyncIterator[UploadRequest]) -> AsyncIterator[UploadRequest]:
        async for request in requests:
            check_source(self.settings, request.uri)
            yield request

    async def _ask(self) -> None:
        """Ask again and again what became of all uploads that are held, while somebody waits for one."""
        while self._waiting:
            await asyncio.sleep(ROUND_SECONDS)
            try:
                await self._inquiry.ask(self._pending.of(self.app_id))
            except UpswellError as error:
                _log.warning("client.inquiry_failed", app=self.app_id, error=error)


async def _all(publisher: Publisher, requests: AsyncIterator[UploadRequest]) -> None:
    try:
        await publisher.publish_all(requests)
    except Exception:  # of the program's own iterable, most likely: what it gave before counts
        await publisher.settle()
        raise


def _counts(publisher: Publisher, replies: Replies, seconds: float, *, complete: bool) -> PublishCounts:
    return PublishCounts(
        published=publisher.published,
        seconds=seconds,
        stored=replies.stored,
        stored_bytes=replies.stored_bytes,
        dead=replies.dead,
        failed_attempts=replies.failed_attempts,
        outstanding=len(replies.outstanding),
        failures=tuple(replies.failures),
        complete=complete,
    )


def _overdue(pending: Pending, timeout: float | None) -> str:
    text = f"upload {pending.id} was neither stored nor dead within {timeout:g} s"
    if pending.failed_attempt:
        text += f"; attempt {pending.failed_attempt} failed: {pending.last_failure}"
    return text


def _dead_upload(letter: Delivery) -> DeadUpload:
    try:
        request = decode(UploadRequest, letter.body)
    except MessageError:
        request = None
    return DeadUpload(
        id=request_id_of(letter), reason=reason_of(letter), died_at=died_at(letter), request=request
    )
