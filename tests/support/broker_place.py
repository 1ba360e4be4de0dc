"""Where the contract's brokers meet: a RabbitMQ node, or a file."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from support.holder import open_broker
from upswell.broker import topology
from upswell.broker.topology import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from upswell.broker.protocol import Broker

_numbers = itertools.count(int(time.time() * 1000))


class Place:
    """Where brokers of one kind meet: a RabbitMQ node or a file, and names that no other test uses."""

    def __init__(self, kind: str, where: str) -> None:
        self.kind = kind
        self.where = where
        self._number = next(_numbers)

    def name(self, suffix: str = "queue") -> str:
        """Return a name that belongs to this test alone."""
        return f"contract.{self._number}.{suffix}"

    def queue(self, suffix: str = "queue") -> Queue:
        """Return a plain durable queue."""
        return Queue(name=self.name(suffix))

    def upload_queue(self, delivery_limit: int = 3) -> Queue:
        """Return a queue that dead-letters over its delivery limit."""
        return topology.upload_queue(self.name("upload"), delivery_limit=delivery_limit)

    @asynccontextmanager
    async def broker(self, name: str = "test") -> AsyncIterator[Broker]:
        """Give a connected broker, closed at the end."""
        broker = open_broker(self.kind, self.where, name)
        await broker.connect()
        try:
            yield broker
        finally:
            await broker.close()

    def run(self, scenario: Callable[[Broker], Coroutine[None, None, None]]) -> None:
        """Run a scenario that needs one broker."""

        async def with_broker() -> None:
            async with self.broker() as broker:
                await scenario(broker)

        asyncio.run(with_broker())
