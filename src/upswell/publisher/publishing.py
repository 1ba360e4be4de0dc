"""One publishing from its sources to its outcome: look, send, wait for the replies, verify.

What comes in: a `PublishJob` and a connected broker. What goes out: a `PublishOutcome`. It prints nothing.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from upswell.broker.declaring import declare_upload_queue
from upswell.broker.topology import reply_queue
from upswell.errors import UpswellError
from upswell.publisher.already_stored import Mismatch
from upswell.publisher.items import list_objects
from upswell.publisher.loop import Publisher
from upswell.publisher.readable import check_source
from upswell.publisher.replies import Replies
from upswell.publisher.sources import Sources, What
from upswell.publisher.tally import Tally
from upswell.publisher.unanswered import Unanswered
from upswell.requests import key_of
from upswell.stores.addresses import Addresses
from upswell.traces import PUBLISHER, tracer_of
from upswell.workload.arrivals import constant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from upswell.broker import Broker
    from upswell.messages import UploadReport, UploadRequest
    from upswell.publisher.already_stored import AlreadyStored
    from upswell.publisher.stored_record import StoredRecord
    from upswell.settings import Settings
    from upswell.stores.protocol import StoredObject

COMMIT_SECONDS = 1.0
"""Time between two commits of the record: what a kill can lose of it."""
REFRESH = 0.2
"""Seconds between two looks at how far it is, of which a display or a program is told."""
VERIFY_BATCH = 200
MOST_FINDINGS = 100
"""Differences that are kept; all are counted."""

End = Literal["complete", "incomplete", "unanswered", "interrupted"]
"""How publishing ended: everything done; not everything in time; some left the queue without an answer; by
Ctrl-C or SIGTERM."""


class PublishJob(Struct, frozen=True, kw_only=True):
    """What to publish and what to wait for; `total` is known where only request files are published."""

    what: What
    queue: str
    total: int | None = None
    rate: float | None = None
    fresh: bool = False
    wait: bool = False
    verify: bool = False
    timeout: float | None = None


class Verified(Struct):
    """The differences between sources and objects; `by` says what the sources were compared with."""

    by: str
    checked: int = 0
    wrong: int = 0
    findings: list[Mismatch] = []

    def take(self, checked: int, findings: Iterable[Mismatch]) -> None:
        """Count one more batch."""
        self.checked += checked
        for finding in findings:
            self.wrong += 1
            if len(self.findings) < MOST_FINDINGS:
                self.findings.append(finding)


class PublishOutcome(Struct, frozen=True, kw_only=True):
    """What became of the requests; `replies` is None where nobody waited."""

    published: int
    seconds: float
    replies: Replies | None = None
    end: End = "complete"
    verified: Verified | None = None

    @property
    def failed(self) -> bool:
        """Whether anything is not stored, or differs from its source."""
        dead = self.replies is not None and self.replies.dead > 0
        return dead or self.end != "complete" or (self.verified is not None and self.verified.wrong > 0)


class Publishing:
    """Runs one job; `tally` and `replies` say at any time how far it is."""

    def __init__(
        self, settings: Settings, job: PublishJob, known: AlreadyStored, record: StoredRecord
    ) -> None:
        self.job = job
        self.tally = Tally(keep=job.verify)
        self.replies = Replies(on_stored=self._remember, on_found=self._remember_found)
        self.unanswered: Unanswered | None = None
        """What is seen of the queue while it waits."""
        self._settings = settings
        self._addresses = Addresses(settings.destination_path)
        self._known = known
        self._record = record
        self._committed_at = time.monotonic()
        self._sources = Sources(job.what, self.tally.note, partial(list_objects, settings))

    async def pending(self) -> AsyncIterator[UploadRequest]:
        """Yield the requests for what is not stored yet."""
        async for found in self._sources.batches():
            looked_at = await self._known.look(found)
            batch = [self._sources.seen(one, item) for one, item in zip(found, looked_at, strict=True)]
            stored = [False] * len(batch) if self.job.fresh else await self._known.are_stored(batch)
            for candidate, is_stored in zip(batch, stored, strict=True):
                check_source(self._settings, candidate.request.uri)
                self.tally.take(candidate, stored=is_stored)
                if not is_stored:
                    yield candidate.request
        self.tally.complete = True

    async def prepare(self, broker: Broker) -> bool:
        """Make the queues; return whether anybody consumes the upload queue."""
        await declare_upload_queue(broker, self.job.queue, delivery_limit=self._settings.delivery_limit)
        depth = await broker.depth(self.job.queue)
        return depth is not None and depth.consumers > 0

    async def run(
        self,
        broker: Broker,
        name: str,
        on_round: Callable[[float], None] = lambda _now: None,
    ) -> PublishOutcome:
        """Publish, and wait where the job says so; `prepare` comes first.

        Args:
            broker: connected.
            name: of the reply queue; nobody else may use it.
            on_round: called several times a second with the monotonic time, while it waits.
        """
        started = time.monotonic()
        job = self.job
        waits = job.wait or job.verify
        reply_to = await self.replies.listen(broker, reply_queue(name)) if waits else None
        publisher = Publisher(
            broker=broker,
            upload_queue=job.queue,
            reply_to=reply_to,
            tracer=tracer_of(self._settings, PUBLISHER),
            on_confirmed=self._sent,
        )

        def each_round(now: float) -> None:
            on_round(now)
            self._commit(now)

        if waits:
            sending = self._send(publisher, self.replies.expecting(self.pending()))
            self.unanswered = Unanswered(
                broker,
                job.queue,
                self.replies,
                self._known.find,
                self._settings.upload_timeout,
                since=time.time(),
            )
            work = follow(self.replies, self.unanswered, sending, job.timeout, each_round)
        else:
            work = self._send(publisher, self.pending())
        end = await _to_the_end(work)
        return PublishOutcome(
            published=publisher.published,
            replies=self.replies if waits else None,
            end=end,
            seconds=time.monotonic() - started,
        )

    async def verify(self) -> Verified:
        """Compare everything that was found with what is stored."""
        verified = Verified(by="destination" if self._known.asks_destination else "workers' reports")
        requests = self.tally.kept()
        while batch := list(islice(requests, VERIFY_BATCH)):
            verified.take(len(batch), await self._known.verify(batch))
        return verified

    async def _send(self, publisher: Publisher, requests: AsyncIterator[UploadRequest]) -> None:
        rate = self.job.rate
        try:
            await publisher.publish_all(requests, pace=None if rate is None else constant(rate))
        except UpswellError as error:
            await publisher.settle()
            raise type(error)(f"{error}; {publisher.published} requests were published") from error

    def _sent(self, request: UploadRequest) -> None:
        self._record.sent(request)
        self._commit(time.monotonic())

    def _remember(self, report: UploadReport) -> None:
        if report.request_id:
            self._record.add(report.request_id, report.bytes, report.checksum, report.url)

    def _remember_found(self, request: UploadRequest, found: StoredObject) -> str:
        address = self._addresses.of(key_of(request))
        self._record.add(request.id or "", found.bytes, found.checksum, address)
        return address

    def _commit(self, now: float) -> None:
        if now - self._committed_at >= COMMIT_SECONDS:
            self._record.commit()
            self._committed_at = now


async def _to_the_end(work: Coroutine[None, None, End | None]) -> End:
    """Return how the work ended; after Ctrl-C or SIGTERM, too, so that there is a summary."""
    try:
        return await work or "complete"
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        return "interrupted"


async def follow(
    replies: Replies,
    unanswered: Unanswered | None,
    sending: Coroutine[None, None, None],
    timeout: float | None,
    on_round: Callable[[float], None],
) -> End:
    """Run `sending` and wait until each expected request is stored or dead; return how that ended.

    It gives up after `timeout` seconds (None: never), and when the requests have left the queue without a
    reply; `unanswered` is None where none is expected.
    """
    sender = asyncio.ensure_future(sending)
    started = time.monotonic()
    end: End = "complete"
    try:
        while not (sender.done() and not replies.outstanding):
            on_round(time.monotonic())
            if not sender.done():
                await asyncio.wait([sender], timeout=REFRESH)
            else:
                await asyncio.sleep(REFRESH)
            if sender.done():
                sender.result()
                if unanswered is not None and await unanswered.is_hopeless(time.monotonic()):
                    end = "unanswered"
                    break
            if timeout is not None and time.monotonic() - started > timeout:
                end = "incomplete"
                break
        on_round(time.monotonic())
    finally:
        sender.cancel()
        if unanswered is not None:
            unanswered.stop()
    return end if not sender.done() or replies.outstanding else "complete"
