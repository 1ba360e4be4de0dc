"""The embedded broker: one SQLite file shared by many processes, safe against power cuts and `kill -9`.

Each layer knows less than the one before:

    broker.py       the protocol, on the asyncio loop
    thread.py       the thread that waits for the disk
    connection.py   what one process declared, consumes and holds, among the others
    transaction.py  one turn of it: settle, publish, take
    queue_rows.py, message_rows.py   the SQL
    database.py, schema.py           transactions, tables
    wakeup.py       how connections wake each other and notice that one died
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upswell.broker.sqlite.message_rows import encode_headers
from upswell.broker.sqlite.thread import SqliteThread
from upswell.broker.sqlite.transaction import ConsumerState
from upswell.errors import BrokerError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from upswell.broker.protocol import Delivery, Message, OnDelivery, QueueDepth
    from upswell.broker.sqlite.transaction import TurnResult
    from upswell.broker.topology import Queue

CLOSE_SECONDS = 5.0
"""How long `close` waits for a disk that refuses to write."""


class SqliteConsumer:
    """A running subscription."""

    def __init__(self, thread: SqliteThread, state: ConsumerState) -> None:
        self._thread = thread
        self._state = state

    async def cancel(self) -> None:
        """Take no more deliveries; those already held stay with their holder."""
        await self._thread.call(lambda connection: connection.cancel(self._state))


class SqliteBroker:
    """`broker.protocol.Broker` on a file; see there for what each method promises."""

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path
        self._name = name
        self._open_thread: SqliteThread | None = None

    async def connect(self) -> None:
        """Open the file, made where it is missing.

        Raises:
            BrokerError: it, or its folder, cannot serve; the message names it and says what to do.
        """
        loop = asyncio.get_running_loop()
        thread = SqliteThread(self._path, self._name, loop=loop, on_result=self._on_result)
        await thread.start()
        self._open_thread = thread

    async def close(self) -> None:
        """Wait shortly for outstanding confirms and acks, give back what is held, and disconnect."""
        thread, self._open_thread = self._open_thread, None
        if thread is not None:
            await thread.stop(CLOSE_SECONDS)

    async def declare(self, queue: Queue) -> None:
        """Make a queue unless it is there."""
        await self._thread.call(lambda connection: connection.declare(queue))

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Send a message; the future is done once it is on disk, or at once with `persistent=False`."""
        thread = self._thread
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        thread.publish((message, encode_headers(message.headers), future if message.persistent else None))
        if not message.persistent:
            future.set_result(None)
        return future

    async def consume(self, queue: str, on_delivery: OnDelivery, *, prefetch_count: int) -> SqliteConsumer:
        """Call `on_delivery` with each message, at most `prefetch_count` unacknowledged at a time."""
        thread, state = self._thread, ConsumerState(queue, on_delivery, prefetch_count)
        await thread.call(lambda connection: connection.consume(state))
        return SqliteConsumer(thread, state)

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
        return await self._thread.call(lambda connection: connection.depth(queue))

    async def get(self, queue: str) -> Delivery | None:
        """Take one message, or None when none is ready."""
        return await self._thread.call(lambda connection: connection.get(queue))

    async def purge(self, queue: str) -> int:
        """Drop all ready messages; return how many."""
        return await self._thread.call(lambda connection: connection.purge(queue))

    async def delete(self, queue: str) -> None:
        """Delete a queue with what is in it."""
        await self._thread.call(lambda connection: connection.delete(queue))

    @property
    def _thread(self) -> SqliteThread:
        if self._open_thread is None:
            raise BrokerError("the broker is closed")
        return self._open_thread

    def _settle(self, kind: Literal["ack", "retry", "release"], delivery: Delivery) -> None:
        # Closed: what was held went back already.
        if self._open_thread is not None:
            self._open_thread.settle((kind, delivery.tag))

    def _on_result(self, result: TurnResult) -> None:
        for future in result.confirmed:
            if not future.done():
                future.set_result(None)
        for future, error in result.refused:
            if not future.done():
                future.set_exception(error)
        for on_delivery, delivery in result.delivered:
            try:
                on_delivery(delivery)
            except Exception as error:  # noqa: BLE001 - one consumer's fault must not keep deliveries from others
                context = {"message": f"on_delivery of {delivery.queue} failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
