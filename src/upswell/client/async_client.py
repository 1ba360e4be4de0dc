"""The client for asyncio: publish uploads, wait for them, look at the queue and its dead letters."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from upswell.broker.connecting import connect, unique_name
from upswell.broker.listening import listen
from upswell.broker.topology import dead_letter_queue, reply_queue
from upswell.client.app_queue import AppQueue
from upswell.client.items import batches, each_request, request_for
from upswell.client.pending import Pending, PendingUploads
from upswell.client.results import AppStatus
from upswell.client.roster import Roster, listen_to_workers
from upswell.client.sent_notes import SentNotes
from upswell.errors import UpswellError
from upswell.messages import check_app_id
from upswell.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
    from pathlib import Path

    from upswell.broker import Broker
    from upswell.client.items import Item
    from upswell.client.results import DeadUpload, PublishCounts, UploadResult
    from upswell.messages import UploadRequest

CONNECT_SECONDS = 15.0


class AsyncUploadHandle:
    """A published upload, confirmed by the broker."""

    def __init__(self, pending: Pending, queue: AppQueue) -> None:
        self._pending = pending
        self._queue = queue

    @property
    def id(self) -> str:
        """The request's id: the same each time the same thing is published."""
        return self._pending.id

    @property
    def request(self) -> UploadRequest:
        """The request, as it was published."""
        return self._pending.request

    async def wait(self, timeout: float | None = None) -> UploadResult:
        """Return where it is stored, once it is; `timeout` and errors as `UploadHandle.wait`."""
        return await self._queue.wait(self._pending, timeout)


class AsyncClient:
    """Publishes uploads from one asyncio loop; connects when it is first used.

    All arguments, and what is raised, are as `Client` tells.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        config: str | Path | None = None,
        connect_timeout: float | None = CONNECT_SECONDS,
        record: bool = False,
        **overrides: Any,
    ) -> None:
        """Load the settings; nothing is connected yet."""
        if settings is None:
            settings, _ = load_settings(config, overrides)
        elif config is not None or overrides:
            raise ValueError("give either settings, or config and single settings")
        self.settings = settings
        self._connect_timeout = connect_timeout
        self._opening = asyncio.Lock()
        self._meeting = asyncio.Lock()
        self._broker: Broker | None = None
        self._queues: dict[str, AppQueue] = {}
        self._pending = PendingUploads(time.monotonic, time.time)
        self._roster: Roster | None = None
        self._reply_to = ""
        self._notes = SentNotes(self.settings) if record else None
        self._closed = False

    async def publish(
        self,
        app: str,
        item: Item,
        *,
        key: str | None = None,
        type: str | None = None,  # noqa: A002 - as the request calls it
        timeout: float | None = None,
    ) -> AsyncUploadHandle:
        """Publish one upload; return when the broker has it safe, as `Client.publish`."""
        request = request_for(item, app, key=key, kind=type)
        try:
            async with asyncio.timeout(timeout):
                queue = await self._queue(app)
                pending = self._pending.expect(request)
                await queue.send(request)
                self._pending.confirmed(pending)
        except TimeoutError:
            raise TimeoutError(
                f"the broker did not confirm upload {request.id} within {timeout:g} s"
            ) from None
        return AsyncUploadHandle(pending, queue)

    async def publish_many(
        self,
        app: str,
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        type: str | None = None,  # noqa: A002 - as above
        wait: bool = False,
        timeout: float | None = None,
        progress: Callable[[PublishCounts], None] | None = None,
    ) -> PublishCounts:
        """Publish many uploads, pipelined; return when the broker has all of them safe.

        As `Client.publish_many`, but an ordinary iterable is read in a thread, where it may block, and
        `progress` is called in the loop.
        """
        if hasattr(items, "__aiter__"):
            requests = each_request(items, app, type)  # type: ignore[arg-type] - it is asynchronous
        else:
            requests = _in_thread(batches(items, app, type))  # type: ignore[arg-type] - it is not
        queue = await self._queue(app)
        return await queue.publish_many(
            requests, unique_name("client"), wait=wait, timeout=timeout, progress=progress
        )

    async def status(self, app: str) -> AppStatus:
        """Return an application's queue depth and workers, as `Client.status`."""
        broker = await self._connected()
        roster = await self._listening(broker)
        name = self.settings.upload_queue_of(check_app_id(app))
        depth, dead = await broker.depth(name), await broker.depth(dead_letter_queue(name).name)
        workers = [one for one in roster.workers(time.monotonic()) if one.app_id == app]
        return AppStatus(
            app_id=app,
            ready=depth.messages_ready if depth else None,
            in_flight=depth.messages_unacknowledged if depth else None,
            dead=dead.messages_ready if dead else None,
            consumers=depth.consumers if depth else None,
            workers=dict(Counter(worker.state for worker in workers)),
            busy=sum(worker.busy for worker in workers),
            slots=sum(worker.slots for worker in workers if worker.state == "ready"),
        )

    async def dead(self, app: str, *, limit: int = 100) -> list[DeadUpload]:
        """Return up to `limit` uploads that failed for good, the oldest first; they stay where they are."""
        return await (await self._queue(app)).dead(limit)

    async def retry(self, app: str, *ids: str, all: bool = False) -> int:  # noqa: A002 - as `dead retry --all`
        """Publish dead uploads again, under the same ids: those named, or `all` of them; return how many."""
        if all == bool(ids):
            raise ValueError("retry takes either the ids of dead uploads or all=True")
        return await (await self._queue(app)).retry(ids)

    async def close(self) -> None:
        """Disconnect; what was published stays published. Whoever waits gets an UpswellError."""
        self._closed = True
        self._pending.close()
        async with self._opening:
            for queue in self._queues.values():
                await queue.close()
            if self._notes is not None:
                await self._notes.close()
            if self._broker is not None:
                await self._broker.close()

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connected(self) -> Broker:
        if self._closed:
            raise UpswellError("the client is closed")
        async with self._opening:
            if self._broker is None:
                broker = await connect(self.settings, "client", patience=self._connect_timeout)
                queue = reply_queue(unique_name("client"))
                await listen(broker, queue, self._pending.take)
                self._reply_to = queue.name
                self._broker = broker
        return self._broker

    async def _queue(self, app: str) -> AppQueue:
        queue = self._queues.get(app)
        if queue is not None and not self._closed:
            return queue
        broker = await self._connected()
        settings = self.settings.for_app(check_app_id(app))
        queue = AppQueue(
            broker,
            app,
            settings,
            self._pending,
            self._reply_to,
            on_sent=self._notes.note if self._notes is not None else lambda _request: None,
        )
        await queue.declare()
        return self._queues.setdefault(app, queue)

    async def _listening(self, broker: Broker) -> Roster:
        async with self._meeting:
            if self._roster is None:
                self._roster = await listen_to_workers(broker, self.settings.status_interval)
        return self._roster


async def _in_thread(found: Iterable[list[UploadRequest]]) -> AsyncIterator[UploadRequest]:
    """Yield the requests of an iterable that may block."""
    iterator = iter(found)
    while (batch := await asyncio.to_thread(next, iterator, None)) is not None:
        for request in batch:
            yield request
