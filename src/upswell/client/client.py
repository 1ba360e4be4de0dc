"""The client for ordinary programs and threads: one event loop in one thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from typing import TYPE_CHECKING, Any, Self, TypeVar

from upswell.client.async_client import CONNECT_SECONDS, AsyncClient, AsyncUploadHandle
from upswell.client.items import batches, request_for
from upswell.errors import UpswellError
from upswell.publisher.publishing import REFRESH

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
    from pathlib import Path

    from upswell.client.items import Item
    from upswell.client.results import AppStatus, DeadUpload, PublishCounts, UploadResult
    from upswell.messages import UploadRequest
    from upswell.settings import Settings

T = TypeVar("T")

BATCHES_AHEAD = 2
"""Batches of requests that wait for the loop's thread: enough to keep it busy."""


class UploadHandle:
    """A published upload, confirmed by the broker; any thread may wait for it."""

    def __init__(self, handle: AsyncUploadHandle, loop: LoopThread) -> None:
        self._handle = handle
        self._loop = loop

    @property
    def id(self) -> str:
        """The request's id: the same each time the same thing is published."""
        return self._handle.id

    @property
    def request(self) -> UploadRequest:
        """The request, as it was published."""
        return self._handle.request

    def wait(self, timeout: float | None = None) -> UploadResult:
        """Return where it is stored, once it is.

        Raises:
            UploadFailed: it is dead; its `reason` says why.
            TimeoutError: neither within `timeout` seconds (None: no limit). The upload goes on.
        """
        return self._loop.run(self._handle.wait(timeout))


class Client:
    """Publishes uploads from any number of threads; connects when it is first used.

    Make it after a fork, or use it only after it: a connection cannot be shared by two processes.

    Args:
        settings: by default as the commands take them, from the environment and the settings file.
        config: that file, by default `UPSWELL_CONFIG`, else `upswell.toml` in the current folder.
        connect_timeout: seconds until a broker that does not answer is an error; None: it is waited for.
        record: note in the state folder what is sent, so that `upswell find` on this machine tells where it
            is, on RabbitMQ too.
        overrides: single settings: `Client(broker_url="amqps://...")`.
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
        """Load the settings; nothing is connected, and no thread started, yet.

        Raises:
            SettingsError: one is unknown or invalid.
            ValueError: settings are given, and where else to take them from.
        """
        self._client = AsyncClient(
            settings, config=config, connect_timeout=connect_timeout, record=record, **overrides
        )
        self.settings = self._client.settings
        self._loop = LoopThread()

    def publish(
        self,
        app: str,
        item: Item,
        *,
        key: str | None = None,
        type: str | None = None,  # noqa: A002 - as the request calls it
        timeout: float | None = None,
    ) -> UploadHandle:
        """Publish one upload; return when the broker has it safe.

        The same item published twice is stored once.

        Args:
            app: the application.
            item: a path, a URI, or an UploadRequest.
            key: the object's name in the store; by default the upload's id and the item's name.
            type: the request's type; by default by the name's ending.
            timeout: seconds to wait for the broker; None: no limit.

        Raises:
            MessageError: the item cannot be uploaded.
            BrokerError: the broker refuses it, or did not answer within `connect_timeout`.
            TimeoutError: not confirmed in time. It may arrive all the same; to publish it again does no harm.
        """
        request = request_for(item, app, key=key, kind=type)
        return UploadHandle(self._loop.run(self._client.publish(app, request, timeout=timeout)), self._loop)

    def publish_many(
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

        No more than a few thousand are held in memory, whatever their number.

        Args:
            app: the application.
            items: paths, URIs, UploadRequests. An ordinary iterable is read in the calling thread, an
                asynchronous one in the client's.
            type: as for `publish`.
            wait: return only when all are stored or dead; the counts tell how many.
            timeout: seconds for all; what is not done then is not counted as done, and nothing is raised.
            progress: called in the calling thread, several times a second, with the counts so far.

        Raises:
            MessageError: an item cannot be uploaded. Those before it are published.
            BrokerError: the broker refuses.
        """
        told: list[PublishCounts] = []
        feed = Feed()
        source = items if hasattr(items, "__aiter__") else feed
        publishing = self._loop.start(
            self._client.publish_many(
                app, source, type=type, wait=wait, timeout=timeout, progress=told.append
            )
        )

        def until(*futures: Future[Any]) -> None:
            is_done = False
            while not is_done:
                is_done = bool(wait_for(futures, REFRESH, FIRST_COMPLETED).done)
                if told and progress is not None:
                    progress(told[-1])
                told.clear()

        def fill() -> None:
            error: Exception | None = None
            try:
                for batch in batches(items, app, type):  # type: ignore[arg-type] - it is an ordinary one
                    until(self._loop.start(feed.put(batch)), publishing)
                    if publishing.done():
                        return
            except Exception as raised:  # noqa: BLE001 - of the program's own iterable: raised again at the end
                error = raised
            self._loop.start(feed.end(error))

        try:
            if source is feed:
                fill()
            until(publishing)
        except BaseException:  # such as a Ctrl-C
            publishing.cancel()
            raise
        return publishing.result()

    def status(self, app: str) -> AppStatus:
        """Return an application's queue depth and workers.

        The first call listens for a moment to the workers, who tell their state every second or so.
        """
        return self._loop.run(self._client.status(app))

    def dead(self, app: str, *, limit: int = 100) -> list[DeadUpload]:
        """Return up to `limit` uploads that failed for good, the oldest first; they stay where they are."""
        return self._loop.run(self._client.dead(app, limit=limit))

    def retry(self, app: str, *ids: str, all: bool = False) -> int:  # noqa: A002 - as `dead retry --all`
        """Publish dead uploads again, under the same ids: those named, or `all` of them; return how many.

        Raises:
            ValueError: neither ids nor `all`, or both.
        """
        return self._loop.run(self._client.retry(app, *ids, all=all))

    def close(self) -> None:
        """Disconnect and end the thread. What was published stays published.

        Whoever waits for an upload gets an UpswellError.
        """
        self._loop.close(self._client.close)

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: the broker refuses, or does not answer within `connect_timeout`.
        """
        self._loop.run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Feed:
    """Requests on their way from the thread that has them to the loop, a few batches at a time."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[list[UploadRequest] | None] = asyncio.Queue(BATCHES_AHEAD)
        self._error: Exception | None = None

    async def put(self, batch: list[UploadRequest]) -> None:
        """Hand on a batch; waits while enough are waiting."""
        await self._batches.put(batch)

    async def end(self, error: Exception | None) -> None:
        """Tell that there are no more, or that an error came instead."""
        self._error = error
        await self._batches.put(None)

    async def __aiter__(self) -> AsyncIterator[UploadRequest]:
        """Yield the requests until the end; raise the error."""
        while (batch := await self._batches.get()) is not None:
            for request in batch:
                yield request
        if self._error is not None:
            raise self._error


class LoopThread:
    """An event loop in a thread, both made at first use; for use by any other thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self._closed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns, run in the loop.

        Raises:
            UpswellError: the client is closed, or belongs to another process, or the loop itself calls.
        """
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # a Ctrl-C ends the work, too
            raise

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine in the loop; raises as `run`."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._running())
        except BaseException:
            work.close()
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `last` in the loop, if there is one, and end it."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive() or self._process != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(last(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise UpswellError("the client is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                # A daemon: a program that forgets to close the client ends all the same.
                self._thread = threading.Thread(
                    target=_serve, args=[self._loop], name="upswell client", daemon=True
                )
                self._thread.start()
            if self._process != os.getpid():
                raise UpswellError(
                    "this client was used before the process forked; make one in each process, after the fork"
                )
            if threading.current_thread() is self._thread:
                raise UpswellError(
                    "a client cannot be used from its own thread: AsyncClient is for coroutines"
                )
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:  # which cancels what is left, and ends threads
        runner.get_loop().run_forever()
