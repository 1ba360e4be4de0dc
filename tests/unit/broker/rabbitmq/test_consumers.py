# ruff: noqa: D102 - pika says what each method does
"""A subscription that is ended stays ended, whatever the connection does meanwhile, and loses no ack."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from upswell.broker.protocol import Message
from upswell.broker.rabbitmq import RabbitBroker, consumers
from upswell.broker.rabbitmq.consumers import Consumers, RabbitConsumer
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker.protocol import Delivery

ROUND_TRIP = 0.02


class Server:
    """A connection with its one channel, as pika shows them; it answers a round trip later."""

    def __init__(self) -> None:
        self.is_open = True
        self.connection = self
        self.consuming: set[str] = set()
        self.begun: list[Callable[..., None]] = []
        self.acked: list[tuple[int, bool]] = []
        self.rejected: list[int] = []

    def channel(self, *, on_open_callback: Callable[[Server], None]) -> Server:
        asyncio.get_running_loop().call_soon(on_open_callback, self)
        return self

    def add_on_close_callback(self, callback: object) -> None:
        pass

    def add_on_cancel_callback(self, callback: object) -> None:
        pass

    def basic_consume(
        self, _queue: str, on_message: Callable[..., None], *, callback: Any, **_: object
    ) -> None:
        def begin() -> None:
            self.begun.append(on_message)
            self.consuming.add("tag")
            callback(SimpleNamespace(method=SimpleNamespace(consumer_tag="tag")))

        asyncio.get_running_loop().call_later(ROUND_TRIP, begin)

    def queue_declare(self, *, callback: Any, **_: object) -> None:
        asyncio.get_running_loop().call_later(ROUND_TRIP, callback, SimpleNamespace())

    def basic_ack(self, number: int, *, multiple: bool = False) -> None:
        self.acked.append((number, multiple))

    def basic_reject(self, number: int) -> None:
        self.rejected.append(number)

    def deliver(self, number: int) -> None:
        """Deliver a message to the consumer that was begun last."""
        method = SimpleNamespace(delivery_tag=number, redelivered=False)
        properties = SimpleNamespace(headers=None, message_id=None, reply_to=None)
        self.begun[-1](self, method, properties, b"")


def end(server: Server, tag: str, settle: Callable[[Any], None]) -> None:
    def done() -> None:
        server.consuming.discard(tag)
        settle(SimpleNamespace())

    asyncio.get_running_loop().call_later(ROUND_TRIP, done)


@pytest.fixture(autouse=True)
def without_pika(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "cancel_consumer", end)
    monkeypatch.setattr(consumers, "set_prefetch_count", lambda *_: None)


async def prepare(_queue: str) -> None:
    await asyncio.sleep(ROUND_TRIP)


def new_consumers() -> Consumers:
    return Consumers(prepare, is_prepared=lambda _: True, log=get_logger(), rng=random.Random(1))


@pytest.mark.parametrize("seconds", [0.0, 0.5 * ROUND_TRIP, 1.5 * ROUND_TRIP, 5 * ROUND_TRIP])
def test_a_subscription_that_is_cancelled_while_it_is_begun_again_ends(seconds: float) -> None:
    """A worker is told to drain in the moment in which its connection is back."""

    async def scenario() -> None:
        subject = new_consumers()
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


def test_what_a_subscription_held_back_while_it_ended_is_acknowledged_at_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker leaves, its queue is nearly empty, and its last reports are confirmed at last."""
    monkeypatch.setattr(consumers, "_FILL_SECONDS", 0.0)

    async def scenario() -> None:
        subject, server = new_consumers(), Server()
        await subject.attach(server)
        held: list[Delivery] = []
        consumer = RabbitConsumer("a_upload", held.append, 4, subject)
        await subject.start(consumer)
        server.deliver(1)
        ending = asyncio.ensure_future(consumer.cancel())
        while len(server.begun) < 2:  # noqa: ASYNC110 - the server has nothing to wait on
            await asyncio.sleep(ROUND_TRIP)
        server.deliver(2)
        server.deliver(3)
        for delivery, method in zip(held, ("ack", "ack", "reject"), strict=True):
            getattr(delivery.tag, method)()
        await asyncio.sleep(ROUND_TRIP)
        assert server.acked == []
        await subject.close()
        assert server.acked == [(2, True)]
        assert server.rejected == []  # closing puts it back, counted once; now it would come here again
        ending.cancel()
        await asyncio.wait([ending])
        assert server.rejected == []

    asyncio.run(scenario())


def test_a_subscription_that_still_ends_at_close_takes_no_relief_any_more() -> None:
    async def scenario() -> None:
        subject, server = new_consumers(), Server()
        await subject.attach(server)
        consumer = RabbitConsumer("a_upload", lambda _: None, 4, subject)
        await subject.start(consumer)
        ending = asyncio.ensure_future(consumer.cancel())
        await asyncio.sleep(0)
        await subject.close()
        await ending
        assert len(server.begun) == 1

    asyncio.run(scenario())


def test_what_comes_while_the_broker_closes_is_neither_handed_on_nor_acknowledged() -> None:
    """A worker that leaves put an upload back as a copy, and that comes to it once more."""

    async def scenario() -> None:
        broker, server = RabbitBroker("amqp://localhost", name="e1-w"), Server()
        subject = broker._consumers
        await subject.attach(server)
        held: list[Delivery] = []
        await subject._consume(RabbitConsumer("a_upload", held.append, 4, subject))
        server.deliver(1)
        copy = broker.publish(Message(body=b"", routing_key="a_upload"))
        closing = asyncio.ensure_future(broker.close())
        await asyncio.sleep(0)
        server.deliver(2)
        held[0].tag.ack()
        copy.set_result(None)
        await closing
        assert len(held) == 1
        assert server.acked == [(1, True)]

    asyncio.run(scenario())


def test_a_consumer_fills_within_seconds_not_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine each step takes longer, and a worker that leaves has no time for that."""

    async def scenario() -> None:
        consumer = RabbitConsumer("a_upload", lambda _: None, 4, new_consumers())
        now = 0.0

        async def sleep_long(seconds: float) -> None:
            nonlocal now
            now += 3 * seconds

        with monkeypatch.context() as patched:
            patched.setattr(asyncio.get_running_loop(), "time", lambda: now)
            patched.setattr(asyncio, "sleep", sleep_long)
            assert not await consumer.is_full(1.0)
        assert now == pytest.approx(1.0, abs=0.01)

    asyncio.run(scenario())
