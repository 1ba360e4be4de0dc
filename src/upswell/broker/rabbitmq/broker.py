"""RabbitMQ as a broker: quorum queues, pipelined confirms, and a connection that is restored when it is lost.

Takes messages and callbacks, sends AMQP 0-9-1 methods. All work is done in the event loop, so heartbeats go
on while handlers run. One connection has up to four channels, because the server answers a refused method
by closing its channel: one each for publishing, consuming, `get`, and questions (declare, depth, purge,
delete).
"""

from __future__ import annotations

import asyncio
import random
import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from upswell.broker.protocol import QueueDepth
from upswell.broker.rabbitmq import delivery_count, pika_client
from upswell.broker.rabbitmq import url as rabbitmq_url
from upswell.broker.rabbitmq.channel import NOT_FOUND, AwaitableChannel, LostError, RefusedError
from upswell.broker.rabbitmq.connection import ReconnectingConnection
from upswell.broker.rabbitmq.consumers import Consumers, RabbitConsumer, delivery
from upswell.broker.rabbitmq.hosts import Hosts
from upswell.broker.rabbitmq.leadership import TickLeadership
from upswell.broker.rabbitmq.publishing import Outgoing, PublishingChannel
from upswell.broker.rabbitmq.queue_counts import queue_counts
from upswell.broker.rabbitmq.queues import DeclaredQueues
from upswell.broker.rabbitmq.sweep import Sweep, alone
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from upswell.broker.protocol import Delivery, Handle, IsWanted, Message, OnDelivery
    from upswell.broker.rabbitmq.consumers import Held
    from upswell.broker.topology import Queue
    from upswell.errors import BrokerError

T = TypeVar("T")

_CLOSE_PATIENCE = 5.0  # seconds that outstanding confirms have at close
_NACK_UNCOUNTED_SINCE = (4, 3)


class RabbitBroker:
    """The queues of the RabbitMQ server, or cluster, at `url`; its connection is called `name` there.

    With `management_url` the depth of a queue includes its unacknowledged messages. `compatible`: queues that
    others declare too are declared as the simplest client does.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        management_url: str = "",
        compatible: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        addresses = rabbitmq_url.parse_all(url)
        self._address = addresses[0]  # its user and vhost are those of all
        self._name = name
        self._management_url = management_url
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._log = get_logger(connection=name)
        self._queues = DeclaredQueues(self._log, compatible=compatible)
        self._nack_counts = True
        self._getting: AwaitableChannel | None = None
        self._get_lock = asyncio.Lock()
        self._got: Callable[..., None] | None = None
        self._publishing = PublishingChannel(self._log)
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaderships: list[TickLeadership] = []
        self._consumers = Consumers(
            self._prepare, is_prepared=self._queues.is_prepared, log=self._log, rng=self._rng
        )
        self._connection = ReconnectingConnection(
            Hosts(addresses, name, self._rng).open,
            self._restore,
            self._on_lost,
            log=self._log,
            rng=self._rng,
        )

    async def connect(self) -> None:
        """Connect; a server that cannot be reached is tried again, with backoff and a log event each time.

        Raises:
            BrokerError: wrong credentials, no such vhost or host, no permission, an untrusted certificate.
        """
        await self._connection.connect()

    async def close(self) -> None:
        """Wait up to 5 s for outstanding confirms, then disconnect; messages still unconfirmed fail."""
        self._consumers.are_closing = True
        pending = self._publishing.pending()
        if pending:
            await asyncio.wait(pending, timeout=_CLOSE_PATIENCE)
            await asyncio.sleep(0)  # lets the acks that wait for these confirms go out
        await self._consumers.close()
        for task in self._tasks:
            task.cancel()
        await self._connection.close()
        self._publishing.close()

    async def declare(self, queue: Queue) -> None:
        """Make a queue, its exchange and binding; one that differs is used as it is, with one warning.

        Raises:
            QueueMismatchError: a stream, another connection's queue, or shared where exclusive was asked.
            BrokerError: no permission.
        """
        await self._queues.declare(queue, self._connection.call)

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Send a message; the future is done when the server has it safe on disk (confirmed).

        Without a connection, or while the server is blocked by an alarm, it is held and sent later, in order;
        with `persistent=False` it is dropped then.
        """
        properties = pika_client.properties(message_id=message.message_id, reply_to=message.reply_to)
        if message.headers:
            properties.headers = delivery_count.wire_headers(message.headers)
        if message.persistent:
            properties.delivery_mode = 2
            return self._publishing.post(
                Outgoing(
                    exchange=message.exchange,
                    routing_key=message.routing_key,
                    body=message.body,
                    properties=properties,
                    mandatory=message.mandatory,
                )
            )
        self._publishing.send_unconfirmed(message.exchange, message.routing_key, message.body, properties)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    async def consume(
        self, queue: str, on_delivery: OnDelivery, *, prefetch_count: int, priority: int = 0
    ) -> RabbitConsumer:
        """Call `on_delivery` with each message, with at most `prefetch_count` unacknowledged.

        Until `cancel` returns, `on_delivery` may still be called.
        """
        consumer = RabbitConsumer(queue, on_delivery, prefetch_count, self._consumers)
        consumer.priority = priority
        consumer.exclusive = self._queues.has_single_consumer(queue)
        consumer.counts_returns = self._queues.counts_returns(queue)
        await self._connection.until_done(lambda: self._consumers.start(consumer))
        return consumer

    def ack(self, delivery: Delivery) -> None:
        """Remove a delivered message, for good."""
        delivery.tag.ack()

    def retry(self, delivery: Delivery) -> None:
        """Put a message back, counted; over the limit it is dead-lettered.

        The server does both, except on a classic queue, which cannot count: there a copy is published.
        """
        held: Held = delivery.tag
        if not held.is_open:
            return
        queue = self._queues.get(delivery.queue)
        limit = queue.delivery_limit if queue else None
        classic = self._queues.is_classic(delivery.queue)
        is_copy = delivery_count.earlier_attempts(held.properties.headers or {}) > 0
        if (classic or is_copy) and queue and queue.dead_letter_queue and limit and delivery.attempt >= limit:
            properties = delivery_count.dead_letter_for(held.properties, delivery.attempt, limit)
            self._replace(delivery, queue.dead_letter_queue, properties)
        elif classic:
            self._replace(
                delivery, delivery.queue, delivery_count.copy_for(held.properties, delivery.attempt)
            )
        else:
            held.reject()

    def release(self, delivery: Delivery) -> None:
        """Put a message back, not counted.

        On a quorum queue without delivery limit, where attempts decide nothing, RabbitMQ before 4.3 counts it
        all the same.
        """
        held: Held = delivery.tag
        if not held.is_open:
            return
        queue = self._queues.get(delivery.queue)
        unlimited = queue is not None and queue.delivery_limit is None
        if unlimited or not self._nack_counts or self._queues.is_classic(delivery.queue):
            held.nack()
        else:
            self._copy(delivery).add_done_callback(partial(_settle_replaced, held))

    async def depth(self, queue: str, *, in_flight: bool = True) -> QueueDepth | None:
        """Return a queue's depth, or None when there is no such queue.

        Unacknowledged messages are known from the management API alone; without its answer they are None.
        """
        try:
            ready, consumers = await queue_counts(self._connection.call, queue)
        except RefusedError as error:
            if error.code == NOT_FOUND:
                return None
            raise
        return QueueDepth(
            messages_ready=ready,
            messages_unacknowledged=await self._unacknowledged(queue) if in_flight else None,
            consumers=consumers,
        )

    async def get(self, queue: str) -> Delivery | None:
        """Take one message without a subscription, or None when the queue is empty.

        Raises:
            BrokerError: no such queue.
        """
        async with self._get_lock:
            answer = await self._connection.until_done(lambda: self._get(queue))
        return None if answer is None else delivery(queue, *answer)

    async def look(self, queue: str, limit: int | None = None) -> list[Delivery]:
        """Return the oldest ready messages, which stay as and where they are."""

        async def show(sweep: Sweep) -> list[Delivery]:
            await sweep.put_back(sweep.found)
            return sweep.found[:limit]

        return await self._sweep(queue, show) or []

    async def sift(self, queue: str, is_wanted: IsWanted, handle: Handle | None = None) -> int:
        """Remove the ready messages that are wanted, each once it is handled; return how many."""
        return await self._sweep(queue, lambda sweep: sweep.sift(is_wanted, handle)) or 0

    async def purge(self, queue: str) -> int:
        """Drop all ready messages of a queue; return how many."""
        frame = await self._connection.call("queue_purge", queue=queue)
        return int(frame.method.message_count)

    async def delete(self, queue: str) -> None:
        """Delete a queue, with what is in it."""
        self._queues.forget(queue)
        await self._connection.call("queue_delete", queue=queue)

    async def lead(self, role: str) -> TickLeadership:
        """Stand for the leadership of a role; a lost connection ends it at once.

        Raises:
            BrokerError: no permission for the queue of ticks.
        """
        leadership = TickLeadership(self, role)
        self._leaderships.append(leadership)
        await leadership.start()
        return leadership

    async def _restore(self, connection: Any) -> None:
        version = str(connection.server_properties.get("version", ""))
        self._nack_counts = tuple(map(int, re.findall(r"\d+", version)[:2])) < _NACK_UNCOUNTED_SINCE
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        await self._queues.declare_all(self._connection.call_once)
        self._publishing.forget_refusals()
        await self._open_publishing(connection)
        await self._consumers.attach(connection)

    async def _open_publishing(self, connection: Any) -> None:
        channel = await AwaitableChannel.open(connection, self._on_publishing_closed)
        channel.raw.add_on_return_callback(self._publishing.on_return)
        await channel.call("confirm_delivery", ack_nack_callback=self._publishing.on_confirm)
        self._publishing.attach(channel.raw)

    def _on_lost(self) -> None:
        for leadership in self._leaderships:
            leadership.drop()
        self._publishing.detach()
        self._consumers.detach()

    def _on_publishing_closed(self, error: BrokerError) -> None:
        if isinstance(error, RefusedError):
            self._log.warning("broker.publish_refused", error=error)
            self._publishing.refuse(error)
            task = asyncio.ensure_future(self._reopen_publishing())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reopen_publishing(self) -> None:
        try:
            await self._open_publishing(self._connection.connection)
        except LostError:
            return  # the next connection opens one

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self._log.warning("broker.blocked", reason=str(frame.method.reason))
        self._publishing.block()

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self._log.info("broker.unblocked")
        self._publishing.unblock()

    async def _prepare(self, queue: str) -> None:
        await self._queues.prepare(queue, self._connection.call_once)

    async def _get(self, queue: str) -> tuple[Any, Any, Any, bytes] | None:
        if self._getting is None or not self._getting.is_open:
            self._getting = await AwaitableChannel.open(self._connection.connection)
            self._getting.raw.add_callback(self._on_get_empty, [pika_client.GET_EMPTY], one_shot=False)
        channel = self._getting

        def start(settle: Callable[..., None]) -> None:
            self._got = settle
            channel.raw.basic_get(queue, settle)

        return await channel.expect(start)

    async def _sweep(self, queue: str, work: Callable[[Sweep], Awaitable[T]]) -> T | None:
        """Do some work with a queue's messages in hand; None: there is no queue."""

        async def once() -> T | None:
            call = self._connection.call_once
            try:
                free = await self._queues.returns_are_free(queue, call) or not self._nack_counts
            except RefusedError as error:
                if error.code == NOT_FOUND:
                    return None
                raise
            async with alone(queue, call):
                channel = await AwaitableChannel.open(self._connection.connection)
                sweep = Sweep(channel, queue, copy=None if free else self._copy)
                try:
                    await sweep.take()
                    return await work(sweep)
                finally:
                    sweep.close()

        async with self._get_lock:
            return await self._connection.until_done(once)

    def _copy(self, delivery: Delivery) -> asyncio.Future[None]:
        """Publish a copy of a message that stands for it as it was delivered."""
        properties = delivery_count.copy_for(delivery.tag.properties, delivery.attempt - 1)
        return self._post_copy(delivery, delivery.queue, properties)

    def _on_get_empty(self, _frame: Any) -> None:
        if self._got is not None:
            self._got(None)

    def _replace(self, delivery: Delivery, queue: str, properties: Any) -> None:
        """Publish a copy of a message, and remove the original once the copy is confirmed."""
        self._post_copy(delivery, queue, properties).add_done_callback(
            partial(_settle_replaced, delivery.tag)
        )

    def _post_copy(self, delivery: Delivery, queue: str, properties: Any) -> asyncio.Future[None]:
        return self._publishing.post(Outgoing(routing_key=queue, body=delivery.body, properties=properties))

    async def _unacknowledged(self, queue: str) -> int | None:
        if not self._management_url:
            return None
        from upswell.broker.rabbitmq.management_api import (  # noqa: PLC0415 - an HTTP client that few need
            messages_unacknowledged,
        )

        return await asyncio.to_thread(
            messages_unacknowledged,
            self._management_url,
            self._address.vhost,
            queue,
            user=self._address.user,
            password=self._address.password,
        )


def _settle_replaced(held: Held, future: asyncio.Future[None]) -> None:
    """Remove a message whose copy was confirmed; put it back when the copy was not."""
    if future.cancelled() or future.exception() is not None:
        held.reject()
    else:
        held.ack()
