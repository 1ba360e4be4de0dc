"""An AMQP channel whose methods can be awaited, and what may go wrong with it.

Wraps a channel of pika's; knows nothing of queues and messages.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from upswell.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406


class LostError(BrokerError):
    """The connection went away before the answer came; asked again on the next one, it may come."""


class RefusedError(BrokerError):
    """The server refused a method and closed the channel; asked again, it would refuse again."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"RabbitMQ refused: {text} ({code})")
        self.code = code
        self.text = text


class AwaitableChannel:
    """Wraps one open pika channel; `raw` is there for what needs no answer."""

    def __init__(self, raw: Any, on_closed: Callable[[BrokerError], None] | None = None) -> None:
        self.raw = raw
        self._loop = asyncio.get_running_loop()
        self._on_closed = on_closed
        self._waiting: set[asyncio.Future[Any]] = set()
        raw.add_on_close_callback(self._closed)

    @classmethod
    async def open(
        cls, connection: Any, on_closed: Callable[[BrokerError], None] | None = None
    ) -> AwaitableChannel:
        """Return a new channel; `on_closed` is called when the server closes it or the connection is lost.

        Raises:
            LostError: the connection went away.
        """
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(result: Any) -> None:
            if not opened.done():
                opened.set_result(result)

        def on_closed_early(_raw: Any, reason: Any) -> None:
            settle(reason)

        if connection is None or not connection.is_open:
            raise LostError("the connection to RabbitMQ is lost")
        raw = connection.channel(on_open_callback=settle)
        raw.add_on_close_callback(on_closed_early)
        result = await opened
        if result is not raw:
            raise LostError(f"the connection to RabbitMQ is lost: {result}")
        return cls(raw, on_closed)

    @property
    def is_open(self) -> bool:
        """Whether methods may be sent."""
        return bool(self.raw.is_open)

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of pika's channel that has a `callback`; return the frame that answers.

        Raises:
            RefusedError: the server closed the channel over it.
            LostError: the channel was gone, or went with its connection.
        """
        return await self.expect(lambda settle: getattr(self.raw, method)(callback=settle, **arguments))

    async def expect(self, start: Callable[[Callable[..., None]], object]) -> Any:
        """Run `start` with a callback; return what that is called with, a tuple when it is several things.

        Raises:
            RefusedError, LostError: as `call`.
        """
        if not self.raw.is_open:
            raise LostError("the channel is closed")
        answer: asyncio.Future[Any] = self._loop.create_future()

        def settle(*results: Any) -> None:
            if not answer.done():
                answer.set_result(results[0] if len(results) == 1 else results)

        self._waiting.add(answer)
        try:
            start(settle)
            return await answer
        finally:
            self._waiting.discard(answer)

    def _closed(self, _raw: Any, reason: Any) -> None:
        code: int = getattr(reason, "reply_code", 0)
        # While its connection is open, a channel is closed by the server over something sent on it.
        if self.raw.connection.is_open and code > 0:
            error: BrokerError = RefusedError(code, str(reason.reply_text))
        else:
            error = LostError(f"the connection to RabbitMQ is lost: {reason}")
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(error)
        if self._on_closed is not None:
            self._on_closed(error)
