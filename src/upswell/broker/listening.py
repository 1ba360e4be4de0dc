"""Listens on a queue of one's own: for replies, answers, statuses, heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker.protocol import Broker, Consumer, Delivery
    from upswell.broker.topology import Queue


PREFETCH = 1000
"""Each is small, and taken at once."""


async def listen(broker: Broker, queue: Queue, take: Callable[[Delivery], None]) -> Consumer:
    """Make the queue, and have `take` called with each of its deliveries, which are acknowledged."""
    await broker.declare(queue)

    def on_delivery(delivery: Delivery) -> None:
        broker.ack(delivery)
        take(delivery)

    return await broker.consume(queue.name, on_delivery, prefetch_count=PREFETCH)
