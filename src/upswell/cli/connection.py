"""Shared by the commands: run a coroutine, handle signals, connect to the broker."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from upswell.broker.connecting import connected, unique_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Interrupts", "connected", "first_to_end", "on_hang_up", "run", "run_until_stopped", "unique_name"]

T = TypeVar("T")

PATIENCE_SECONDS = 15.0
"""How long an interactive command tries to reach the broker."""


def run(work: Coroutine[Any, Any, T], *, handle_sigterm: bool = True) -> T:
    """Run a command's coroutine; SIGTERM cancels it as Ctrl-C does, running its `finally` clauses."""

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


def on_hang_up(reload: Callable[[], None], leave: Callable[[], object] | None = None) -> None:
    """Have SIGHUP reload; where it says that our terminal is gone, leave instead, by default as at SIGTERM.

    `nohup` makes a process ignore SIGHUP, and it goes on ignoring it.
    """
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        return
    task = asyncio.current_task()
    assert task is not None
    terminals = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]

    def hang_up() -> None:
        if all(map(os.isatty, terminals)):
            reload()
            return
        null = os.open(os.devnull, os.O_RDWR)  # each write to the closed terminal would fail
        for descriptor in terminals:
            os.dup2(null, descriptor)
        os.close(null)
        (leave or task.cancel)()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run a loop that only a signal ends, which is not a failure."""
    with suppress(KeyboardInterrupt):
        run(work)


class Interrupts:
    """Counts Ctrl-C and SIGTERM; create it within the running loop."""

    def __init__(self) -> None:
        self._signals = asyncio.Semaphore(0)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.interrupt)
        loop.add_signal_handler(signal.SIGTERM, self.interrupt)

    def next(self) -> asyncio.Task[bool]:
        """Return a task that ends at the next signal not yet waited for."""
        return asyncio.create_task(self._signals.acquire())

    def interrupt(self) -> None:
        """Count one more."""
        self._signals.release()


async def first_to_end(*tasks: asyncio.Task[Any]) -> None:
    """Wait for the task that ends first; raise what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
