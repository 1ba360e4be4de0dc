"""What is known of a fleet's workers: from a full list now and then, from events in between.

In: lists, events, a fleet's own starts. Out: workers. It does not know where they run. While nobody watches
events, each question is a full list.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from upswell.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable
    from contextlib import AbstractAsyncContextManager

    from upswell.fleets.protocol import FleetWorker

Event = dict[str, Any]

RELIST_SECONDS = 60.0
"""Between two full lists while events are watched: a stream that has died silently misleads no longer."""

LIST_SHARE = 0.01
"""Full lists take no more of the processor than that: with many workers they come less often."""

WATCH_AGAIN_SECONDS = 1.0

GONE_REMEMBERED = 1000
"""A stream of events that is opened again tells the last seconds once more, of workers that are gone, too."""


class KnownWorkers:
    """The workers by id.

    `look` asks the platform for all of them, which is believed for `relist_seconds` while events are watched.
    `clock`: monotonic seconds. `processor`: seconds of processor that this thread has used.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Iterable[FleetWorker]]],
        *,
        relist_seconds: float = RELIST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.thread_time,
    ) -> None:
        self._look = look
        self.relist_seconds = relist_seconds
        self._least = relist_seconds
        self._clock = clock
        self._processor = processor
        self._workers: dict[str, FleetWorker] = {}
        self._starting: set[str] = set()
        self._touched: set[str] = set()
        self._gone: dict[str, None] = {}
        self._watched = False
        self._listed_at: float | None = None
        self._lock = asyncio.Lock()

    @contextlib.contextmanager
    def watched(self) -> Generator[None]:
        """Believe events while the context lasts; the first question is a full list."""
        self._watched, self._listed_at = True, None
        try:
            yield
        finally:
            self._watched = False

    async def follow(
        self,
        events: Callable[[], AbstractAsyncContextManager[Callable[[], Awaitable[Event | None]]]],
        note: Callable[[Event], None],
        on_change: Callable[[], None],
    ) -> None:
        """Have `note` take in a platform's events, and call back after each; where they end, begin anew.

        Something may have changed, too, when the time of a full list has passed without one. `events` opens a
        stream of them, of which None is the end.
        """
        while True:
            try:
                async with events() as next_event:
                    with self.watched():
                        on_change()  # what happened before is in the next list
                        while (event := await self._within_a_list(next_event)) is not None:
                            if event:
                                note(event)
                            on_change()
            except FleetError:
                pass  # the next list says why
            on_change()
            await asyncio.sleep(WATCH_AGAIN_SECONDS)

    async def _within_a_list(self, next_event: Callable[[], Awaitable[Event | None]]) -> Event | None:
        """Return the next event, None when the stream has ended, an empty one when a list is due."""
        try:
            async with asyncio.timeout(self.relist_seconds):
                return await next_event()
        except TimeoutError:
            return {}

    @contextlib.contextmanager
    def starting(self, worker: FleetWorker) -> Generator[None]:
        """Know a worker that is being started, which no list may hold yet; forget it where that fails."""
        self._starting.add(worker.worker_id)
        self._gone.pop(worker.worker_id, None)  # a start that failed may be asked for again
        self.put(worker)
        try:
            yield
        except BaseException:
            self.drop(worker.worker_id)
            raise
        finally:
            self._starting.discard(worker.worker_id)
            self._touched.add(worker.worker_id)  # a list that is on its way may be of before

    def is_starting(self, worker_id: str) -> bool:
        """Return whether a worker is being started by this process."""
        return worker_id in self._starting

    def put(self, worker: FleetWorker) -> None:
        """Know a worker, as an event says; one that was dropped stays so."""
        if worker.worker_id not in self._gone:
            self._workers[worker.worker_id] = worker
            self._touched.add(worker.worker_id)

    def drop(self, worker_id: str) -> None:
        """Know that a worker is gone."""
        self._workers.pop(worker_id, None)
        self._touched.add(worker_id)
        self._gone[worker_id] = None
        if len(self._gone) > GONE_REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def get(self, worker_id: str) -> FleetWorker | None:
        """Return what is known of a worker without asking."""
        return self._workers.get(worker_id)

    def doubt(self) -> None:
        """Have the next question be a full list."""
        self._listed_at = None

    async def all(self) -> list[FleetWorker]:
        """Return all workers."""
        async with self._lock:
            if not self._fresh():
                self._touched.clear()
                asked_at, used = self._clock(), self._processor()
                found = {worker.worker_id: worker for worker in await self._look()}
                # What happened while the list was on its way is newer than the list.
                for worker_id in self._touched | self._starting:
                    found.pop(worker_id, None)
                    if worker_id in self._workers:
                        found[worker_id] = self._workers[worker_id]
                for worker_id in found:  # there after all, where its removal had failed: its events count
                    self._gone.pop(worker_id, None)
                self._workers, self._listed_at = found, asked_at
                cost = (self._processor() - used) / LIST_SHARE
                self.relist_seconds = max(self._least, min(RELIST_SECONDS, cost))
            return list(self._workers.values())

    def _fresh(self) -> bool:
        if not self._watched or self._listed_at is None:
            return False
        return self._clock() - self._listed_at < self.relist_seconds
