"""Threads for what cannot await: the user's plain function, and reading and writing files.

A thread cannot be cancelled. Whoever awaits one and is cancelled waits on for its end, so the slot stays
taken; cancelled once more, it lets go. The threads are daemons: one that hangs does not keep the process from
leaving.

Waking the event loop costs more than a small upload's own Python: both want Python's lock at once then. So
calls that end within a millisecond of one another wake it once.
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

TOGETHER_SECONDS = 0.001
"""How long the end of a call waits at most for others' ends; not at all where no other call runs."""


class Threads:
    """At most `size` threads, each started when it is first needed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._started = 0
        self._calls = 0
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._ended: deque[_Job] = deque()
        self._awake: asyncio.AbstractEventLoop | None = None  # the loop that will look at what ended
        self._next_look: asyncio.TimerHandle | None = None

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
                if job.is_over:  # it ended between the cancellation and here
                    job.settle()
            return await job.done
        finally:
            self._calls -= 1

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            job.run()
            loop = job.loop
            self._ended.append(job)
            if self._awake is not loop or len(self._ended) == self._calls:
                self._awake = loop
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._settle, loop)

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Settle what ended; look again a little later by itself while other calls run and some end."""
        if self._next_look is not None:
            self._next_look.cancel()
        self._next_look = self._awake = None  # from here on a thread whose call ends wakes the loop
        if 0 < len(self._ended) < self._calls:
            self._awake = loop
            self._next_look = loop.call_later(TOGETHER_SECONDS, self._settle, loop)
        while self._ended:
            self._ended.popleft().settle()


class _Job:
    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self.is_over = False  # and the loop knows
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
        self.is_over = True
        if self.done.done():
            return
        if self._error is None:
            self.done.set_result(self._result)
        elif isinstance(self._error, StopIteration):  # which a future cannot hold
            self.done.set_exception(RuntimeError(f"the handler raised {self._error!r}"))
        else:
            self.done.set_exception(self._error)
