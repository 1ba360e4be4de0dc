"""One connection to the embedded broker's file: what it declared, consumes and holds, among the others.

Takes messages to publish, deliveries to settle, and what the broker's methods ask; returns a `TurnResult`
that says what was confirmed, refused and delivered. All of it blocks and is called from one thread; it
knows no asyncio.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import TYPE_CHECKING, TypeVar

from upswell import events
from upswell.broker.machine_clock import seconds_since_start
from upswell.broker.protocol import Delivery
from upswell.broker.sqlite import leadership, message_rows, queue_rows
from upswell.broker.sqlite.database import BrokerDatabase, LockWait
from upswell.broker.sqlite.transaction import ConsumerState, Publish, Settlement, Turn, TurnResult
from upswell.broker.sqlite.wakeup import WakeupPipe, Watch, wake
from upswell.errors import BrokerError, QueueInUseError, QueueMismatchError

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from upswell.broker.protocol import IsWanted, Message, QueueDepth
    from upswell.broker.sqlite.message_rows import DeadMessage, TakenMessage
    from upswell.broker.sqlite.queue_rows import QueueRow
    from upswell.broker.topology import Queue

T = TypeVar("T")

RETRY_SECONDS = 0.5
"""Between two tries of a transaction that the disk refused."""


class _ForgottenError(Exception):
    """The others gave this connection up: it was silent for too long, and what it held was put back."""


class SqliteConnection:
    """A connection; `leaving` is set when there is no time left to wait for the disk."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        leaving: threading.Event,
        lock_wait: LockWait | None = None,
        now: Callable[[], float] = seconds_since_start,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the file, made where it is missing, and take a place among its connections.

        Raises:
            BrokerError: the file or its folder cannot serve; the message names it and says what to do.
        """
        self.look_again = False
        self._path = path
        self._name = name
        self._leaving = leaving
        self._now = now
        self._monotonic = monotonic
        self._log = events.get_logger(broker=str(path), connection=name)
        self._declared: dict[str, Queue] = {}
        self._differing: set[str] = set()
        self._consumers: list[ConsumerState] = []
        self._held: dict[int, ConsumerState | None] = {}
        self._lock_wait = lock_wait
        self._file = BrokerDatabase(path, lock_wait)
        self._watch = Watch(self._file.folder)
        self._id = 0
        try:
            self._join(patient=False)
            self._bury_the_dead()
        except BaseException:
            self._file.close()
            raise

    # What the thread asks

    def wait(self, seconds: float) -> bool:
        """Sleep until `wake`, or until another connection wakes this one; return whether one did."""
        return self._pipe.wait(seconds)

    def wake(self) -> None:
        """End the `wait`; for any thread."""
        wake(self._file.folder, self._id)

    def turn(
        self, publishes: Sequence[Publish], settlements: Sequence[Settlement], *, unfair: bool = False
    ) -> TurnResult | None:
        """Publish, settle and take what may now be taken, in one transaction; None: there was nothing to do.

        It is synced to disk when it holds a persistent message for a queue that outlives its connection; acks
        and takes need not be. `unfair`: take at least one message, even where it is another consumer's turn.
        """
        self.look_again = False
        if not publishes and not settlements and not self._may_take():
            return None

        def run() -> TurnResult:
            turn = Turn(
                self._db,
                connection=self._id,
                held=self._held,
                consumers=self._consumers,
                now=self._now(),
                unfair=unfair,
            )
            return turn.run(publishes, settlements)

        synced = any(message.persistent and self._outlives(message) for message, _, _ in publishes)
        result = self._transact(run, synced=synced)
        for message in result.settled:
            del self._held[message]
        for consumer, count in result.freed.items():
            consumer.held -= count
        for consumer, taken in result.taken:
            consumer.held += len(taken)
            for message in taken:
                self._held[message.id] = consumer
                result.delivered.append((consumer.on_delivery, self._delivery(consumer.queue, message)))
        self._log_dead(result.dead)
        self._wake_or_bury(result.to_wake)
        return result

    def tick(self) -> None:
        """Show that this process lives, look for dead ones, restore what others deleted; once a second."""
        if self._file.is_replaced():  # first: with its folder gone, too, there is nothing to stamp
            # Nobody would find what is put into the old file.
            new = BrokerDatabase(self._path, self._lock_wait)
            self._file.close()
            self._file, self._watch = new, Watch(new.folder)
            self._join_again("the file was replaced")
        self._pipe.stamp(self._monotonic())
        if not self._is_known():
            self._join_again("silent for too long")
        self._bury_the_dead()
        self._restore_consumers()

    def close(self) -> None:
        """Give back what is held, uncounted, take exclusive queues away, and disconnect."""
        gone = False
        try:
            self._end(self._id, counted=False)
            gone = True
        finally:
            self._pipe.close(remove=gone)
            self._file.close()

    # What the broker's methods ask

    def declare(self, queue: Queue) -> None:
        """Make a queue unless it is there; one that differs is used as it is, with one warning."""
        there = queue_rows.find_queue(self._db, queue.name)
        if there is not None and there.owner not in (None, self._id):
            self._wake_or_bury([there.owner])  # if it is dead, its queue goes
        differing = self._transact(
            lambda: queue_rows.declare_queue(self._db, queue, self._id), synced=not queue.exclusive
        )
        self._declared[queue.name] = queue
        if differing and queue.name not in self._differing:
            self._differing.add(queue.name)
            self._log.warning("broker.queue_differs", queue=queue.name, differs=differing)

    def consume(self, consumer: ConsumerState) -> None:
        """Begin to take messages of a queue, from the next turn on."""
        if self._is_single(consumer.queue):  # a dead process's consumer does not count
            self._wake_or_bury(queue_rows.consuming_connections(self._db, consumer.queue))

        def add() -> None:
            self._queue(consumer.queue)
            if not self._add_consumer(consumer):
                raise QueueInUseError(consumer.queue)

        self._transact(add, synced=False)
        self._consumers.append(consumer)
        self.look_again = True

    def cancel(self, consumer: ConsumerState) -> None:
        """Take no more; what is held stays held."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

        def remove() -> set[int]:
            self._db.execute("DELETE FROM consumers WHERE id = ?", (consumer.id,))
            return queue_rows.waiting_connections(self._db, [consumer.queue_id], besides=self._id)

        self._wake_or_bury(self._transact(remove, synced=False))

    def depth(self, name: str) -> QueueDepth | None:
        """Return a queue's depth, or None when there is no such queue."""
        queue = queue_rows.find_queue(self._db, name)
        return None if queue is None else queue_rows.queue_depth(self._db, queue, self._now())

    def get(self, name: str) -> Delivery | None:
        """Take one message, or None when none is ready."""

        def take() -> list[TakenMessage]:
            queue = self._queue(name)
            message_rows.forget_expired(self._db, queue, self._now())
            return message_rows.take_messages(self._db, queue.id, self._id, 1)

        for taken in self._transact(take, synced=False):
            self._held[taken.id] = None
            return self._delivery(name, taken)
        return None

    def look(self, name: str, limit: int | None) -> list[Delivery]:
        """Return the oldest ready messages, which stay there."""
        queue = queue_rows.find_queue(self._db, name)
        if queue is None:
            return []
        return [
            self._delivery(name, found) for found in message_rows.ready_messages(self._db, queue.id, limit)
        ]

    def take(self, name: str, is_wanted: IsWanted) -> list[Delivery]:
        """Take the ready messages that are wanted; they are owed an ack."""
        wanted = [delivery.tag[1] for delivery in self.look(name, None) if is_wanted(delivery)]
        if not wanted:
            return []
        found = self._transact(lambda: message_rows.take_ready(self._db, self._id, wanted), synced=False)
        self._held.update(dict.fromkeys(taken.id for taken in found))
        return [self._delivery(name, taken) for taken in found]

    def purge(self, name: str) -> int:
        """Drop the ready messages of a queue; return how many."""
        return self._transact(lambda: message_rows.drop_ready(self._db, self._queue(name).id), synced=True)

    def delete(self, name: str) -> None:
        """Delete a queue, if there is one."""
        self._declared.pop(name, None)

        def delete() -> None:
            queue = queue_rows.find_queue(self._db, name)
            if queue is not None:
                queue_rows.delete_queue(self._db, queue.id)

        self._transact(delete, synced=True)

    def claim(self, role: str, candidate: str) -> float | None:
        """Claim the leadership of a role; return from when on it is proved, None: another one leads."""

        def claim() -> float | None:
            # Not before the transaction begins: while this one waited for its turn, another may have proved
            # that it leads, and its proof would seem to be of the future.
            now = self._now()
            return now if leadership.claim(self._db, role, self._id, candidate, now) else None

        return self._transact(claim, synced=False)

    def resign(self, role: str, candidate: str) -> None:
        """Leave a role to another candidate."""
        self._transact(lambda: leadership.resign(self._db, role, candidate), synced=False)

    # Queues and consumers of this connection

    @property
    def _db(self) -> sqlite3.Connection:
        return self._file.db

    def _outlives(self, message: Message) -> bool:
        """Return whether a message may come into a queue that does not go with its connection."""
        queue = None if message.exchange else queue_rows.find_queue(self._db, message.routing_key)
        return queue is None or queue.owner is None

    def _may_take(self) -> bool:
        """Look, without a lock, whether a queue has something for a consumer with room."""
        for consumer in self._consumers:
            if consumer.held < consumer.prefetch_count:
                queue = queue_rows.queue_by_id(self._db, consumer.queue_id)
                if queue is not None and queue.ready > 0:
                    return True
        return False

    def _delivery(self, queue: str, taken: TakenMessage) -> Delivery:
        return Delivery(
            body=taken.body,
            queue=queue,
            attempt=taken.failed_attempts + 1,
            tag=(self._id, taken.id),
            message_id=taken.message_id,
            reply_to=taken.reply_to,
            headers=json.loads(taken.headers) if taken.headers else {},
        )

    def _queue(self, name: str) -> QueueRow:
        """Return a queue that this connection may use."""
        queue = queue_rows.find_queue(self._db, name)
        if queue is None:
            raise BrokerError(f"there is no queue {name}")
        if queue.owner not in (None, self._id):
            raise BrokerError(f"queue {name} is exclusive to another connection")
        return queue

    def _is_single(self, name: str) -> bool:
        queue = self._declared.get(name)
        return queue is not None and queue.single_consumer

    def _add_consumer(self, consumer: ConsumerState) -> bool:
        """Add a consumer to its queue; return whether the queue is there and admits it."""
        consumer.queue_id = 0
        if self._is_single(consumer.queue) and queue_rows.consuming_connections(self._db, consumer.queue):
            return False
        queue = queue_rows.find_queue(self._db, consumer.queue)
        if queue is not None:
            consumer.queue_id = queue.id
            consumer.id = queue_rows.add_consumer(self._db, queue.id, self._id, consumer.prefetch_count)
        return queue is not None

    def _declare_again(self) -> None:
        for queue in self._declared.values():
            try:
                queue_rows.declare_queue(self._db, queue, self._id)
            except QueueMismatchError as error:
                self._log.error("broker.queue_lost", queue=queue.name, error=error)

    def _restore_consumers(self) -> None:
        """Consume again from queues that someone deleted; those declared here are made again."""
        broken = [
            consumer
            for consumer in self._consumers
            if queue_rows.queue_by_id(self._db, consumer.queue_id) is None
        ]
        if not broken:
            return

        def restore() -> list[ConsumerState]:
            self._declare_again()
            return [consumer for consumer in broken if self._add_consumer(consumer)]

        for consumer in self._transact(restore, synced=False):
            self._log.warning("broker.consumer_restored", queue=consumer.queue)

    # This connection among the others

    def _transact(self, work: Callable[[], T], *, synced: bool) -> T:
        """Run `work` in a transaction, as a connection that the others know."""

        def as_connection() -> T:
            if not self._is_known():
                # Never take a message for a connection that nobody would miss: it would be held for ever.
                raise _ForgottenError
            return work()

        while True:
            try:
                return self._file.transact(as_connection, synced=synced, pause=self._pause)
            except _ForgottenError:
                self._join_again("silent for too long")

    def _pause(self) -> bool:
        """Wait a little for the disk, alive to the others; return whether to go on."""
        self._pipe.stamp(self._monotonic())
        return not self._leaving.wait(RETRY_SECONDS)

    def _is_known(self) -> bool:
        return self._db.execute("SELECT 1 FROM connections WHERE id = ?", (self._id,)).fetchone() is not None

    def _join(self, *, patient: bool) -> None:
        """Take a place under a new id, with the queues and consumers of the old one.

        `patient`: wait for a disk that refuses.
        """
        self._id = secrets.randbits(62)
        self._pipe = WakeupPipe(self._file.folder, self._id, self._monotonic())

        def enter() -> None:
            self._db.execute(
                "INSERT INTO connections (id, name, pid) VALUES (?, ?, ?)",
                (self._id, self._name, os.getpid()),
            )
            self._declare_again()
            for consumer in self._consumers:
                self._add_consumer(consumer)

        try:
            self._file.transact(enter, synced=False, pause=self._pause if patient else None)
        except BaseException:
            self._pipe.close()
            raise
        self._held.clear()  # it went back
        for consumer in self._consumers:
            consumer.held = 0
        self.look_again = True

    def _join_again(self, reason: str) -> None:
        old = self._pipe
        self._join(patient=True)
        old.close()
        self._log.warning("broker.reconnected", reason=reason)

    def _bury_the_dead(self) -> None:
        """Put back what dead connections held, counted as an attempt."""
        rows = self._db.execute("SELECT id FROM connections WHERE id <> ?", (self._id,)).fetchall()
        for number in self._watch.dead([number for (number,) in rows], self._monotonic()):
            self._end(number, counted=True)

    def _wake_or_bury(self, connections: Iterable[int]) -> None:
        for connection in connections:
            if not wake(self._file.folder, connection):
                self._end(connection, counted=True)

    def _end(self, number: int, *, counted: bool) -> None:
        """Remove a connection, this or a dead one, and its exclusive queues; what it held goes back."""

        def end() -> tuple[set[int], list[DeadMessage]]:
            held = message_rows.held_messages(self._db, number)
            fuller, dead = message_rows.give_back(self._db, number, held, counted=counted)
            queue_rows.delete_connection(self._db, number)
            return queue_rows.waiting_connections(self._db, fuller, besides=self._id), dead

        to_wake, dead = self._file.transact(end, synced=False, pause=self._pause)
        if number != self._id:
            (self._file.folder / str(number)).unlink(missing_ok=True)
            self._log.warning("broker.connection_died", died=number)
        self._log_dead(dead)
        self._wake_or_bury(to_wake)

    def _log_dead(self, dead: Iterable[DeadMessage]) -> None:
        for message in dead:
            self._log.warning(
                "broker.dead_lettered",
                queue=message.queue,
                dead_letter_queue=message.dead_letter_queue,
                message_id=message.message_id,
            )
