"""The embedded broker: one SQLite file shared by many processes, safe against power cuts and `kill -9`.

Each layer knows less than the one before:

    broker.py       the protocol on the asyncio loop, and the thread that waits for the disk
    connection.py   what one process declared, consumes and holds, among the others
    transaction.py  one turn of it: settle, publish, take
    queue_rows.py, message_rows.py   the SQL
    database.py, schema.py           transactions, tables
    lock_holder.py  which process holds them all up
    wakeup.py       how connections wake each other and notice that one died

The loop collects publishes, settlements and calls; the thread runs them, and hands results back in order. All
that came in while the thread was busy shares one transaction, and so one sync to disk.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from upswell import events
from upswell.broker.sqlite.connection import SqliteConnection
from upswell.broker.sqlite.database import LockWait, lock_folder
from upswell.broker.sqlite.leadership import RowLeadership
from upswell.broker.sqlite.lock_holder import lock_holder
from upswell.broker.sqlite.message_rows import encode_headers
from upswell.broker.sqlite.schema import file_error
from upswell.broker.sqlite.transaction import ConsumerState, TurnResult
from upswell.errors import BrokerError, UpswellError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from upswell.broker.protocol import Delivery, Handle, IsWanted, Message, OnDelivery, QueueDepth
    from upswell.broker.sqlite.transaction import Publish, Settlement
    from upswell.broker.topology import Queue

T = TypeVar("T")

CLOSE_SECONDS = 5.0
"""How long `close` waits for a disk that refuses to write."""

GRACE_SECONDS = 5.0
"""How long the thread may take to end once it waits for the disk no longer."""

HELD_UP_SECONDS = 5.0
"""A lock that another process holds for longer is said: it is a thousand times what a transaction takes."""

TICK_SECONDS = 1.0
"""How often a connection shows that it lives, and looks for dead ones and for messages nobody woke it for."""

_jitter = random.Random()  # noqa: S311 - not a secret; one of our own, for the process's may be seeded by its owner


class SqliteConsumer:
    """A running subscription."""

    def __init__(self, broker: SqliteBroker, state: ConsumerState) -> None:
        self._broker = broker
        self._state = state

    async def cancel(self) -> None:
        """Take no more deliveries; those already held stay with their holder."""
        await self._broker.call(lambda connection: connection.cancel(self._state))


class SqliteBroker:
    """`broker.protocol.Broker` on a file; see there for what each method promises."""

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path
        self._name = name
        self._log = events.get_logger(broker=str(path), connection=name)
        self._publishes: deque[Publish] = deque()
        self._settlements: deque[Settlement] = deque()
        self._calls: deque[tuple[Callable[[SqliteConnection], Any], asyncio.Future[Any]]] = deque()
        self._is_open = False
        self._closing = False
        self._leaving = threading.Event()
        self._lock_wait = LockWait()
        self._wake: Callable[[], None] | None = None
        self._wake_is_due = False
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]

    async def connect(self) -> None:
        """Open the file, made where it is missing; once.

        Raises:
            BrokerError: it, or its folder, cannot serve; the message names it and says what to do.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._loop.call_later(TICK_SECONDS, self._look_for_a_holder, None)
        # A daemon: a process may end without closing, and the others find out.
        threading.Thread(
            target=self._run, args=(opened,), name=f"upswell broker {self._name}", daemon=True
        ).start()
        try:
            await opened
        except BaseException:  # the file cannot serve, or whoever asked has given up
            self._closing = True
            self._leaving.set()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Wait shortly for outstanding confirms and acks, give back what is held, and disconnect."""
        if not self._is_open:
            return
        give_up_at = self._loop.time() + CLOSE_SECONDS
        confirms = asyncio.gather(self.call(lambda _connection: None), return_exceptions=True)
        self._is_open = False
        try:  # the acks that wait for these confirms are still taken
            await asyncio.wait([confirms], timeout=CLOSE_SECONDS)
        finally:
            self._closing = True
            self._wake_now()
        await asyncio.wait([self._ended], timeout=give_up_at - self._loop.time())
        self._leaving.set()
        await asyncio.wait([self._ended], timeout=GRACE_SECONDS)
        if not self._ended.done():
            # Probably behind a process that hangs within a transaction. It ends with this process.
            self._log.error("broker.failed", error="the disk or another process holds it up")

    async def declare(self, queue: Queue) -> None:
        """Make a queue unless it is there."""
        await self.call(lambda connection: connection.declare(queue))

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Send a message; the future is done once it is on disk, or at once with `persistent=False`."""
        self._check_open()
        headers = encode_headers(message.headers)
        future: asyncio.Future[None] = self._loop.create_future()
        self._publishes.append((message, headers, future if message.persistent else None))
        if not message.persistent:
            future.set_result(None)
        self._wake_soon()
        return future

    async def consume(
        self,
        queue: str,
        on_delivery: OnDelivery,
        *,
        prefetch_count: int,
        priority: int = 0,  # noqa: ARG002 - a connection takes messages itself, so one that hangs takes none
    ) -> SqliteConsumer:
        """Call `on_delivery` with each message, at most `prefetch_count` unacknowledged at a time."""
        state = ConsumerState(queue, on_delivery, prefetch_count)
        await self.call(lambda connection: connection.consume(state))
        return SqliteConsumer(self, state)

    def ack(self, delivery: Delivery) -> None:
        """Remove a delivered message, for good."""
        self._settle(("ack", delivery.tag))

    def retry(self, delivery: Delivery) -> None:
        """Put a message back, counted as one more attempt."""
        self._settle(("retry", delivery.tag))

    def release(self, delivery: Delivery) -> None:
        """Put a message back, not counted."""
        self._settle(("release", delivery.tag))

    async def depth(self, queue: str, *, in_flight: bool = True) -> QueueDepth | None:  # noqa: ARG002 - always known
        """Return a queue's depth, or None when there is no such queue."""
        return await self.call(lambda connection: connection.depth(queue))

    async def get(self, queue: str) -> Delivery | None:
        """Take one message, or None when none is ready."""
        return await self.call(lambda connection: connection.get(queue))

    async def look(self, queue: str, limit: int | None = None) -> list[Delivery]:
        """Return the oldest ready messages, which stay as and where they are."""
        return await self.call(lambda connection: connection.look(queue, limit))

    async def sift(self, queue: str, is_wanted: IsWanted, handle: Handle | None = None) -> int:
        """Remove the ready messages that are wanted, each once it is handled; return how many."""
        held = await self.call(lambda connection: connection.take(queue, is_wanted))
        count = 0
        try:
            for delivery in held:
                if handle is not None:
                    await handle(delivery)
                self.ack(delivery)
                count += 1
        finally:
            for delivery in held[count:]:
                self.release(delivery)
        return count

    async def purge(self, queue: str) -> int:
        """Drop all ready messages; return how many."""
        return await self.call(lambda connection: connection.purge(queue))

    async def delete(self, queue: str) -> None:
        """Delete a queue with what is in it."""
        await self.call(lambda connection: connection.delete(queue))

    async def lead(self, role: str) -> RowLeadership:
        """Stand for the leadership of a role, in a row of the file."""
        self._check_open()
        leadership = RowLeadership(self, role, f"{self._name}-{secrets.token_hex(4)}")
        await leadership.start()
        return leadership

    def call(self, function: Callable[[SqliteConnection], T]) -> asyncio.Future[T]:
        """Run a function in the thread, after all that was published and settled before."""
        self._check_open()
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.append((function, future))
        self._wake_soon()
        return future

    def _check_open(self) -> None:
        if not self._is_open:
            raise BrokerError("the broker is closed")

    def _settle(self, settlement: Settlement) -> None:
        if not self._closing:  # closed: what was held went back already
            self._settlements.append(settlement)
            self._wake_soon()

    def _wake_soon(self) -> None:
        """Wake the thread once at the end of this loop turn, so that the turn goes into one transaction."""
        if not self._wake_is_due:
            self._wake_is_due = True
            self._loop.call_soon(self._wake_now)

    def _wake_now(self) -> None:
        self._wake_is_due = False
        if self._ended.done():
            self._fail_the_rest()
        elif self._wake is not None:
            self._wake()

    def _on_result(self, result: TurnResult) -> None:
        for future in result.confirmed:
            _fulfil(future, None)
        for future, error in result.refused:
            _fail(future, error)
        for on_delivery, delivery in result.delivered:
            try:
                on_delivery(delivery)
            except Exception as error:  # noqa: BLE001 - one consumer's fault must not keep deliveries from others
                context = {"message": f"on_delivery of {delivery.queue} failed", "exception": error}
                self._loop.call_exception_handler(context)

    def _look_for_a_holder(self, said: float | None) -> None:
        """Say who holds the file up, once a wait; `said`: the wait that was said last."""
        if self._leaving.is_set() or self._ended.done():
            return
        since = self._lock_wait.since
        if since not in (None, said) and time.monotonic() - since >= HELD_UP_SECONDS:
            holder = lock_holder(lock_folder(self._path))
            self._log.error(
                "broker.held_up", holder=holder or "not seen from here, perhaps outside this container"
            )
            said = since
        self._loop.call_later(TICK_SECONDS, self._look_for_a_holder, said)

    def _on_ended(self) -> None:
        _fulfil(self._ended, None)
        self._fail_the_rest()

    def _fail_the_rest(self) -> None:
        """Fail what came after the last turn."""
        futures: list[Any] = [future for _, _, future in _drain(self._publishes) if future is not None]
        for future in [*futures, *(future for _, future in _drain(self._calls))]:
            _fail(future, BrokerError("the broker is closed"))

    # From here on: in the thread

    def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = SqliteConnection(
                self._path, self._name, leaving=self._leaving, lock_wait=self._lock_wait
            )
        except Exception as error:  # noqa: BLE001 - whoever connects gets it, whatever it is
            self._post(_fail, opened, self._as_broker_error(error))
            return
        self._wake = connection.wake
        self._post(_fulfil, opened, None)
        try:
            self._serve(connection)
            connection.close()
        except Exception as error:  # noqa: BLE001 - the loop must learn that the thread ended
            self._log.error("broker.failed", error=error)
        self._post(self._on_ended)

    def _serve(self, connection: SqliteConnection) -> None:
        """Sleep, work, and so on, until closing and nothing is left."""
        next_tick = 0.0
        while True:
            hurried = connection.look_again or self._closing
            connection.wait(0.0 if hurried else next_tick - time.monotonic())
            closing = self._closing
            calls = _drain(self._calls)  # first: what was published before a call is then there too
            publishes, settlements = _drain(self._publishes), _drain(self._settlements)
            due = time.monotonic() >= next_tick
            if due:
                # Jittered: many processes must not all look at the same moment.
                next_tick = time.monotonic() + TICK_SECONDS * _jitter.uniform(0.8, 1.2)
                try:
                    connection.tick()
                except (sqlite3.Error, OSError, UpswellError) as error:
                    self._log.error("broker.failed", error=error)
            self._turn(connection, publishes, settlements, unfair=due)
            for function, future in calls:
                try:
                    self._post(_fulfil, future, function(connection))
                except Exception as error:  # noqa: BLE001 - whoever asked gets it, whatever it is
                    self._post(_fail, future, self._as_broker_error(error))
            if closing and not (publishes or settlements or calls):
                return

    def _turn(
        self,
        connection: SqliteConnection,
        publishes: list[Publish],
        settlements: list[Settlement],
        *,
        unfair: bool,
    ) -> None:
        try:
            result = connection.turn(publishes, settlements, unfair=unfair)
        except Exception as error:  # noqa: BLE001 - every publisher must learn that its message is not safe
            self._log.error("broker.failed", error=error)
            failure = self._as_broker_error(error)
            result = TurnResult()
            result.refused = [(future, failure) for _, _, future in publishes if future is not None]
        if result is not None:
            self._post(self._on_result, result)

    def _as_broker_error(self, error: Exception) -> Exception:
        return file_error(self._path, error) if isinstance(error, sqlite3.Error | OSError) else error

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: nobody is left to work for
            self._closing = True
            self._leaving.set()


def _drain(items: deque[T]) -> list[T]:
    """Take out what is there now; the other thread may append meanwhile."""
    return [items.popleft() for _ in range(len(items))]


def _fulfil(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
