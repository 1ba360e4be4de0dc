"""A consumer's callback that keeps what it gets and can be waited on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.broker.protocol import Broker, Delivery


class Inbox:
    """Pass it as `on_delivery`; with `acking`, each delivery is acknowledged at once."""

    def __init__(self, *, acking: Broker | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self._acking = acking
        self._arrived = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        """Keep a delivery."""
        self.deliveries.append(delivery)
        if self._acking is not None:
            self._acking.ack(delivery)
        self._arrived.set()

    @property
    def bodies(self) -> list[bytes]:
        """What came, in order."""
        return [delivery.body for delivery in self.deliveries]

    async def wait(self, count: int = 1, seconds: float = 60.0) -> list[Delivery]:
        """Return all deliveries as soon as there are `count`."""
        async with asyncio.timeout(seconds):
            while len(self.deliveries) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.deliveries

    async def stays_at(self, count: int, seconds: float = 0.25) -> None:
        """Wait a while, and fail when more than `count` arrive."""
        await self.wait(count)
        await asyncio.sleep(seconds)
        assert len(self.deliveries) == count, self.bodies
