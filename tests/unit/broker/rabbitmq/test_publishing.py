"""The outbox against a channel that only records: what is sent, kept, failed and sent again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from upswell.broker.rabbitmq.channel import RefusedError
from upswell.broker.rabbitmq.publishing import Outgoing, PublishingChannel
from upswell.errors import BrokerError, UnroutableError
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable


class RecordingChannel:
    """Keeps what is published on it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.declared: list[str] = []

    def basic_publish(self, _exchange: str, _key: str, body: bytes, *_: Any) -> None:
        """Keep a body."""
        self.bodies.append(body)

    def exchange_declare(self, exchange: str, *_: Any, **__: Any) -> None:
        """Keep a name."""
        self.declared.append(exchange)


def outgoing(body: bytes, *, exchange: str = "") -> Outgoing:
    """Return a mandatory message."""
    return Outgoing(
        exchange=exchange, routing_key="q", body=body, properties=SimpleNamespace(message_id=None)
    )


def confirm(number: int, *, multiple: bool = False, name: str = "Basic.Ack") -> Any:
    """Return a confirm as pika hands it out."""
    return SimpleNamespace(method=SimpleNamespace(delivery_tag=number, multiple=multiple, NAME=name))


def run(scenario: Callable[[PublishingChannel, list[Outgoing]], None], bodies: str = "abc") -> None:
    """Run a scenario with an outbox and some messages."""

    async def main() -> None:
        scenario(PublishingChannel(get_logger()), [outgoing(letter.encode()) for letter in bodies])

    asyncio.run(main())


def test_messages_are_held_until_a_channel_is_attached_and_sent_in_order() -> None:
    def scenario(outbox: PublishingChannel, messages: list[Outgoing]) -> None:
        for message in messages:
            outbox.post(message)
        channel = RecordingChannel()
        outbox.attach(channel)
        assert channel.bodies == [b"a", b"b", b"c"]

    run(scenario)


def test_one_confirm_may_stand_for_many() -> None:
    def scenario(outbox: PublishingChannel, messages: list[Outgoing]) -> None:
        outbox.attach(RecordingChannel())
        for message in messages:
            outbox.post(message)
        outbox.on_confirm(confirm(2, multiple=True))
        assert [message.future.done() for message in messages] == [True, True, False]
        outbox.on_confirm(confirm(3))
        assert outbox.pending() == []

    run(scenario)


def test_the_next_channel_gets_what_was_not_confirmed_before_what_came_later() -> None:
    def scenario(outbox: PublishingChannel, messages: list[Outgoing]) -> None:
        outbox.attach(RecordingChannel())
        for message in messages[:3]:
            outbox.post(message)
        outbox.on_confirm(confirm(2))
        outbox.detach()
        outbox.post(messages[3])
        channel = RecordingChannel()
        outbox.attach(channel)
        assert channel.bodies == [b"a", b"c", b"d"]
        outbox.on_confirm(confirm(3, multiple=True))
        assert all(message.future.done() for message in messages)

    run(scenario, "abcd")


def test_a_blocked_server_is_sent_nothing() -> None:
    def scenario(outbox: PublishingChannel, messages: list[Outgoing]) -> None:
        channel = RecordingChannel()
        outbox.attach(channel)
        outbox.block()
        outbox.post(messages[0])
        outbox.send_unconfirmed("", "q", b"status", None)
        assert channel.bodies == []
        outbox.unblock()
        assert channel.bodies == [b"a"]

    run(scenario)


def test_a_message_whose_publisher_gave_up_is_not_sent_again() -> None:
    def scenario(outbox: PublishingChannel, messages: list[Outgoing]) -> None:
        for message in messages:
            outbox.post(message)
        messages[1].future.cancel()
        channel = RecordingChannel()
        outbox.attach(channel)
        assert channel.bodies == [b"a", b"c"]

    run(scenario)


def test_a_returned_message_fails_and_its_confirm_changes_nothing() -> None:
    def scenario(outbox: PublishingChannel, messages: list[Outgoing]) -> None:
        outbox.attach(RecordingChannel())
        for message in messages:
            outbox.post(message)
        method = SimpleNamespace(routing_key="q", exchange="")
        outbox.on_return(None, method, SimpleNamespace(message_id=None), b"b")
        outbox.on_confirm(confirm(3, multiple=True))
        assert isinstance(messages[1].future.exception(), UnroutableError)
        assert [message.future.exception() for message in (messages[0], messages[2])] == [None, None]

    run(scenario)


def test_an_exchange_is_declared_once_on_each_channel() -> None:
    def scenario(outbox: PublishingChannel, _: list[Outgoing]) -> None:
        for _number in range(2):
            channel = RecordingChannel()
            outbox.attach(channel)
            outbox.post(outgoing(b"1", exchange="fan"))
            outbox.send_unconfirmed("fan", "", b"2", None)
            outbox.send_unconfirmed("", "q", b"3", None)
            assert channel.declared == ["fan"]
            outbox.on_confirm(confirm(1))

    run(scenario)


@pytest.mark.parametrize(
    ("text", "guilty"),
    [
        ("ACCESS_REFUSED - write access to exchange 'fan' in vhost '/' refused for user 'u'", b"to fan"),
        ("PRECONDITION_FAILED - message size 9 is larger than configured max size 8", b"too large"),
        ("SOMETHING_NEW", b"first"),
    ],
)
def test_only_the_message_that_the_server_refuses_fails(text: str, guilty: bytes) -> None:
    def scenario(outbox: PublishingChannel, _: list[Outgoing]) -> None:
        outbox.attach(RecordingChannel())
        messages = [outgoing(b"first"), outgoing(b"to fan", exchange="fan"), outgoing(b"too large")]
        for message in messages:
            outbox.post(message)
        outbox.refuse(RefusedError(403, text))
        failed = [message.body for message in messages if message.future.done()]
        assert failed == [guilty]
        assert all(isinstance(m.future.exception(), BrokerError) for m in messages if m.future.done())
        channel = RecordingChannel()
        outbox.attach(channel)
        assert channel.bodies == [message.body for message in messages if message.body != guilty]

    run(scenario)


@pytest.mark.parametrize(
    ("code", "text", "declared"),
    [
        (404, "NOT_FOUND - no exchange 'fan' in vhost '/'", ["fan"]),
        (403, "ACCESS_REFUSED - configure access to exchange 'fan' in vhost '/' refused", []),
    ],
    ids=["deleted", "not ours"],
)
def test_an_exchange_that_cannot_be_taken_for_granted_is_tried_again(
    code: int, text: str, declared: list[str]
) -> None:
    def scenario(outbox: PublishingChannel, _: list[Outgoing]) -> None:
        outbox.attach(RecordingChannel())
        message = outgoing(b"to fan", exchange="fan")
        outbox.post(message)
        outbox.refuse(RefusedError(code, text))
        channel = RecordingChannel()
        outbox.attach(channel)
        assert (channel.declared, channel.bodies) == (declared, [b"to fan"])
        outbox.refuse(RefusedError(403, "write access to exchange 'fan' refused"))
        assert isinstance(message.future.exception(), BrokerError)

    run(scenario)


def test_a_message_that_the_server_could_not_take_is_sent_again_after_a_pause() -> None:
    def scenario(outbox: PublishingChannel, messages: list[Outgoing]) -> None:
        channel = RecordingChannel()
        outbox.attach(channel)
        outbox.post(messages[0])
        outbox.on_confirm(confirm(1, name="Basic.Nack"))
        assert len(outbox.pending()) == 1
        outbox._send_nacked()
        assert channel.bodies == [b"a", b"a"]

    run(scenario, "a")
