"""One connection to the embedded broker's file: what it declared, consumes and holds.

What comes in: messages to publish, deliveries to settle, and what the broker's methods ask. What goes out:
an `TurnResult` that says what was confirmed, refused and delivered. All of it blocks and is called from one
thread; it must not know asyncio.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from upswell import events
from upswell.broker.protocol import Delivery, OnDelivery, QueueDepth
from upswell.broker.sqlite import message_rows, queue_rows
from upswell.broker.sqlite.presence import Presence
from upswell.broker.sqlite.transaction import Changes, ConsumerState, Publish, Settlement, Transaction
from upswell.errors import BrokerError, QueueInUseError, QueueMismatchError

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from upswell.broker.sqlite.message_rows import TakenMessage
    from upswell.broker.sqlite.queue_rows import QueueRow
    from upswell.broker.topology import Queue


def seconds_since_start() -> float:
    """Return the time since the machine started: one clock for all its processes, that no one can set."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class TurnResult(Struct):
    """What a committed turn means to others: futures to fulfil or fail, and deliveries to hand over."""

    confirmed: list[Any]
    refused: list[tuple[Any, Exception]]
    delivered: list[tuple[OnDelivery, Delivery]]


class Session:
    """A connection; `leaving` is set when it is no use to wait for the disk any longer."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        leaving: threading.Event,
        now: Callable[[], float] = seconds_since_start,
    ) -> None:
        """Open the file, made where it is missing, and take a place among its connections.

        Raises:
            BrokerError: the file or its folder cannot serve; the message names it and says what to do.
        """
        self.look_again = False
        self._now = now
        self._log = events.get_logger(broker=str(path), connection=name)
        self._declared: dict[str, Queue] = {}
        self._differing: set[str] = set()
        self._subscriptions: list[ConsumerState] = []
        self._held: dict[int, ConsumerState | None] = {}
        self._presence = Presence(path, name, leaving=leaving)
        try:
            self._presence.join(self, patient=False)
            self._presence.bury_the_dead()
        except BaseException:
            self._presence.close_file()
            raise

    def close(self) -> None:
        """Give back what is held, uncounted, take exclusive queues away, and disconnect."""
        self._presence.leave()

    def wait(self, seconds: float) -> bool:
        """Sleep until a thread pokes or a connection rings, at most so long; return whether one rang."""
        return self._presence.bell.wait(seconds)

    def poke(self) -> None:
        """End the `wait`; for any thread."""
        self._presence.bell.poke()

    def exchange(
        self, publishes: Sequence[Publish], settlements: Sequence[Settlement], *, unfair: bool = False
    ) -> TurnResult | None:
        """Publish, settle and take what may now be taken, in one transaction; None: there was nothing to do.

        It is synced to disk when it holds a persistent message; acks and takes need not outlive a power
        cut. `unfair`: take at least one message, even where it is another consumer's turn.
        """
        self.look_again = False
        if not publishes and not settlements and not self._may_take():
            return None

        def run() -> Changes:
            turn = Transaction(
                self._db,
                connection=self._presence.id,
                held=self._held,
                subscriptions=self._subscriptions,
                now=self._now(),
                unfair=unfair,
            )
            return turn.run(publishes, settlements)

        synced = any(message.persistent for message, _, _ in publishes)
        return self._remember(self._presence.transact(run, synced=synced))

    def tick(self) -> None:
        """Show that this process lives, look for dead ones, mend what others took away; once a second."""
        self._presence.refresh()
        self._presence.bury_the_dead()
        self._mend_subscriptions()

    def declare(self, queue: Queue) -> None:
        """Make a queue unless it is there; one that differs is used as it is, with one warning."""
        there = queue_rows.find_queue(self._db, queue.name)
        if there is not None and there.owner not in (None, self._presence.id):
            self._presence.ring([there.owner])  # if it is dead, its queue goes
        differing = self._presence.transact(
            lambda: queue_rows.declare_queue(self._db, queue, self._presence.id), synced=not queue.exclusive
        )
        self._declared[queue.name] = queue
        if differing and queue.name not in self._differing:
            self._differing.add(queue.name)
            self._log.warning("broker.queue_differs", queue=queue.name, differs=differing)

    def subscribe(self, subscription: ConsumerState) -> None:
        """Begin to take messages of a queue, from the next exchange on."""
        if self._is_single(subscription.queue):  # a dead process's consumer does not count
            self._presence.ring(queue_rows.consuming_connections(self._db, subscription.queue))

        def add() -> None:
            self._queue(subscription.queue)
            if not self._add_consumer(subscription):
                raise QueueInUseError(subscription.queue)

        self._presence.transact(add, synced=False)
        self._subscriptions.append(subscription)
        self.look_again = True

    def unsubscribe(self, subscription: ConsumerState) -> None:
        """Take no more; what is held stays held."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

        def remove() -> set[int]:
            self._db.execute("DELETE FROM consumers WHERE id = ?", (subscription.id,))
            return queue_rows.waiting_connections(
                self._db, [subscription.queue_id], besides=self._presence.id
            )

        self._presence.ring(self._presence.transact(remove, synced=False))

    def depth(self, name: str) -> QueueDepth | None:
        """Return a queue's depth, or None when there is no such queue."""
        queue = queue_rows.find_queue(self._db, name)
        return None if queue is None else queue_rows.queue_depth(self._db, queue, self._now())

    def get(self, name: str) -> Delivery | None:
        """Take one message, or None when none is ready."""

        def take() -> list[TakenMessage]:
            queue = self._queue(name)
            message_rows.forget_expired(self._db, queue, self._now())
            return message_rows.take_messages(self._db, queue.id, self._presence.id, 1)

        for taken in self._presence.transact(take, synced=False):
            self._held[taken.id] = None
            return self._delivery(name, taken)
        return None

    def purge(self, name: str) -> int:
        """Drop the ready messages of a queue; return how many."""
        return self._presence.transact(
            lambda: message_rows.drop_ready(self._db, self._queue(name).id), synced=True
        )

    def delete(self, name: str) -> None:
        """Delete a queue, if there is one."""
        self._declared.pop(name, None)

        def delete() -> None:
            queue = queue_rows.find_queue(self._db, name)
            if queue is not None:
                queue_rows.delete_queue(self._db, queue.id)

        self._presence.transact(delete, synced=True)

    def enter(self) -> None:
        """Declare and consume again what this connection had, if it had another name before."""
        self._declare_again()
        for subscription in self._subscriptions:
            self._add_consumer(subscription)

    def entered(self) -> None:
        """Forget what was held: it went back."""
        self._held.clear()
        for subscription in self._subscriptions:
            subscription.held = 0
        self.look_again = True

    @property
    def _db(self) -> sqlite3.Connection:
        return self._presence.db

    def _may_take(self) -> bool:
        """Look, without a lock, whether a queue has something for a consumer with room."""
        for subscription in self._subscriptions:
            if subscription.held < subscription.prefetch_count:
                queue = queue_rows.queue_by_id(self._db, subscription.queue_id)
                if queue is not None and queue.ready > 0:
                    return True
        return False

    def _remember(self, changes: Changes) -> TurnResult:
        for message in changes.settled:
            del self._held[message]
        for subscription, count in changes.freed.items():
            subscription.held -= count
        delivered: list[tuple[OnDelivery, Delivery]] = []
        for subscription, taken in changes.taken:
            subscription.held += len(taken)
            for message in taken:
                self._held[message.id] = subscription
                delivered.append((subscription.on_delivery, self._delivery(subscription.queue, message)))
        self._presence.report_dead(changes.dead)
        self._presence.ring(changes.to_ring)
        return TurnResult(changes.confirmed, changes.refused, delivered)

    def _delivery(self, queue: str, taken: TakenMessage) -> Delivery:
        return Delivery(
            body=taken.body,
            queue=queue,
            attempt=taken.failed_attempts + 1,
            tag=(self._presence.id, taken.id),
            message_id=taken.message_id,
            reply_to=taken.reply_to,
            headers=json.loads(taken.headers) if taken.headers else {},
        )

    def _queue(self, name: str) -> QueueRow:
        """Return a queue that this connection may use."""
        queue = queue_rows.find_queue(self._db, name)
        if queue is None:
            raise BrokerError(f"a queue must be declared before it is used, got {name}")
        if queue.owner not in (None, self._presence.id):
            raise BrokerError(f"an exclusive queue must be used by its own connection, got {name}")
        return queue

    def _declare_again(self) -> None:
        for queue in self._declared.values():
            try:
                queue_rows.declare_queue(self._db, queue, self._presence.id)
            except QueueMismatchError as error:
                self._log.error("broker.queue_lost", queue=queue.name, error=error)

    def _is_single(self, name: str) -> bool:
        queue = self._declared.get(name)
        return queue is not None and queue.single_consumer

    def _add_consumer(self, subscription: ConsumerState) -> bool:
        """Take a consumer's place; return whether there was one."""
        name = subscription.queue
        subscription.queue_id = 0
        if self._is_single(name) and queue_rows.consuming_connections(self._db, name):
            return False
        queue = queue_rows.find_queue(self._db, name)
        if queue is not None:
            subscription.queue_id = queue.id
            subscription.id = queue_rows.add_consumer(
                self._db, queue.id, self._presence.id, subscription.prefetch_count
            )
        return queue is not None

    def _mend_subscriptions(self) -> None:
        """Consume again from queues that someone deleted; those declared here are made again."""
        broken = [
            subscription
            for subscription in self._subscriptions
            if queue_rows.queue_by_id(self._db, subscription.queue_id) is None
        ]
        if not broken:
            return

        def mend() -> list[ConsumerState]:
            self._declare_again()
            return [subscription for subscription in broken if self._add_consumer(subscription)]

        for subscription in self._presence.transact(mend, synced=False):
            self._log.warning("broker.consumer_restored", queue=subscription.queue)
