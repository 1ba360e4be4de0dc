# ruff: noqa: D101, D102 - the protocol says what each method does
"""A broker in this process's memory: a double for unit tests of who uses a broker.

It keeps the protocol's promises on one loop, and lets a test look and meddle: `hold_confirms`,
`lose_connection`, `queues`, `published`, `acked`, `retried`, `released`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from upswell.broker.leadership import Lease
from upswell.broker.protocol import Delivery, Handle, IsWanted, Message, OnDelivery, QueueDepth
from upswell.errors import UnroutableError

if TYPE_CHECKING:
    from upswell.broker.topology import Queue


class MemoryConsumer:
    def __init__(self, queue: str, on_delivery: OnDelivery, prefetch_count: int) -> None:
        self.queue = queue
        self.on_delivery = on_delivery
        self.prefetch_count = prefetch_count
        self.held: set[int] = set()
        self.cancelled = False

    async def cancel(self) -> None:
        self.cancelled = True


class MemoryLeadership(Lease):
    """A leadership that a test gives and takes away."""

    def __init__(self, *, leads: bool = True) -> None:
        super().__init__("test", lambda: 0.0)
        if leads:
            self.give()

    def give(self) -> None:
        self._until = 1.0
        self._news.set()

    def take(self) -> None:
        self._until = -1.0
        self._news.set()

    async def close(self) -> None:
        self.take()


class MemoryBroker:
    def __init__(self) -> None:
        self.declared: dict[str, Queue] = {}
        self.queues: defaultdict[str, deque[tuple[Message, int]]] = defaultdict(deque)
        self.published: list[Message] = []
        self.acked: list[Delivery] = []
        self.retried: list[Delivery] = []
        self.released: list[Delivery] = []
        self.consumers: list[MemoryConsumer] = []
        self.confirms: list[asyncio.Future[None]] = []
        self.leaderships: dict[str, MemoryLeadership] = {}
        self.hold_confirms = False
        self.connected = False
        self._unacked: dict[int, tuple[MemoryConsumer | None, Delivery, Message]] = {}
        self._tags = itertools.count(1)

    async def connect(self) -> None:
        self.connected = True

    async def close(self) -> None:
        self.connected = False

    async def declare(self, queue: Queue) -> None:
        self.declared[queue.name] = queue

    def publish(self, message: Message) -> asyncio.Future[None]:
        confirm = asyncio.get_running_loop().create_future()
        self.published.append(message)
        names = [name for name, queue in self.declared.items() if _takes(queue, message)]
        if names:
            for name in names:
                self.queues[name].append((message, 1))
            self._deliver()
        elif message.mandatory:
            confirm.set_exception(UnroutableError(f"no queue {message.routing_key}"))
            return confirm
        if self.hold_confirms and message.persistent:
            self.confirms.append(confirm)
        else:
            confirm.set_result(None)
        return confirm

    def confirm_all(self) -> None:
        while self.confirms:
            self.confirms.pop().set_result(None)

    async def consume(
        self,
        queue: str,
        on_delivery: OnDelivery,
        *,
        prefetch_count: int,
        priority: int = 0,
    ) -> MemoryConsumer:
        consumer = MemoryConsumer(queue, on_delivery, prefetch_count)
        self.consumers.append(consumer)
        self._deliver()
        return consumer

    def ack(self, delivery: Delivery) -> None:
        if self._settle(delivery):
            self.acked.append(delivery)

    def retry(self, delivery: Delivery) -> None:
        self._put_back(delivery, self.retried, delivery.attempt + 1)

    def release(self, delivery: Delivery) -> None:
        self._put_back(delivery, self.released, delivery.attempt)

    async def depth(self, queue: str, *, in_flight: bool = True) -> QueueDepth | None:
        if queue not in self.declared:
            return None
        held = sum(delivery.queue == queue for _, delivery, _ in self._unacked.values())
        consumers = sum(consumer.queue == queue for consumer in self.consumers)
        return QueueDepth(len(self.queues[queue]), held, consumers)

    async def get(self, queue: str) -> Delivery | None:
        if not self.queues[queue]:
            return None
        message, attempt = self.queues[queue].popleft()
        return self._hand_out(None, queue, message, attempt)

    async def look(self, queue: str, limit: int | None = None) -> list[Delivery]:
        waiting = list(self.queues[queue])[:limit]
        return [_delivery(queue, message, attempt, 0) for message, attempt in waiting]

    async def sift(self, queue: str, is_wanted: IsWanted, handle: Handle | None = None) -> int:
        count = 0
        for found in list(self.queues[queue]):
            delivery = _delivery(queue, *found, 0)
            if is_wanted(delivery):
                if handle is not None:
                    await handle(delivery)
                self.queues[queue].remove(found)
                count += 1
        return count

    async def lead(self, role: str) -> MemoryLeadership:
        return self.leaderships.setdefault(role, MemoryLeadership())

    async def purge(self, queue: str) -> int:
        count = len(self.queues[queue])
        self.queues[queue].clear()
        return count

    async def delete(self, queue: str) -> None:
        self.declared.pop(queue, None)
        self.queues.pop(queue, None)

    def lose_connection(self) -> None:
        """Everything unacknowledged is redelivered, as one more attempt, and the old deliveries are void."""
        lost = list(self._unacked.values())
        self._unacked.clear()
        for consumer in self.consumers:
            consumer.held.clear()
        for _, delivery, message in reversed(lost):
            self.queues[delivery.queue].appendleft((message, delivery.attempt + 1))
        self._deliver()

    def redeliver(self, queue: str, message: Message, *, attempt: int) -> None:
        """Put a message into a queue as one that was delivered before."""
        self.queues[queue].append((message, attempt))
        self._deliver()

    def bodies(self, queue: str) -> list[bytes]:
        return [message.body for message, _ in self.queues[queue]]

    def _deliver(self) -> None:
        for consumer in self.consumers:
            waiting = self.queues[consumer.queue]
            while waiting and not consumer.cancelled and len(consumer.held) < consumer.prefetch_count:
                message, attempt = waiting.popleft()
                delivery = self._hand_out(consumer, consumer.queue, message, attempt)
                asyncio.get_running_loop().call_soon(consumer.on_delivery, delivery)

    def _hand_out(
        self, consumer: MemoryConsumer | None, queue: str, message: Message, attempt: int
    ) -> Delivery:
        tag = next(self._tags)
        delivery = _delivery(queue, message, attempt, tag)
        self._unacked[tag] = (consumer, delivery, message)
        if consumer is not None:
            consumer.held.add(tag)
        return delivery

    def _settle(self, delivery: Delivery) -> Message | None:
        if delivery.tag not in self._unacked:
            return None
        consumer, _, message = self._unacked.pop(delivery.tag)
        if consumer is not None:
            consumer.held.discard(delivery.tag)
        self._deliver()
        return message

    def _put_back(self, delivery: Delivery, kept: list[Delivery], attempt: int) -> None:
        message = self._settle(delivery)
        if message is not None:
            kept.append(delivery)
            self.queues[delivery.queue].append((message, attempt))
            self._deliver()


def _takes(queue: Queue, message: Message) -> bool:
    return queue.bound_to == message.exchange if message.exchange else queue.name == message.routing_key


def _delivery(queue: str, message: Message, attempt: int, tag: int) -> Delivery:
    return Delivery(
        body=message.body,
        queue=queue,
        attempt=attempt,
        tag=tag,
        message_id=message.message_id,
        reply_to=message.reply_to,
        headers=message.headers or {},
    )
