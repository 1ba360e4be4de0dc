"""The running subscriptions on RabbitMQ, restored on each new connection and when the server ends one.

Takes callbacks, sends basic.consume, hands deliveries over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from upswell.broker.protocol import Delivery
from upswell.broker.rabbitmq import delivery_count
from upswell.broker.rabbitmq.channel import NOT_FOUND, AwaitableChannel, LostError, RefusedError
from upswell.broker.rabbitmq.connection import pause
from upswell.broker.rabbitmq.pika_client import cancel_consumer, set_prefetch_count
from upswell.errors import BrokerError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from upswell.broker.protocol import OnDelivery


_FILL_SECONDS = 0.1  # a backlog fills a consumer whose acks are held back in less
_RELIEFS = (4, 1)  # prefetch counts: one for what may come while a subscription ends, one that fills soon
_RELIEF_FILL_SECONDS = 0.5
_STEP_SECONDS = 0.002

_NO_HEADERS: dict[str, Any] = {}


class Settlements:
    """What is sent for the deliveries of one channel.

    Acks go out once a turn of the event loop: one frame for all up to the oldest that is still held, one each
    for what was acknowledged beyond it. A monitor acknowledges hundreds of reports with a few frames so.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._numbers: deque[int] = deque()  # delivery tags, oldest first, up to the newest
        self._acked: set[int] = set()  # not sent yet
        self._gone: set[int] = set()  # settled, behind one that is still held

    def came(self, number: int) -> None:
        """Take note of a delivery."""
        self._numbers.append(number)

    def settle(self, method: str, number: int) -> None:
        """Call the channel's method of that name for a delivery; an ack goes out with others."""
        if method == "basic_ack":
            if not self._acked:
                asyncio.get_running_loop().call_soon(self.send)
            self._acked.add(number)
        else:
            self._gone.add(number)
            getattr(self._channel, method)(number)

    def send(self) -> None:
        """Send the acks that are due."""
        if not self._channel.is_open:
            return
        numbers, acked, gone = self._numbers, self._acked, self._gone
        last = 0
        while numbers:
            number = numbers[0]
            if number in acked:
                acked.remove(number)
                last = number
            elif number in gone:
                gone.remove(number)
            else:
                break
            numbers.popleft()
        if last:
            self._channel.basic_ack(last, multiple=True)
        for number in acked:
            self._channel.basic_ack(number)
        gone |= acked
        acked.clear()


class Held:
    """A delivery's tag: how it is settled; on a channel that is gone, or a second time, without effect."""

    __slots__ = ("_channel", "_consumer", "number", "properties")

    def __init__(self, channel: Any, number: int, properties: Any, consumer: RabbitConsumer | None) -> None:
        self._channel = channel
        self.number = number
        self._consumer = consumer
        self.properties = properties

    @property
    def is_open(self) -> bool:
        """Whether settling it still has an effect."""
        return self._channel is not None and self._channel.is_open

    def ack(self) -> None:
        """Remove the message."""
        self.settle("basic_ack")

    def reject(self) -> None:
        """Put the message back, counted as an attempt by quorum queues."""
        self.settle("basic_reject")

    def nack(self) -> None:
        """Put the message back, counted by servers before 4.3 alone."""
        self.settle("basic_nack")

    def settle(self, method: str) -> None:
        """Call the channel's method of that name, now or when its consumer holds settlements back no more."""
        channel, consumer = self._channel, self._consumer
        if channel is None or not channel.is_open:
            return
        if consumer is None:
            self._channel = None
            getattr(channel, method)(self.number)
        elif consumer.held_back is not None:
            consumer.held_back.append((self, method))
        else:
            self._channel = None
            consumer.settle(method, self.number)


def delivery(
    queue: str,
    channel: Any,
    method: Any,
    properties: Any,
    body: bytes,
    *,
    consumer: RabbitConsumer | None = None,
) -> Delivery:
    """Return what pika hands out as a delivery."""
    headers: dict[str, Any] = properties.headers or _NO_HEADERS
    return Delivery(
        body=body,
        queue=queue,
        attempt=delivery_count.attempt(headers, redelivered=method.redelivered) if headers else 1,
        tag=Held(channel, method.delivery_tag, properties, consumer),
        message_id=properties.message_id,
        reply_to=properties.reply_to,
        headers=delivery_count.plain_headers(headers),
        redelivered=method.redelivered,
    )


class RabbitConsumer:
    """One subscription; `tag` is the server's name for it while it runs; `exclusive` admits no other.

    `counts_returns`: what is returned from it counts as an attempt, of which there may be a limited number.

    `unsettled` counts what it holds; in `held_back`, where that is a list, settlements wait. `on_cancelled`
    is called when the server ends it, before it is begun again; `resuming` is over when that is answered.
    """

    def __init__(
        self, queue: str, on_delivery: OnDelivery, prefetch_count: int, consumers: Consumers
    ) -> None:
        self.queue = queue
        self.prefetch_count = prefetch_count
        self.priority = 0
        self.exclusive = False
        self.counts_returns = True
        self.tag: str | None = None
        self.unsettled = 0
        self.held_back: list[tuple[Held, str]] | None = None
        self.on_cancelled: Callable[[], None] | None = None
        self.resuming: asyncio.Future[None] | None = None
        self._on_delivery = on_delivery
        self._consumers = consumers

    async def cancel(self) -> None:
        """Take no more deliveries; those that are on their way still come until this returns."""
        await self._consumers.cancel(self)

    def on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        """Hand a message on, unless the broker closes: then it goes back to its queue."""
        self.unsettled += 1
        self._consumers.settlements.came(method.delivery_tag)
        if self._consumers.are_closing:
            return
        self._on_delivery(delivery(self.queue, channel, method, properties, body, consumer=self))

    def settle(self, method: str, number: int) -> None:
        """Settle a delivery of the channel that there is now: what came on an earlier one is void."""
        self.unsettled -= 1
        self._consumers.settlements.settle(method, number)

    def hold_back(self) -> None:
        """Settle nothing from now on, so that the server can fill this consumer and no more is on its way."""
        self.held_back = []
        self._consumers.holding_back.add(self)

    async def is_full(self, within: float) -> bool:
        """Return whether it comes to hold all that it may: then nothing more can be on its way to it."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + within
        while self.unsettled < self.prefetch_count and clock() < deadline:  # noqa: ASYNC110 - a moment
            await asyncio.sleep(_STEP_SECONDS)
        return self.unsettled >= self.prefetch_count

    def relief(self, prefetch_count: int) -> RabbitConsumer:
        """Return a consumer that takes what would come to this one; it holds its settlements back."""
        relief = RabbitConsumer(self.queue, self._on_delivery, prefetch_count, self._consumers)
        relief.hold_back()
        return relief

    def settle_held_back(self, *, acks_only: bool = False) -> None:
        """Send the settlements that were held back."""
        self._consumers.holding_back.discard(self)
        held_back, self.held_back = self.held_back, None
        for held, method in held_back or ():
            if method == "basic_ack" or not acks_only:
                held.settle(method)


class Consumers:
    """All subscriptions, on one channel.

    `prepare` makes sure that a queue is there before it is consumed; `is_prepared` says that nothing need be
    asked for it.
    """

    def __init__(
        self,
        prepare: Callable[[str], Awaitable[None]],
        *,
        is_prepared: Callable[[str], bool],
        log: Any,
        rng: random.Random,
    ) -> None:
        self._prepare = prepare
        self._is_prepared = is_prepared
        self._log = log
        self._rng = rng
        self.settlements = Settlements(None)
        """Of the channel that there is now."""
        self.holding_back: set[RabbitConsumer] = set()
        """Those that are being ended."""
        self.are_closing = False
        """Nothing is handed on any more: who leaves would publish a copy of what comes back, and of that."""
        self._connection: Any = None
        self._channel: AwaitableChannel | None = None
        self._running: list[RabbitConsumer] = []
        self._starting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def attach(self, connection: Any) -> None:
        """Use a new connection, and start on it all that ran on the last one."""
        self._connection = connection
        await self._open_channel()

    def detach(self) -> None:
        """The connection is gone."""
        self._channel = None
        self._stop_tasks()

    async def close(self) -> None:
        """Send the acks that are due or held back; restore nothing any more."""
        self._running.clear()
        if self._channel is not None:
            # What is rejected while they still run would come back to them, and be counted twice.
            for consumer in list(self.holding_back):
                consumer.settle_held_back(acks_only=True)
            self.settlements.send()
            self._channel = None  # no relief begins any more
        tasks = self._stop_tasks()
        if tasks:
            await asyncio.wait(tasks)

    async def start(self, consumer: RabbitConsumer) -> None:
        """Begin a subscription and remember it.

        Raises:
            RefusedError: no such queue, or no permission.
            LostError: the connection went away; it may be tried again.
        """
        known = self._is_prepared(consumer.queue)
        if not known:
            await self._prepare(consumer.queue)
        try:
            await self._consume(consumer)
        except RefusedError as error:
            if not known or error.code != NOT_FOUND:
                raise
            await self._prepare(consumer.queue)
            raise LostError("the queue was deleted meanwhile, and its channel closed over it") from error
        self._running.append(consumer)

    async def cancel(self, consumer: RabbitConsumer) -> None:
        """End a subscription; what it holds can still be settled.

        A quorum queue takes back what is on its way to a cancelled consumer, and counts that as an attempt.
        Nothing is on its way to one that holds all that it may, so its settlements are held back until then.
        One that does not fill, since the queue is nearly empty, gets a relief of higher priority, to which
        comes what comes next; and that one another, which a single message fills. Where not even that comes,
        one in the milliseconds of the last cancel is unlikely. Queues without a delivery limit
        need none of this.
        """
        if consumer in self._running:
            self._running.remove(consumer)
        if consumer.resuming is not None:  # the server was asked to begin it again: only then it can be ended
            await asyncio.wait([consumer.resuming])
        channel = self._channel
        if channel is None or consumer.tag is None:
            return
        consumer.hold_back()
        last = [consumer]
        try:
            filled = await consumer.is_full(_FILL_SECONDS)
            for prefetch_count in _RELIEFS if consumer.counts_returns else ():
                if filled:
                    break
                last.append(last[-1].relief(prefetch_count))
                await self._consume(last[-1], priority=len(last))
                # Asked after it, this is answered after all that was on its way before.
                await channel.call("queue_declare", queue=consumer.queue, passive=True)
                await self._end(channel, last[-2])
                filled = await last[-1].is_full(_RELIEF_FILL_SECONDS)
            await self._end(channel, last[-1])
        except BrokerError:
            return  # the connection is gone, and the subscriptions with it
        finally:
            for each in last:
                each.settle_held_back()

    async def _end(self, channel: AwaitableChannel, consumer: RabbitConsumer) -> None:
        tag, consumer.tag = consumer.tag, None
        if tag is not None:
            await channel.expect(lambda settle: cancel_consumer(channel.raw, tag, settle))

    async def _open_channel(self) -> None:
        channel = await AwaitableChannel.open(self._connection, self._on_channel_closed)
        channel.raw.add_on_cancel_callback(self._on_cancelled)
        self._channel = channel
        self.settlements = Settlements(channel.raw)
        for consumer in self._running:
            consumer.tag = None
            self._spawn(self._resume(consumer))

    async def _consume(self, consumer: RabbitConsumer, priority: int = 0) -> None:
        async with self._starting:  # a prefetch count holds for the consumers that are started after it
            if self._channel is None:
                raise LostError("the connection to RabbitMQ is lost")
            channel = self._channel
            consumer.unsettled = 0
            priority = priority or consumer.priority

            def start(settle: Callable[..., None]) -> None:
                set_prefetch_count(channel.raw, consumer.prefetch_count)
                channel.raw.basic_consume(
                    consumer.queue,
                    consumer.on_message,
                    exclusive=consumer.exclusive,
                    arguments={"x-priority": priority} if priority else None,
                    callback=settle,
                )

            frame = await channel.expect(start)
        consumer.tag = frame.method.consumer_tag

    async def _resume(self, consumer: RabbitConsumer) -> None:
        """Start a subscription again, however long its queue is missing or locked by our dead connection."""
        attempt = 0
        while consumer in self._running:
            try:
                await self._prepare(consumer.queue)
                if consumer not in self._running:
                    return  # cancelled meanwhile
                consumer.resuming = asyncio.ensure_future(self._consume(consumer))
                await consumer.resuming
            except LostError:
                return  # the next connection resumes it
            except BrokerError as error:
                attempt += 1
                wait = pause(attempt, self._rng)
                self._log.warning(
                    "broker.consume_failed", queue=consumer.queue, again_in=round(wait, 2), error=error
                )
                await asyncio.sleep(wait)
            else:
                return

    def _on_cancelled(self, frame: Any) -> None:
        """The server ended a subscription: its queue was deleted, or its leader moved."""
        for consumer in self._running:
            if consumer.tag == frame.method.consumer_tag:
                consumer.tag = None
                self._log.warning("broker.consumer_cancelled", queue=consumer.queue)
                if consumer.on_cancelled is not None:
                    consumer.on_cancelled()
                self._spawn(self._resume(consumer))

    def _on_channel_closed(self, error: BrokerError) -> None:
        """The server closed the channel, for instance over a delivery that was held longer than it allows."""
        self._channel = None
        if isinstance(error, RefusedError):
            self._log.warning("broker.channel_closed", error=error)
            self._stop_tasks()
            self._spawn(self._reopen())

    async def _reopen(self) -> None:
        await asyncio.sleep(pause(1, self._rng))
        try:
            await self._open_channel()
        except LostError:
            return  # the next connection opens one

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop_tasks(self) -> set[asyncio.Task[None]]:
        tasks = set(self._tasks)
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()
        return tasks
