"""The ready messages of a queue, all in hand for a moment: looked at, removed, or put back in their order.

AMQP cannot look at a message without taking it. Found by experiment on RabbitMQ 4.0.5:

- A quorum queue without delivery limit puts what it gets back behind all others. So whoever looks takes all
  messages, or their order changes.
- Taken with basic.get, each message counts as a consumer of its own, and the server forgets the
  acknowledgements of such when their channel closes while more than 32 are under way. A consumer's are kept.
- One basic.nack for many puts them back in order, a little after the server has read it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from upswell.broker.rabbitmq.channel import ACCESS_REFUSED, RESOURCE_LOCKED, AwaitableChannel, RefusedError
from upswell.broker.rabbitmq.consumers import delivery
from upswell.broker.rabbitmq.pika_client import cancel_consumer
from upswell.broker.rabbitmq.queue_counts import queue_counts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from upswell.broker.protocol import Delivery, Handle, IsWanted
    from upswell.broker.rabbitmq.queues import Call

    Copy = Callable[[Delivery], asyncio.Future[None]]

_MOST = 65_535  # what a prefetch count holds; 0, no limit, means 2,000 to a quorum queue
_TURN_SECONDS = 0.1  # between two tries while someone else has the queue in hand
_BACK_SECONDS = 10.0  # for which what was put back is waited for; another consumer may take it first
_STEP_SECONDS = 0.005
_MOST_STALLED = (
    2000  # steps in which nothing comes although something is ready: another consumer is served alone
)


@asynccontextmanager
async def alone(queue: str, call: Call) -> AsyncGenerator[None]:
    """Wait until no other connection has this queue in hand: together, each would see a part of it.

    The lock is an exclusive queue, which goes with its connection. Who may not declare it goes without.
    """
    lock = f"upswell.look.{queue}"[:255]
    while True:
        try:
            await call("queue_declare", queue=lock, exclusive=True, auto_delete=True)
            break
        except RefusedError as error:
            if error.code == ACCESS_REFUSED:
                lock = ""
                break
            if error.code != RESOURCE_LOCKED:
                raise
        await asyncio.sleep(_TURN_SECONDS)
    try:
        yield
    finally:
        if lock:
            await call("queue_delete", queue=lock)


class Sweep:
    """The messages of one queue that one channel holds, in `found`, oldest first.

    `copy` publishes a copy of a message, where putting it back would count as an attempt.
    """

    def __init__(self, channel: AwaitableChannel, queue: str, *, copy: Copy | None) -> None:
        self.found: list[Delivery] = []
        self._channel = channel
        self._queue = queue
        self._copy = copy

    async def take(self) -> None:
        """Take all ready messages."""
        while await self._fill():
            pass

    async def sift(self, is_wanted: IsWanted, handle: Handle | None) -> int:
        """Remove the messages that are wanted, put the others back; return how many were removed."""
        count = settled = 0
        try:
            for index, delivery in enumerate(self.found):
                if not is_wanted(delivery):
                    continue
                await self.put_back(self.found[settled:index])
                settled = index
                if handle is not None:
                    await handle(delivery)
                self._channel.raw.basic_ack(delivery.tag.number)
                settled = index + 1
                count += 1
        finally:
            await self.put_back(self.found[settled:])
        return count

    async def put_back(self, deliveries: list[Delivery]) -> None:
        """Put back the oldest messages that are still held, and wait until they are there."""
        if not deliveries:
            return
        newest = deliveries[-1].tag.number
        if self._copy is not None:
            await asyncio.gather(*map(self._copy, deliveries))
            self._channel.raw.basic_ack(newest, multiple=True)
            return
        expected = await self._ready() + len(deliveries)
        self._channel.raw.basic_nack(newest, multiple=True)
        for _ in range(int(_BACK_SECONDS / _STEP_SECONDS)):
            if await self._ready() >= expected:
                return
            await asyncio.sleep(_STEP_SECONDS)

    def close(self) -> None:
        """End; what is still held goes back."""
        if self._channel.is_open:
            self._channel.raw.close()

    async def _fill(self) -> bool:
        """Take what is ready, up to what one consumer may hold; return whether there may be more."""
        full = len(self.found) + _MOST
        await self._channel.call("basic_qos", prefetch_count=_MOST)
        frame = await self._channel.call(
            "basic_consume", queue=self._queue, on_message_callback=self._on_message
        )
        empty = stalled = 0
        while len(self.found) < full and empty < 2 and stalled < _MOST_STALLED:  # noqa: PLR2004 - see below
            before = len(self.found)
            # Deliveries that were on their way at the first answer have come before the second.
            empty = empty + 1 if await self._ready() == 0 else 0
            stalled = stalled + 1 if len(self.found) == before else 0
            await asyncio.sleep(_STEP_SECONDS if stalled > 2 else 0)  # noqa: PLR2004 - it will not come at once
        tag = frame.method.consumer_tag
        await self._channel.expect(lambda settle: cancel_consumer(self._channel.raw, tag, settle))
        return len(self.found) >= full

    async def _ready(self) -> int:
        ready, _ = await queue_counts(self._channel.call, self._queue)
        return ready

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.found.append(delivery(self._queue, channel, method, properties, body))
