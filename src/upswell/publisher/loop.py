"""Upload requests -> queue, confirmed, many at a time.

What comes in: requests, from wherever. What goes out: messages in the upload queue, each safe on the broker's
disk before it is counted. It does not know what a worker does.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.broker.protocol import Message
from upswell.messages import encode
from upswell.traces.context import ambient

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

    from upswell.broker import Broker
    from upswell.messages import UploadRequest
    from upswell.traces.otel import UploadTracer

WINDOW = 1000
"""Messages published and not yet confirmed: enough to hide the fsync, little to repeat."""


class Publisher:
    """Publishes to one upload queue, at most `window` messages ahead of the broker's confirms.

    `published` counts the confirmed ones. `reply_to` names the queue that workers copy their reports to. Each
    message carries the context of the `tracer`'s span, or of the trace that the program around us is in.
    `on_confirmed` gets each request that `publish` sent, once the broker has it.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        upload_queue: str,
        reply_to: str | None = None,
        window: int = WINDOW,
        tracer: UploadTracer | None = None,
        on_confirmed: Callable[[UploadRequest], None] = lambda _request: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.published = 0
        self._broker = broker
        self._upload_queue = upload_queue
        self._reply_to = reply_to
        self._clock = clock
        self._tracer = tracer
        self._on_confirmed = on_confirmed
        self._window = window
        self._unconfirmed: set[asyncio.Future[None]] = set()
        self._failure: BaseException | None = None
        self._progress = asyncio.Event()

    async def publish(self, request: UploadRequest) -> None:
        """Send a request, dated now; returns before it is confirmed, but waits while the window is full.

        Raises:
            BrokerError: this or an earlier message was refused.
        """
        while len(self._unconfirmed) >= self._window:
            await self._wait()
        self._check()
        confirm = self.send(request)
        self._unconfirmed.add(confirm)
        confirm.add_done_callback(partial(self._confirmed, request))

    def send(self, request: UploadRequest) -> asyncio.Future[None]:
        """Send one request, dated now, beside all others; the future is done when it is confirmed."""
        body = encode(replace(request, published_at=self._clock()))
        if self._tracer is None:
            headers, on_confirmed = ambient(), None
        else:
            headers, on_confirmed = self._tracer.sent(self._upload_queue, request)
        confirm = self._broker.publish(
            Message(
                body=body,
                routing_key=self._upload_queue,
                message_id=request.id,
                reply_to=self._reply_to,
                headers=headers or None,
            )
        )
        if on_confirmed is not None:
            confirm.add_done_callback(on_confirmed)
        return confirm

    async def flush(self) -> None:
        """Wait until everything published is confirmed.

        Raises:
            BrokerError: a message was refused.
        """
        await self.settle()
        self._check()

    async def settle(self) -> None:
        """Wait until the broker has confirmed or refused everything, whichever."""
        while self._unconfirmed:
            await self._wait()

    async def publish_all(
        self, requests: AsyncIterable[UploadRequest], pace: Iterator[float] | None = None
    ) -> int:
        """Publish all requests and wait for their confirms; return how many there were.

        Args:
            requests: asked for the next one only when there is room for it.
            pace: seconds since now at which to publish each; without it, as fast as the broker confirms. It
                ends the requests when it ends first.
        """
        start, count = time.monotonic(), 0
        async for request in requests:
            if pace is not None:
                due = next(pace, None)
                if due is None:
                    break
                await asyncio.sleep(max(0.0, start + due - time.monotonic()))
            await self.publish(request)
            count += 1
        await self.flush()
        return count

    def _confirmed(self, request: UploadRequest, confirm: asyncio.Future[None]) -> None:
        self._unconfirmed.discard(confirm)
        if confirm.cancelled():
            return
        failure = confirm.exception()
        if failure is None:
            self.published += 1
            self._on_confirmed(request)
        else:
            self._failure = self._failure or failure
        self._progress.set()

    async def _wait(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure


async def each(requests: Iterable[UploadRequest]) -> AsyncIterator[UploadRequest]:
    """Yield what an ordinary iterable yields, for `Publisher.publish_all`."""
    for request in requests:
        yield request
