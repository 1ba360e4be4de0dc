"""Threads for what cannot await: the user's plain function, and reading and writing files.

A thread cannot be cancelled. Whoever awaits one and is cancelled waits on for its end, so the slot stays
taken; cancelled once more, it lets go. The threads are daemons: one that hangs does not keep the process from
leaving.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
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
        self._ended: deque[_Job] = deque()

    async def call(self, function: Callable[[], T], *, stop: Callable[[], None] | None = None) -> T:
        """Return what `function` returns, from a thread; when cancelled, call `stop` and wait for its end."""
        job = _Job(function, asyncio.get_running_loop())
        self._calls += 1
        if self._calls > self._started < self._size:
            self._started += 1
            threading.Thread(target=self._work, name=f"upload-{self._started}", daemon=True).start()
        self._jobs.put(job)
        try:
            return await job.done
        except asyncio.CancelledError:
            if stop is not None:
                stop()
            if job.done.cancelled():  # it, too, was cancelled: wait on another for the thread's end
                job.done = job.loop.create_future()
            return await job.done
        finally:
            self._calls -= 1

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            job.run()
            self._ended.append(job)
            if len(self._ended) == 1:  # else the loop was woken already, and will come to this one, too
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    job.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        while self._ended:
            self._ended.popleft().settle()


class _Job:
    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self.loop = loop
        self.done: asyncio.Future[Any] = loop.create_future()

    def run(self) -> None:
        """Run the function and keep its result, or whatever it raises."""
        try:
            self._result = self._function()
        except BaseException as raised:  # noqa: BLE001 - sys.exit() in a thread would end the thread alone
            self._error = raised

    def settle(self) -> None:
        """Give the result, or the error, to who awaits it."""
        if self.done.done():
            return
        if self._error is None:
            self.done.set_result(self._result)
        elif isinstance(self._error, StopIteration):  # which a future cannot hold
            self.done.set_exception(RuntimeError(f"the handler raised {self._error!r}"))
        else:
            self.done.set_exception(self._error)
