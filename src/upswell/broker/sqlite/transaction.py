"""One turn of a connection: settle deliveries, publish, and take what may now be taken, in one transaction.

Takes what the connection holds and wants; returns a `TurnResult`, to be applied once it is committed. Until
then nothing but the file is changed, so that a turn which the disk refused can be run again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from upswell.broker.protocol import OnDelivery
from upswell.broker.sqlite import message_rows, queue_rows
from upswell.errors import UnroutableError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from upswell.broker.protocol import Delivery, Message
    from upswell.broker.sqlite.message_rows import DeadMessage, NewMessage, TakenMessage
    from upswell.broker.sqlite.queue_rows import QueueRow

Publish = tuple["Message", str | None, Any]
"""A message, its headers as the file keeps them, and the future to fulfil (or None)."""
Settlement = tuple[Literal["ack", "retry", "release"], tuple[int, int]]
"""What to do with a delivery, and its tag: its connection and message."""


class ConsumerState(Struct, eq=False):
    """A consumer of this connection: what it asked for, its place in the file, how much it holds."""

    queue: str
    on_delivery: OnDelivery
    prefetch_count: int
    id: int = 0
    queue_id: int = 0
    held: int = 0


class TurnResult:
    """What a committed turn did: futures to fulfil or fail, deliveries to hand over, connections to wake."""

    def __init__(self) -> None:
        self.confirmed: list[Any] = []
        self.refused: list[tuple[Any, Exception]] = []
        self.settled: list[int] = []
        self.freed: Counter[ConsumerState] = Counter()
        self.taken: list[tuple[ConsumerState, list[TakenMessage]]] = []
        self.delivered: list[tuple[OnDelivery, Delivery]] = []
        self.dead: list[DeadMessage] = []
        self.to_wake: set[int] = set()


class Turn:
    """One turn; `run` it inside a transaction, as often as it takes to commit."""

    def __init__(
        self,
        db: sqlite3.Connection,
        *,
        connection: int,
        held: Mapping[int, ConsumerState | None],
        consumers: Iterable[ConsumerState],
        now: float,
        unfair: bool,
    ) -> None:
        self._db = db
        self._connection = connection
        self._held = held
        self._consumers = consumers
        self._now = now
        self._unfair = unfair

    def run(self, publishes: Sequence[Publish], settlements: Sequence[Settlement]) -> TurnResult:
        """Do it all and return what was done."""
        result = TurnResult()
        fuller = self._settle(settlements, result)
        fuller |= self._publish(publishes, result)
        for consumer in self._consumers:
            fuller |= self._take(consumer, result)
        result.to_wake = queue_rows.waiting_connections(self._db, fuller, besides=self._connection)
        return result

    def _settle(self, settlements: Sequence[Settlement], result: TurnResult) -> set[int]:
        ours: dict[int, str] = {}
        for kind, (connection, message) in settlements:
            if connection == self._connection and message in self._held:
                ours.setdefault(message, kind)  # the first word counts
        for message in ours:
            consumer = self._held[message]
            if consumer is not None:
                result.freed[consumer] += 1
        result.settled = list(ours)
        fuller: set[int] = set()
        acked = [message for message, kind in ours.items() if kind == "ack"]
        if acked:
            message_rows.remove_messages(self._db, self._connection, acked)
        returned = [(message, kind) for message, kind in ours.items() if kind != "ack"]
        for kind, group in itertools.groupby(returned, key=lambda entry: entry[1]):
            ids = [message for message, _ in group]
            back, dead = message_rows.give_back(self._db, self._connection, ids, counted=kind == "retry")
            fuller |= back
            result.dead += dead
        return fuller

    def _publish(self, publishes: Sequence[Publish], result: TurnResult) -> set[int]:
        routes: dict[tuple[str, str], list[QueueRow]] = {}
        rows: list[NewMessage] = []
        for message, headers, future in publishes:
            target = (message.exchange, message.routing_key)
            route = routes.get(target)
            if route is None:
                route = routes[target] = self._route(message)
            for queue in route:
                expires_at = None if queue.message_ttl is None else self._now + queue.message_ttl
                row = (queue.id, expires_at, message.message_id, message.reply_to, headers, message.body)
                rows.append(row)
            if future is None:
                continue
            if route or not message.mandatory:
                result.confirmed.append(future)
            else:
                result.refused.append((future, _unroutable(message)))
        message_rows.insert_messages(self._db, rows)
        fuller = {queue.id: queue for route in routes.values() for queue in route}
        for queue in fuller.values():
            message_rows.forget_expired(self._db, queue, self._now)
            message_rows.drop_oldest(self._db, queue)
        return set(fuller)

    def _route(self, message: Message) -> list[QueueRow]:
        if message.exchange:
            return queue_rows.bound_queues(self._db, message.exchange)
        queue = queue_rows.find_queue(self._db, message.routing_key)
        return [] if queue is None else [queue]

    def _take(self, consumer: ConsumerState, result: TurnResult) -> set[int]:
        """Take what a consumer has room for, within its fair share; return the queue if some is left."""
        held = consumer.held - result.freed[consumer]
        left = False
        queue = self._queue_of(consumer)
        if queue is not None:
            wanted = min(consumer.prefetch_count - held, queue.ready)
            if wanted > 0:
                share = queue_rows.fair_share(self._db, queue, consumer.id, held)
                limit = min(wanted, max(share, int(self._unfair)))
                taken = message_rows.take_messages(self._db, queue.id, self._connection, limit)
                if taken:
                    result.taken.append((consumer, taken))
                held += len(taken)
                left = len(taken) < wanted
        if held != consumer.held:
            self._db.execute("UPDATE consumers SET held = ? WHERE id = ?", (held, consumer.id))
        return {consumer.queue_id} if left else set()

    def _queue_of(self, consumer: ConsumerState) -> QueueRow | None:
        queue = queue_rows.queue_by_id(self._db, consumer.queue_id)
        if queue is None or queue.message_ttl is None:
            return queue
        message_rows.forget_expired(self._db, queue, self._now)
        return queue_rows.queue_by_id(self._db, consumer.queue_id)


def _unroutable(message: Message) -> UnroutableError:
    where = f"exchange {message.exchange}" if message.exchange else message.routing_key
    return UnroutableError(f"no queue takes messages to {where}")
