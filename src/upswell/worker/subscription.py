"""A worker's subscription to its upload queue, whose prefetch count follows its slots.

What comes in: how many deliveries to hold at once. What goes out: consumers of the broker that hold that many
together. A broker's prefetch count is for good, so more is one consumer more, and less is one consumer less:
what is held, or on its way, is never disturbed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.broker.protocol import Broker, Consumer, OnDelivery


class Subscription:
    """Consumes one queue with a prefetch count that can be changed."""

    def __init__(self, broker: Broker, queue: str, on_delivery: OnDelivery) -> None:
        self._broker = broker
        self._queue = queue
        self._on_delivery = on_delivery
        self._consumers: list[tuple[Consumer, int]] = []
        self._ending: asyncio.Future[None] | None = None

    @property
    def prefetch_count(self) -> int:
        """How many deliveries may be held at once."""
        return sum(count for _, count in self._consumers)

    async def resize(self, prefetch_count: int) -> None:
        """Hold that many deliveries at once from now on.

        What is held already stays, beside what the new count lets in: until it is done, up to both together.
        """
        while self._consumers and self.prefetch_count > prefetch_count:
            await self._end_last()
        more = prefetch_count - self.prefetch_count
        if more > 0:
            consumer = await self._broker.consume(self._queue, self._on_delivery, prefetch_count=more)
            self._consumers.append((consumer, more))

    async def cancel(self) -> None:
        """Take no more deliveries; those already held stay with their holder."""
        await self._ended()
        while self._consumers:
            await self._end_last()

    async def _end_last(self) -> None:
        consumer, _ = self._consumers.pop()
        self._ending = asyncio.ensure_future(consumer.cancel())
        await self._ended()

    async def _ended(self) -> None:
        if self._ending is not None:  # whoever is told to leave meanwhile waits for the same
            await asyncio.shield(self._ending)
