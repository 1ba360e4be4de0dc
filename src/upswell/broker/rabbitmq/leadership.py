"""The election on RabbitMQ: a queue of ticks with a single active consumer.

What comes in: ticks of one's own that come back. What goes out: proofs that this candidate leads. It must not
know what is led.

Every candidate consumes the queue and publishes a tick into it every 0.4 s; the server gives all ticks to
one consumer. Who receives a tick of its own was the active consumer when it was sent, or later: it leads for
`TERM_SECONDS` from then on. A tick that lay in a stopped process's socket is old, and proves nothing.

A leader that is killed frees the queue with its connection, and the server turns to the next at once. One
that is stopped, or cut off, keeps its connection for up to a minute, and takes nothing: a tick stays in the
queue. The others see that, and after more than a term one of them deletes the queue and makes it anew. Who
is told that it was deleted leads no more, and begins to watch anew: the next delete would depose the leader
that the new queue made.

The server tells no consumer that it is active, hence the ticks. They are acknowledged at once: RabbitMQ 4.3.0
to 4.3.5 can lock up a queue whose active consumer held a message past its time limit.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from upswell.broker.leadership import TERM_SECONDS, Lease
from upswell.broker.protocol import Message
from upswell.broker.topology import tick_queue
from upswell.errors import BrokerError
from upswell.events import get_logger

if TYPE_CHECKING:
    from upswell.broker.protocol import Delivery
    from upswell.broker.rabbitmq.broker import RabbitBroker
    from upswell.broker.rabbitmq.consumers import RabbitConsumer

_log = get_logger()

TICK_SECONDS = 0.4
"""Between two ticks of a candidate: a leader may lose four in a row."""

_ARRIVAL_SECONDS = (
    0.1  # until a tick is in the queue, or taken: asked before, a leader that hangs shows a tick later
)
_LATER_SECONDS = 0.1  # at most, after a term: of several that wait, few delete the queue at once
_ANSWER_SECONDS = 1.0  # for the depth of the queue: a broker that takes longer proves nothing
_RENEWAL_SECONDS = 10.0  # for deleting the queue and making it anew

_jitter = random.Random()  # noqa: S311 - not a secret; one of our own, for the process's may be seeded by its owner


class TickLeadership(Lease):
    """One candidate for `role`; `start` it once."""

    def __init__(self, broker: RabbitBroker, role: str) -> None:
        super().__init__(role)
        self._broker = broker
        self._queue = tick_queue(role)
        self._name = secrets.token_hex(8)
        self._stuck_since: float | None = None
        self._consumer: RabbitConsumer | None = None

    async def start(self) -> None:
        """Stand from now on.

        Raises:
            BrokerError: no permission for the queue, or it is something else.
        """
        await self._broker.declare(self._queue)
        # One at a time: what a stopped leader does not take stays in the queue, to be seen there.
        self._consumer = await self._broker.consume(self._queue.name, self._on_tick, prefetch_count=1)
        self._consumer.on_cancelled = self._on_deleted
        self.stand(self._stand())

    async def close(self) -> None:
        """Stand no more."""
        await self.stand_down()
        if self._consumer is not None:
            with suppress(BrokerError):
                await self._consumer.cancel()

    def _on_tick(self, delivery: Delivery) -> None:
        self._broker.ack(delivery)
        name, _, sent_at = delivery.body.partition(b" ")
        if name == self._name.encode():
            with suppress(ValueError):  # anybody may send one
                # No later than now: nor may a forged one lead for longer than a true one.
                self.proved(min(float(sent_at), self._clock()))

    def _on_deleted(self) -> None:
        self._stuck_since = None
        self.drop()

    async def _stand(self) -> None:
        while True:
            try:
                self._send_tick()
                await asyncio.sleep(_ARRIVAL_SECONDS)
                await self._watch_leader()
            except BrokerError as error:
                _log.warning("leadership.failed", role=self._role, error=error)
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Return the seconds until the next tick, or until a leader that hangs has had its term."""
        pause = TICK_SECONDS * _jitter.uniform(0.8, 1.2) - _ARRIVAL_SECONDS
        if self._stuck_since is None:
            return pause
        left = self._stuck_since + TERM_SECONDS - self._clock()
        return min(pause, max(0.0, left) + _LATER_SECONDS * _jitter.random())

    def _send_tick(self) -> None:
        body = f"{self._name} {self._clock()}".encode()
        self._broker.publish(
            Message(body=body, routing_key=self._queue.name, persistent=False, mandatory=False)
        )

    async def _watch_leader(self) -> None:
        """Make the queue anew if its active consumer has taken nothing for more than a term."""
        if self.leads() or not await self._is_stuck():
            self._stuck_since = None
            return
        now = self._clock()
        if self._stuck_since is None:
            self._stuck_since = now
        elif now - self._stuck_since > TERM_SECONDS:
            self._stuck_since = None
            _log.warning("leadership.leader_hangs", role=self._role)
            with suppress(TimeoutError):
                async with asyncio.timeout(_RENEWAL_SECONDS):
                    await self._broker.delete(self._queue.name)
                    await self._broker.declare(self._queue)
                    self._send_tick()

    async def _is_stuck(self) -> bool:
        """Return whether a tick waits that the active consumer should have taken."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                depth = await self._broker.depth(self._queue.name, in_flight=False)
        except TimeoutError:
            return False
        return depth is not None and depth.messages_ready > 0
