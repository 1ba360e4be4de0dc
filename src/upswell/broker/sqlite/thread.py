"""The thread that works on the embedded broker's file, so that the loop never waits for a disk or a lock.

What comes in, from the loop: publishes, settlements and calls, collected while the thread is busy. What
goes out, to the loop: outcomes and answers, in order. All that came in meanwhile shares one transaction,
and so one sync to disk.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from upswell import events
from upswell.broker.sqlite.connection import Session, TurnResult
from upswell.broker.sqlite.schema import file_error
from upswell.errors import BrokerError, UpswellError

if TYPE_CHECKING:
    from pathlib import Path

    from upswell.broker.sqlite.transaction import Publish, Settlement

TICK_SECONDS = 1.0
"""How often a connection shows that it lives, looks for dead ones, and for messages whose ring was lost."""

GRACE_SECONDS = 5.0
"""How long the thread may take to end once it waits for the disk no longer."""

_jitter = random.Random()  # noqa: S311 - not a secret; one of our own, for the process's may be seeded by its owner

Call = tuple[Callable[[Session], Any], "asyncio.Future[Any]"]


class SessionThread:
    """Runs one `Session`; its public methods are called from the loop."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        loop: asyncio.AbstractEventLoop,
        on_outcome: Callable[[TurnResult], None],
    ) -> None:
        self._path = path
        self._name = name
        self._loop = loop
        self._on_outcome = on_outcome
        self._lock = threading.Lock()
        self._publishes: list[Publish] = []
        self._settlements: list[Settlement] = []
        self._calls: list[Call] = []
        self._closing = False
        self._leaving = threading.Event()
        self._poke_is_due = False
        self._poke: Callable[[], None] = lambda: None
        self._log = events.get_logger(broker=str(path), connection=name)
        self._opened: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        # A daemon: a process may end without closing, and the others find out.
        self._thread = threading.Thread(target=self._run, name=f"upswell broker {name}", daemon=True)

    async def start(self) -> None:
        """Open the file; raises what `Session` raises."""
        self._thread.start()
        await self._opened

    async def stop(self, patience: float) -> None:
        """Finish what was asked, wait at most `patience` seconds for the disk, and disconnect."""
        self._closing = True
        self._poke()
        await asyncio.wait([self._ended], timeout=patience)
        self._leaving.set()
        await asyncio.wait([self._ended], timeout=GRACE_SECONDS)
        if self._ended.done():
            self._thread.join()
        else:
            # Say behind a process that hangs within a transaction. It ends with this process.
            self._log.error(
                "broker.failed", error=f"the disk or another process held it up for {2 * patience} s"
            )

    def publish(self, publish: Publish) -> None:
        """Publish with the rest of this loop turn."""
        with self._lock:
            self._publishes.append(publish)
        self._poke_soon()

    def settle(self, settlement: Settlement) -> None:
        """Settle with the rest of this loop turn."""
        with self._lock:
            self._settlements.append(settlement)
        self._poke_soon()

    def call(self, function: Callable[[Session], Any]) -> asyncio.Future[Any]:
        """Run a function in the thread, after all that was published and settled before."""
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._lock:
            self._calls.append((function, future))
        self._poke_soon()
        return future

    def _poke_soon(self) -> None:
        """Poke once at the end of this loop turn, so that the turn goes into one transaction."""
        if not self._poke_is_due:
            self._poke_is_due = True
            self._loop.call_soon(self._poke_now)

    def _poke_now(self) -> None:
        self._poke_is_due = False
        if not self._ended.done():
            self._poke()

    def _run(self) -> None:
        try:
            session = Session(self._path, self._name, leaving=self._leaving)
        except Exception as error:  # noqa: BLE001 - whoever connects gets it, whatever it is
            self._post(_fail, self._opened, self._as_broker_error(error))
            return
        self._poke = session.poke
        self._post(_fulfil, self._opened, None)
        try:
            self._serve(session)
            session.close()
        except Exception as error:  # noqa: BLE001 - the loop must learn that the thread ended
            self._log.error("broker.failed", error=error)
        self._post(self._end)

    def _serve(self, session: Session) -> None:
        """Sleep, work, and so on, until closing and nothing is left."""
        next_tick = 0.0
        while True:
            hurried = session.look_again or self._closing
            patience = 0.0 if hurried else next_tick - time.monotonic()
            rung = session.wait(patience)
            closing = self._closing
            publishes, settlements, calls = self._take_all()
            due = time.monotonic() >= next_tick
            if due:
                # Jittered: many processes must not all look at the same moment.
                next_tick = time.monotonic() + TICK_SECONDS * _jitter.uniform(0.8, 1.2)
                self._tick(session)
            if publishes or settlements or rung or due or session.look_again:
                self._exchange(session, publishes, settlements, unfair=due)
            for call in calls:
                self._answer(session, call)
            if closing and not (publishes or settlements or calls):
                return

    def _take_all(self) -> tuple[list[Publish], list[Settlement], list[Call]]:
        with self._lock:
            taken = self._publishes, self._settlements, self._calls
            self._publishes, self._settlements, self._calls = [], [], []
        return taken

    def _tick(self, session: Session) -> None:
        try:
            session.tick()
        except (sqlite3.Error, OSError, UpswellError) as error:
            self._log.error("broker.failed", error=error)

    def _exchange(
        self, session: Session, publishes: list[Publish], settlements: list[Settlement], *, unfair: bool
    ) -> None:
        try:
            outcome = session.exchange(publishes, settlements, unfair=unfair)
        except Exception as error:  # noqa: BLE001 - every publisher must learn that its message is not safe
            failure = self._as_broker_error(error)
            self._log.error("broker.failed", error=error)
            outcome = TurnResult(
                [], [(future, failure) for _, _, future in publishes if future is not None], []
            )
        if outcome is not None:
            self._post(self._on_outcome, outcome)

    def _answer(self, session: Session, call: Call) -> None:
        function, future = call
        try:
            result = function(session)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it, whatever it is
            self._post(_fail, future, self._as_broker_error(error))
        else:
            self._post(_fulfil, future, result)

    def _as_broker_error(self, error: Exception) -> Exception:
        return file_error(self._path, error) if isinstance(error, sqlite3.Error | OSError) else error

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: nobody is left to work for
            self._closing = True
            self._leaving.set()

    def _end(self) -> None:
        """Fail what came too late; the rest has been answered before."""
        error = BrokerError("a broker must be connected to be used, got a closed one")
        publishes, _, calls = self._take_all()
        for future in [*(future for _, _, future in publishes), *(future for _, future in calls)]:
            if future is not None:
                _fail(future, error)
        _fulfil(self._ended, None)


def _fulfil(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
