"""Threads for what cannot await: the user's plain function, and reading and writing files.

A thread cannot be cancelled. Whoever awaits one and is cancelled waits on for its end, so the slot stays
taken; cancelled once more, it lets go. The threads are daemons: one that hangs does not keep the process from
leaving.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Threads:
    """At most `size` threads, each started when it is first needed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._started = 0
        self._calls = 0
        self._jobs: SimpleQueue[_Job] = SimpleQueue()

    async def call(self, function: Callable[[], T], *, stop: Callable[[], None] | None = None) -> T:
        """Return what `function` returns, from a thread; when cancelled, call `stop` and wait for its end."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls += 1
        if self._calls > self._started < self._size:
            self._started += 1
            threading.Thread(target=self._work, name=f"upload-{self._started}", daemon=True).start()
        self._jobs.put(_Job(function, done))
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if stop is not None:
                stop()
            return await done
        finally:
            self._calls -= 1

    def _work(self) -> None:
        while True:
            self._jobs.get().run()


class _Job:
    def __init__(self, function: Callable[[], Any], done: asyncio.Future[Any]) -> None:
        self._function = function
        self._done = done

    def run(self) -> None:
        """Run the function; its result, or whatever it raises, goes to who awaits it."""
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._function()
        except BaseException as raised:  # noqa: BLE001 - sys.exit() in a thread would end the thread alone
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._done.get_loop().call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(result)
        elif isinstance(error, StopIteration):  # which a future cannot hold
            self._done.set_exception(RuntimeError(f"the handler raised {error!r}"))
        else:
            self._done.set_exception(error)
