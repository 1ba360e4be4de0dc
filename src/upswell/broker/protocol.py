"""What a broker promises; `tests/contract/test_broker.py` holds both implementations to each sentence here.

A broker belongs to one asyncio loop; its methods are called from that loop only, and so is `on_delivery`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    import asyncio

    from upswell.broker.leadership import Leadership
    from upswell.broker.topology import Queue

Headers = Mapping[str, str | int | float]
"""Text and integers arrive as they were sent; a float may arrive as its text."""


class Message(Struct, frozen=True, kw_only=True, gc=False):
    """What is published: to the queue `routing_key`, or, given an `exchange`, to every queue bound to it."""

    body: bytes
    routing_key: str = ""
    exchange: str = ""
    message_id: str | None = None
    reply_to: str | None = None
    headers: Headers | None = None
    persistent: bool = True
    mandatory: bool = True


class Delivery(Struct, frozen=True, kw_only=True, gc=False):
    """A message that the broker gave to a consumer, which owes it one `ack`, `retry` or `release`.

    `attempt` is 1 at the first delivery and grows with each `retry` and each consumer that died holding it;
    where a queue does not count them, `redelivered` says at least that it is not the first.
    `tag` is the broker's own business.
    """

    body: bytes
    queue: str
    attempt: int
    tag: Any
    message_id: str | None = None
    reply_to: str | None = None
    headers: Headers = {}
    redelivered: bool = False


class QueueDepth(Struct, frozen=True):
    """Messages in a queue: ready, and delivered but not acknowledged (None: not known)."""

    messages_ready: int
    messages_unacknowledged: int | None
    consumers: int


class Consumer(Protocol):
    """A running subscription to one queue."""

    async def cancel(self) -> None:
        """Take no more deliveries; those already held stay with their holder, who still acks them."""
        ...


OnDelivery = Callable[[Delivery], None]
IsWanted = Callable[[Delivery], bool]
Handle = Callable[[Delivery], Awaitable[object]]


class Broker(Protocol):
    """One connection to the queues; lost, it reconnects with jittered backoff and resumes consuming.

    What was published and not confirmed is kept and published again: a message may arrive twice, but it
    always arrives.
    """

    async def connect(self) -> None:
        """Connect, once; afterwards the broker keeps itself connected.

        Raises:
            BrokerError: wrong credentials, no permission: where trying again would not help. Its text
                holds no password.
        """
        ...

    async def close(self) -> None:
        """Wait shortly for outstanding confirms, then disconnect; what is held goes back to its queue."""
        ...

    async def declare(self, queue: Queue) -> None:
        """Make a queue (and its binding) unless it is there.

        One that is there with other arguments is used as it is, with one warning.

        Raises:
            QueueMismatchError: the queue that is there cannot do the job.
        """
        ...

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Send a message now; the future is done when the broker has it safe on disk (confirmed).

        Confirms are pipelined: publish many, then await. The future fails with `UnroutableError` when the
        message is `mandatory` and no queue took it. With `persistent=False` it is done at once.
        """
        ...

    async def consume(
        self, queue: str, on_delivery: OnDelivery, *, prefetch_count: int, priority: int = 0
    ) -> Consumer:
        """Call `on_delivery` with each message; at most `prefetch_count` are unacknowledged at a time.

        A consumer that hangs takes nothing from one of higher `priority`.

        Raises:
            QueueInUseError: the queue was declared for a single consumer and has one.
            BrokerError: there is no such queue.
        """
        ...

    def ack(self, delivery: Delivery) -> None:
        """Remove a message, for good. Without effect when its connection is gone: it comes again."""
        ...

    def retry(self, delivery: Delivery) -> None:
        """Put a message back, counted as one more attempt; over the queue's limit it is dead-lettered."""
        ...

    def release(self, delivery: Delivery) -> None:
        """Put a message back at once, not counted: its holder leaves and never tried it to the end."""
        ...

    async def depth(self, queue: str, *, in_flight: bool = True) -> QueueDepth | None:
        """Return a queue's depth, or None when there is no such queue.

        `in_flight`: whether the unacknowledged messages are wanted, which may take a question of their own.
        """
        ...

    async def get(self, queue: str) -> Delivery | None:
        """Take one message without a subscription, or None; it is owed an ack like any other.

        For a few at a time: RabbitMQ may forget the acks of many as the connection closes.
        """
        ...

    async def look(self, queue: str, limit: int | None = None) -> list[Delivery]:
        """Return the oldest ready messages, which stay as and where they are; they are owed nothing.

        There are none where there is no queue. For a queue with a delivery limit RabbitMQ before 4.3 must
        replace them by copies.
        """
        ...

    async def sift(self, queue: str, is_wanted: IsWanted, handle: Handle | None = None) -> int:
        """Remove the ready messages that are wanted, oldest first; return how many.

        With `handle`, each is removed once that has returned; if it raises, that message stays and so do
        those after it. The others stay as `look` leaves them.
        """
        ...

    async def lead(self, role: str) -> Leadership:
        """Stand for the leadership of a role: of all candidates on this broker one leads at a time.

        Another takes over at once when the leader's process ends or resigns, and within five seconds when it
        hangs or is cut off. The leader of before has stepped down by then, by its own clock.
        """
        ...

    async def purge(self, queue: str) -> int:
        """Drop all ready messages of a queue; return how many."""
        ...

    async def delete(self, queue: str) -> None:
        """Delete a queue, with what is in it."""
        ...
