"""A connection to RabbitMQ that is made again whenever it is lost, and questions asked again with it.

Whoever makes it says how to open a connection, what to restore on each new one and what to stop when one is
lost.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, TypeVar

from upswell.broker.rabbitmq import pika_client
from upswell.broker.rabbitmq.channel import AwaitableChannel, LostError
from upswell.errors import BrokerError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_FIRST_PAUSE = 0.1  # seconds before the second attempt to connect, doubled for each further one
_LONGEST_PAUSE = 10.0  # seconds: a server that is back is found within these
_CLOSE_TIMEOUT = 2.0  # seconds that a server has to answer a close


def pause(attempt: int, rng: random.Random) -> float:
    """Return the seconds to wait after a failed attempt (from 1): doubled each time, jittered."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt - 1, 20)) * rng.uniform(0.5, 1.0)


class ReconnectingConnection:
    """Keeps one connection: `opener` makes it, `restore` fills it, `on_lost` is called when it is gone."""

    def __init__(
        self,
        opener: Callable[[], Awaitable[Any]],
        restore: Callable[[Any], Awaitable[None]],
        on_lost: Callable[[], None],
        *,
        log: Any,
        rng: random.Random,
    ) -> None:
        self.connection: Any = None
        self._opener = opener
        self._restore = restore
        self._on_lost = on_lost
        self._log = log
        self._rng = rng
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._closed = False
        self._keeper: asyncio.Task[None] | None = None
        self._questions: AwaitableChannel | None = None
        self._asking = asyncio.Lock()

    async def connect(self) -> None:
        """Connect, trying again while the server cannot be reached; then keep connected.

        Raises:
            BrokerError: refused, for a reason that trying again would not change.
        """
        await self._connect(first=True)
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Disconnect; cleanly if the server answers soon."""
        self._closed = True
        self._up.set()  # whoever waits for a connection learns that there will be none
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        connection = self.connection
        if connection is None or connection.is_closed:
            return
        try:
            await pika_client.close(connection, _CLOSE_TIMEOUT)
        finally:
            self._up.set()  # losing the connection cleared it

    async def call(self, method: str, **arguments: Any) -> Any:
        """Ask the server, on as many connections as it takes; only for what may be asked twice.

        Raises:
            RefusedError: it refused.
            BrokerError: closed meanwhile.
        """
        return await self.until_done(lambda: self.call_once(method, **arguments))

    async def until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what needs a connection, again on the next one when it is lost meanwhile."""
        while True:
            await self._up.wait()
            if self._closed:
                raise BrokerError("the broker is closed")
            try:
                return await work()
            except LostError:
                await asyncio.sleep(_FIRST_PAUSE)

    async def call_once(self, method: str, **arguments: Any) -> Any:
        """Ask the server on the connection that there is.

        Raises:
            RefusedError: it refused.
            LostError: there is no connection, or it went away.
        """
        async with self._asking:  # one at a time: a refusal closes the channel under all who wait on it
            if self._questions is None or not self._questions.is_open:
                self._questions = None
                self._questions = await AwaitableChannel.open(self.connection)
            return await self._questions.call(method, **arguments)

    async def _keep(self) -> None:
        while True:
            await self._down.wait()
            await self._connect(first=False)

    async def _connect(self, *, first: bool) -> None:
        for attempt in itertools.count(1):
            try:
                await self._open()
            except LostError as error:
                wait = pause(attempt, self._rng)
                self._log.warning(
                    "broker.connect_failed", attempt=attempt, again_in=round(wait, 2), error=error
                )
            except BrokerError as error:
                # Only a server that never let us in is believed at once; later it may be just starting.
                if first:
                    raise
                wait = _LONGEST_PAUSE
                self._log.error("broker.connect_refused", attempt=attempt, again_in=wait, error=error)
            else:
                self._log.info("broker.connected", attempt=attempt)
                return
            await asyncio.sleep(wait)

    async def _open(self) -> None:
        self._down.clear()
        self.connection = connection = await self._opener()
        connection.add_on_close_callback(self._on_closed)
        if not connection.is_open:
            raise LostError("the connection to RabbitMQ was lost at once")
        try:
            await self._restore(connection)
        except BaseException:
            if connection.is_open:
                connection.close()
            raise
        self._up.set()

    def _on_closed(self, connection: Any, reason: Any) -> None:
        if connection is not self.connection:
            return
        if self._up.is_set() and not self._closed:
            self._log.warning("broker.connection_lost", error=reason)
        self._up.clear()
        self._on_lost()
        self._down.set()
