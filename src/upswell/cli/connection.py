"""What commands do alike: run a coroutine to its end, mind signals, and connect to the broker meanwhile."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import stat
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from upswell.broker import open_broker
from upswell.errors import BrokerError
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from upswell.broker import Broker
    from upswell.settings import Settings

T = TypeVar("T")

PATIENCE_SECONDS = 15.0
"""How long a command that a person waits for tries to reach the broker."""


def run(work: Coroutine[Any, Any, T], *, handle_sigterm: bool = True) -> T:
    """Run a command's coroutine; SIGTERM ends it as Ctrl-C does, with its `finally` clauses."""

    async def supervised() -> T:
        task = asyncio.current_task()
        assert task is not None
        if handle_sigterm:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(supervised())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run a loop that only a signal ends: then it has done its work, and that is no failure."""
    with suppress(KeyboardInterrupt):
        run(work)


class Interrupts:
    """Ctrl-C, SIGTERM and a closed terminal, one after the other; made within the running loop."""

    def __init__(self) -> None:
        self._count = 0
        self._taken = 0
        self._more = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGTERM, self._interrupt)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup has it ignored
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def next(self) -> asyncio.Task[None]:
        """Return a task that ends at the next signal that nobody has waited for yet."""
        return asyncio.create_task(self._next())

    async def _next(self) -> None:
        while self._count == self._taken:
            self._more.clear()
            await self._more.wait()
        self._taken += 1

    def _interrupt(self) -> None:
        self._count += 1
        self._more.set()

    def _hang_up(self) -> None:
        """Write no more to a terminal that is gone: each attempt would fail."""
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(null, descriptor)
        os.close(null)
        self._interrupt()


async def first_to_end(*tasks: asyncio.Task[Any]) -> asyncio.Task[Any]:
    """Return the task that ends first; raise what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return next(iter(done))


@asynccontextmanager
async def connected(
    settings: Settings, role: str, *, patience: float | None = None
) -> AsyncGenerator[Broker]:
    """Give a connected broker, closed afterwards; `role` names the connection.

    Raises:
        BrokerError: it refuses, or could not be reached within `patience` seconds (None waits on).
    """
    broker = open_broker(settings, name=unique_name(role))
    try:
        async with asyncio.timeout(patience):
            await broker.connect()
    except TimeoutError:
        await broker.close()
        where = safe(settings.broker_url) or settings.state_path
        raise BrokerError(f"the broker at {where} did not answer within {patience:g} s") from None
    try:
        yield broker
    finally:
        await broker.close()


def unique_name(role: str) -> str:
    """Return a name that no other process has, for a connection or a queue of one's own."""
    return f"{role}-{os.getpid()}-{secrets.token_hex(4)}"
