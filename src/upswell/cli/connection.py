"""What commands do alike: run a coroutine to its end, and connect to the broker for as long as it takes."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from upswell.broker import open_broker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from upswell.broker import Broker
    from upswell.settings import Settings

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; SIGTERM ends it as Ctrl-C does, with its `finally` clauses."""

    async def cancelled_by_sigterm() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(cancelled_by_sigterm())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@asynccontextmanager
async def connected(settings: Settings, role: str) -> AsyncGenerator[Broker]:
    """Give a connected broker, closed afterwards; `role` names the connection.

    Raises:
        BrokerError: it cannot be reached, or refuses.
    """
    broker = open_broker(settings, name=unique_name(role))
    await broker.connect()
    try:
        yield broker
    finally:
        await broker.close()


def unique_name(role: str) -> str:
    """Return a name that no other process has, for a connection or a queue of one's own."""
    return f"{role}-{os.getpid()}-{secrets.token_hex(4)}"
