# ruff: noqa: D102 - pika says what each method does
"""A subscription that is ended stays ended, whatever the connection does meanwhile."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from upswell.broker.rabbitmq import consumers
from upswell.broker.rabbitmq.consumers import Consumers, RabbitConsumer
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND_TRIP = 0.02


class Server:
    """A connection with its one channel, as pika shows them; it answers a round trip later."""

    def __init__(self) -> None:
        self.is_open = True
        self.connection = self
        self.consuming: set[str] = set()

    def channel(self, *, on_open_callback: Callable[[Server], None]) -> Server:
        asyncio.get_running_loop().call_soon(on_open_callback, self)
        return self

    def add_on_close_callback(self, callback: object) -> None:
        pass

    def add_on_cancel_callback(self, callback: object) -> None:
        pass

    def basic_consume(self, _queue: str, _on_message: object, *, callback: Any, **_: object) -> None:
        def begin() -> None:
            self.consuming.add("tag")
            callback(SimpleNamespace(method=SimpleNamespace(consumer_tag="tag")))

        asyncio.get_running_loop().call_later(ROUND_TRIP, begin)

    def queue_declare(self, *, callback: Any, **_: object) -> None:
        asyncio.get_running_loop().call_later(ROUND_TRIP, callback, SimpleNamespace())


def end(server: Server, tag: str, settle: Callable[[Any], None]) -> None:
    def done() -> None:
        server.consuming.discard(tag)
        settle(SimpleNamespace())

    asyncio.get_running_loop().call_later(ROUND_TRIP, done)


@pytest.mark.parametrize("seconds", [0.0, 0.5 * ROUND_TRIP, 1.5 * ROUND_TRIP, 5 * ROUND_TRIP])
def test_a_subscription_that_is_cancelled_while_it_is_begun_again_ends(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """A worker is told to drain in the moment in which its connection is back."""
    monkeypatch.setattr(consumers, "cancel_consumer", end)
    monkeypatch.setattr(consumers, "set_prefetch_count", lambda *_: None)

    async def prepare(_queue: str) -> None:
        await asyncio.sleep(ROUND_TRIP)

    async def scenario() -> None:
        subject = Consumers(prepare, is_prepared=lambda _: True, log=get_logger(), rng=random.Random(1))
        before, after = Server(), Server()
        await subject.attach(before)
        consumer = RabbitConsumer("a_upload", lambda _: None, 4, subject)
        await subject.start(consumer)
        before.is_open = False
        subject.detach()
        await subject.attach(after)
        await asyncio.sleep(seconds)
        await consumer.cancel()
        assert after.consuming == set()
        await asyncio.sleep(5 * ROUND_TRIP)
        assert after.consuming == set()
        await subject.close()

    asyncio.run(scenario())
