"""The thread that works on the embedded broker's file: the event loop never waits for a disk or a lock.

The loop hands over publishes, settlements and calls; results go back to the loop in order. All that came in
while the thread was busy shares one transaction, and so one sync to disk.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from upswell import events
from upswell.broker.sqlite.connection import SqliteConnection
from upswell.broker.sqlite.schema import file_error
from upswell.broker.sqlite.transaction import TurnResult
from upswell.errors import BrokerError, UpswellError

if TYPE_CHECKING:
    from pathlib import Path

    from upswell.broker.sqlite.transaction import Publish, Settlement

T = TypeVar("T")

TICK_SECONDS = 1.0
"""How often a connection shows that it lives, and looks for dead ones and for messages nobody woke it for."""

GRACE_SECONDS = 5.0
"""How long the thread may take to end once it waits for the disk no longer."""

_jitter = random.Random()  # noqa: S311 - not a secret; one of our own, for the process's may be seeded by its owner

FileCall = tuple[Callable[[SqliteConnection], Any], "asyncio.Future[Any]"]


def drain(items: deque[T]) -> list[T]:
    """Take out what is there now; others may append meanwhile."""
    return [items.popleft() for _ in range(len(items))]


class SqliteThread:
    """Runs one `SqliteConnection`; its public methods are called from the loop."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        loop: asyncio.AbstractEventLoop,
        on_result: Callable[[TurnResult], None],
    ) -> None:
        self._path = path
        self._name = name
        self._loop = loop
        self._on_result = on_result
        self._publishes: deque[Publish] = deque()
        self._settlements: deque[Settlement] = deque()
        self._calls: deque[FileCall] = deque()
        self._closing = False
        self._leaving = threading.Event()
        self._wake_is_due = False
        self._wake: Callable[[], None] = lambda: None
        self._log = events.get_logger(broker=str(path), connection=name)
        self._opened: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        # A daemon: a process may end without closing, and the others find out.
        self._thread = threading.Thread(target=self._run, name=f"upswell broker {name}", daemon=True)

    async def start(self) -> None:
        """Open the file; raises what `SqliteConnection` raises."""
        self._thread.start()
        await self._opened

    async def stop(self, patience: float) -> None:
        """Finish what was asked, wait at most `patience` seconds for the disk, and disconnect."""
        self._closing = True
        self._wake()
        await asyncio.wait([self._ended], timeout=patience)
        self._leaving.set()
        await asyncio.wait([self._ended], timeout=GRACE_SECONDS)
        if self._ended.done():
            self._thread.join()
        else:
            # Probably behind a process that hangs within a transaction. It ends with this process.
            error = f"the disk or another process held it up for {2 * patience} s"
            self._log.error("broker.failed", error=error)

    def publish(self, publish: Publish) -> None:
        """Publish with the rest of this loop turn."""
        self._publishes.append(publish)
        self._wake_soon()

    def settle(self, settlement: Settlement) -> None:
        """Settle with the rest of this loop turn."""
        self._settlements.append(settlement)
        self._wake_soon()

    def call(self, function: Callable[[SqliteConnection], Any]) -> asyncio.Future[Any]:
        """Run a function in the thread, after all that was published and settled before."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls.append((function, future))
        self._wake_soon()
        return future

    def _wake_soon(self) -> None:
        """Wake the thread once at the end of this loop turn, so that the turn goes into one transaction."""
        if not self._wake_is_due:
            self._wake_is_due = True
            self._loop.call_soon(self._wake_now)

    def _wake_now(self) -> None:
        self._wake_is_due = False
        if self._ended.done():
            self._fail_the_rest()
        else:
            self._wake()

    def _run(self) -> None:
        try:
            connection = SqliteConnection(self._path, self._name, leaving=self._leaving)
        except Exception as error:  # noqa: BLE001 - whoever connects gets it, whatever it is
            self._post(_fail, self._opened, self._as_broker_error(error))
            return
        self._wake = connection.wake
        self._post(_fulfil, self._opened, None)
        try:
            self._serve(connection)
            connection.close()
        except Exception as error:  # noqa: BLE001 - the loop must learn that the thread ended
            self._log.error("broker.failed", error=error)
        self._post(self._end)

    def _serve(self, connection: SqliteConnection) -> None:
        """Sleep, work, and so on, until closing and nothing is left."""
        next_tick = 0.0
        while True:
            hurried = connection.look_again or self._closing
            connection.wait(0.0 if hurried else next_tick - time.monotonic())
            closing = self._closing
            calls = drain(self._calls)  # first: what was published before a call is then there too
            publishes, settlements = drain(self._publishes), drain(self._settlements)
            due = time.monotonic() >= next_tick
            if due:
                # Jittered: many processes must not all look at the same moment.
                next_tick = time.monotonic() + TICK_SECONDS * _jitter.uniform(0.8, 1.2)
                self._tick(connection)
            self._turn(connection, publishes, settlements, unfair=due)
            for function, future in calls:
                try:
                    result = function(connection)
                except Exception as error:  # noqa: BLE001 - whoever asked gets it, whatever it is
                    self._post(_fail, future, self._as_broker_error(error))
                else:
                    self._post(_fulfil, future, result)
            if closing and not (publishes or settlements or calls):
                return

    def _tick(self, connection: SqliteConnection) -> None:
        try:
            connection.tick()
        except (sqlite3.Error, OSError, UpswellError) as error:
            self._log.error("broker.failed", error=error)

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

    def _end(self) -> None:
        _fulfil(self._ended, None)
        self._fail_the_rest()

    def _fail_the_rest(self) -> None:
        """Fail what came after the last turn."""
        self._settlements.clear()
        futures = [*(future for _, _, future in drain(self._publishes))]
        futures += [future for _, future in drain(self._calls)]
        for future in futures:
            if future is not None:
                _fail(future, BrokerError("the broker is closed"))


def _fulfil(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
