"""Messages on their way to RabbitMQ: sent and not confirmed yet, or held until a connection takes them.

Takes messages with futures, sends them with basic.publish on the attached channel, in order. A message
is kept until the server confirms it or refuses it for good.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from upswell.broker.rabbitmq.channel import NOT_FOUND
from upswell.errors import BrokerError, UnroutableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.broker.rabbitmq.channel import RefusedError

_NACK_PAUSE = (
    0.5  # seconds until a message that the server could not take (queue full, no leader) is sent again
)
_CLOSED = "the broker was closed before the message was confirmed"
_EXCHANGE = re.compile(r"exchange '(?P<name>[^']*)'")
_SIZE = re.compile(r"message size (?P<size>\d+) is larger")


class Outgoing(Struct, eq=False, kw_only=True):
    """A message to be confirmed; `properties` are pika's."""

    routing_key: str
    body: bytes
    properties: Any
    exchange: str = ""
    mandatory: bool = True
    future: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: BrokerError) -> None:
        """Tell the publisher that it was not taken."""
        if not self.future.done():
            self.future.set_exception(error)


class PublishingChannel:
    """Keeps each message until it is confirmed; logs what the server does not accept."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._channel: Any = None
        self._blocked = False
        self._closed = False
        self._sent = 0  # messages sent on this channel: the server numbers them so
        self._unconfirmed: dict[int, Outgoing] = {}
        self._held: deque[Outgoing] = deque()
        self._nacked: list[Outgoing] = []
        self._exchanges: set[str] = {""}  # those that are known to be there
        self._refused: dict[str, RefusedError] = {}  # exchanges that this user may not publish to
        self._foreign: set[str] = set()  # exchanges that this user may not declare

    def post(self, outgoing: Outgoing) -> asyncio.Future[None]:
        """Send a message now, or when there is a connection that takes it; return its future."""
        if self._closed:
            outgoing.fail(BrokerError(_CLOSED))
        elif self._channel is None or self._blocked:
            self._held.append(outgoing)
        else:
            self._send(outgoing)
        return outgoing.future

    def send_unconfirmed(self, exchange: str, routing_key: str, body: bytes, properties: Any) -> None:
        """Send a message that may be lost: now or never."""
        if self._channel is None or self._blocked or exchange in self._refused:
            return
        self._declare_exchange(exchange)
        self._sent += 1
        self._channel.basic_publish(exchange, routing_key, body, properties)

    def attach(self, channel: Any) -> None:
        """Use an open channel in confirm mode, and send on it all that is unconfirmed, oldest first."""
        self._channel = channel
        self._blocked = False
        self._sent = 0
        self._exchanges = {"", *self._foreign}
        self._send_held()

    def forget_refusals(self) -> None:
        """A new connection: permissions may have changed."""
        self._refused.clear()
        self._foreign.clear()

    def detach(self) -> None:
        """The channel is gone: what was sent and not confirmed is held for the next one."""
        self._channel = None
        self._hold_again(self._unconfirmed.values())
        self._unconfirmed.clear()

    def block(self) -> None:
        """Hold what comes: the server has no memory or disk left and reads nothing."""
        self._blocked = True

    def unblock(self) -> None:
        """Send what was held."""
        self._blocked = False
        if self._channel is not None:
            self._send_held()

    def refuse(self, error: RefusedError) -> None:
        """The server closed the channel over a message: find out which, fail it, keep the rest.

        A message to an exchange that this user may not publish to, one that is too large, or one that would
        do it again.
        """
        self.detach()
        exchange, size = _EXCHANGE.search(error.text), _SIZE.search(error.text)
        name = exchange["name"] if exchange is not None else ""
        if name and name not in self._foreign and (error.code == NOT_FOUND or "configure" in error.text):
            # Deleted under us: it is declared again. Not ours to declare: then it must be there already.
            if error.code != NOT_FOUND:
                self._foreign.add(name)
            guilty: list[Outgoing] = []
        elif name:
            name = "" if name == "amq.default" else name
            self._refused[name] = error
            guilty = [outgoing for outgoing in self._held if outgoing.exchange == name]
        elif size is not None:
            guilty = [outgoing for outgoing in self._held if len(outgoing.body) == int(size["size"])]
        else:
            guilty = list(self._held)[:1]
        for outgoing in guilty:
            self._held.remove(outgoing)
            outgoing.fail(error)

    def close(self) -> None:
        """Fail what is not confirmed and what still comes: there will be no connection any more."""
        self._closed = True
        for future in self.pending():
            future.set_exception(BrokerError(_CLOSED))
            future.exception()  # whoever published may be gone: not a failure that nobody looked at

    def pending(self) -> list[asyncio.Future[None]]:
        """Return the futures of all messages that are not confirmed."""
        outgoing = [*self._unconfirmed.values(), *self._held, *self._nacked]
        return [message.future for message in outgoing if not message.future.done()]

    def on_confirm(self, frame: Any) -> None:
        """Take a basic.ack or basic.nack of the server's, for one message or for all up to it."""
        method = frame.method
        number = method.delivery_tag
        numbers = [sent for sent in self._unconfirmed if sent <= number] if method.multiple else (number,)
        taken = method.NAME == "Basic.Ack"
        for sent in numbers:
            outgoing = self._unconfirmed.pop(sent, None)
            if outgoing is None:
                continue
            if not taken:
                self._on_nack(outgoing)
            elif not outgoing.future.done():
                outgoing.future.set_result(None)

    def on_return(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        """Take a basic.return: a mandatory message reached no queue; its confirm follows.

        A return bears no number; the oldest message that looks the same is the one, or its equal.
        """
        for outgoing in self._unconfirmed.values():
            if (
                outgoing.routing_key == method.routing_key
                and outgoing.exchange == method.exchange
                and outgoing.mandatory
                and outgoing.body == body
                and outgoing.properties.message_id == properties.message_id
                and not outgoing.future.done()
            ):
                where = f"exchange {outgoing.exchange}" if outgoing.exchange else outgoing.routing_key
                outgoing.fail(UnroutableError(f"no queue takes messages to {where}"))
                return

    def _send(self, outgoing: Outgoing) -> None:
        exchange = outgoing.exchange
        if exchange:
            if exchange in self._refused:
                outgoing.fail(self._refused[exchange])
                return
            self._declare_exchange(exchange)
        self._sent += 1
        self._unconfirmed[self._sent] = outgoing
        self._channel.basic_publish(
            exchange, outgoing.routing_key, outgoing.body, outgoing.properties, outgoing.mandatory
        )

    def _declare_exchange(self, exchange: str) -> None:
        """Make an exchange that nobody has listened to yet: publishing to none would close the channel."""
        if exchange not in self._exchanges:
            self._exchanges.add(exchange)
            self._channel.exchange_declare(exchange, "fanout", durable=True)

    def _send_held(self) -> None:
        held, self._held = self._held, deque()
        for outgoing in held:
            if not outgoing.future.done():
                self._send(outgoing)

    def _hold_again(self, messages: Iterable[Outgoing]) -> None:
        self._held.extendleft(reversed([message for message in messages if not message.future.done()]))

    def _on_nack(self, outgoing: Outgoing) -> None:
        if not self._nacked:
            self._log.warning("broker.publish_nacked", queue=outgoing.routing_key, again_in=_NACK_PAUSE)
            asyncio.get_running_loop().call_later(_NACK_PAUSE, self._send_nacked)
        self._nacked.append(outgoing)

    def _send_nacked(self) -> None:
        self._hold_again(self._nacked)
        self._nacked.clear()
        if self._channel is not None and not self._blocked:
            self._send_held()
