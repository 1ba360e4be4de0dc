"""The embedded broker: one SQLite file shared by many processes, safe against power cuts and `kill -9`.

What comes in: a path, then the calls of `broker.protocol.Broker`. What goes out: messages, each confirmed
only after a commit that synced it to disk. The work is done by parts that each know less than the one
before:

    sqlite.py           the protocol, on the asyncio loop
    sqlite/thread.py    the thread that waits for the disk
    sqlite/connection.py   one connection: what it declared, consumes and holds
    sqlite/transaction.py  one turn of it: settle, publish, take
    sqlite/presence.py, sqlite/wakeup.py    how connections wake each other and see each other die
    sqlite/queue_rows.py, sqlite/message_rows.py        the SQL
    sqlite/database.py, sqlite/schema.py            transactions, tables
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upswell.broker.sqlite.message_rows import encode_headers
from upswell.broker.sqlite.thread import SessionThread
from upswell.broker.sqlite.transaction import ConsumerState
from upswell.errors import BrokerError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from upswell.broker.protocol import Delivery, Message, OnDelivery, QueueDepth
    from upswell.broker.sqlite.connection import TurnResult
    from upswell.broker.topology import Queue

CLOSE_SECONDS = 5.0
"""How long `close` waits for a disk that refuses to write."""


class SqliteConsumer:
    """A running subscription."""

    def __init__(self, thread: SessionThread, subscription: ConsumerState) -> None:
        self._thread = thread
        self._subscription = subscription

    async def cancel(self) -> None:
        """Take no more deliveries; those already held stay with their holder."""
        await self._thread.call(lambda session: session.unsubscribe(self._subscription))


class SqliteBroker:
    """`broker.protocol.Broker` on a file; see there for what each method promises."""

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path
        self._name = name
        self._open_thread: SessionThread | None = None

    async def connect(self) -> None:
        """Open the file, made where it is missing.

        Raises:
            BrokerError: it, or its folder, cannot serve; the message names it and says what to do.
        """
        loop = asyncio.get_running_loop()
        thread = SessionThread(self._path, self._name, loop=loop, on_outcome=self._on_outcome)
        await thread.start()
        self._open_thread = thread

    async def close(self) -> None:
        """Wait shortly for outstanding confirms and acks, give back what is held, and disconnect."""
        thread, self._open_thread = self._open_thread, None
        if thread is not None:
            await thread.stop(CLOSE_SECONDS)

    async def declare(self, queue: Queue) -> None:
        """Make a queue unless it is there.

        Raises:
            QueueMismatchError: another connection's exclusive queue has the name, or a lasting one where an
            exclusive is wanted.
        """
        await self._thread.call(lambda session: session.declare(queue))

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Send a message; the future is done once it is on disk, or at once with `persistent=False`."""
        thread = self._thread
        headers = encode_headers(message.headers)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if message.persistent:
            thread.publish((message, headers, future))
        else:
            thread.publish((message, headers, None))
            future.set_result(None)
        return future

    async def consume(self, queue: str, on_delivery: OnDelivery, *, prefetch_count: int) -> SqliteConsumer:
        """Call `on_delivery` with each message, at most `prefetch_count` unacknowledged at a time."""
        thread = self._thread
        subscription = ConsumerState(queue, on_delivery, prefetch_count)
        await thread.call(lambda session: session.subscribe(subscription))
        return SqliteConsumer(thread, subscription)

    def ack(self, delivery: Delivery) -> None:
        """Remove a delivered message, for good."""
        self._settle("ack", delivery)

    def retry(self, delivery: Delivery) -> None:
        """Put a message back, counted as one more attempt."""
        self._settle("retry", delivery)

    def release(self, delivery: Delivery) -> None:
        """Put a message back, not counted."""
        self._settle("release", delivery)

    async def depth(self, queue: str) -> QueueDepth | None:
        """Return a queue's depth, or None when there is no such queue."""
        return await self._thread.call(lambda session: session.depth(queue))

    async def get(self, queue: str) -> Delivery | None:
        """Take one message, or None when none is ready."""
        return await self._thread.call(lambda session: session.get(queue))

    async def purge(self, queue: str) -> int:
        """Drop all ready messages; return how many."""
        return await self._thread.call(lambda session: session.purge(queue))

    async def delete(self, queue: str) -> None:
        """Delete a queue with what is in it."""
        await self._thread.call(lambda session: session.delete(queue))

    @property
    def _thread(self) -> SessionThread:
        if self._open_thread is None:
            raise BrokerError(f"a broker must be connected to be used, got a closed one: {self._path}")
        return self._open_thread

    def _settle(self, kind: Literal["ack", "retry", "release"], delivery: Delivery) -> None:
        # Closed: what was held went back already.
        if self._open_thread is not None:
            self._open_thread.settle((kind, delivery.tag))

    def _on_outcome(self, outcome: TurnResult) -> None:
        for future in outcome.confirmed:
            if not future.done():
                future.set_result(None)
        for future, error in outcome.refused:
            if not future.done():
                future.set_exception(error)
        for on_delivery, delivery in outcome.delivered:
            try:
                on_delivery(delivery)
            except Exception as error:  # noqa: BLE001 - one consumer's fault must not keep deliveries from others
                context = {"message": f"on_delivery of {delivery.queue} failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
