"""What is known of a fleet's workers: from a full list now and then, from events in between.

In: lists, events, a fleet's own starts. Out: workers. It does not know where they run. While nobody watches
events, each question is a full list.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable

    from upswell.fleets.protocol import FleetWorker

RELIST_SECONDS = 60.0
"""Between two full lists while events are watched: a stream that has died silently misleads no longer."""


class KnownWorkers:
    """The workers by id.

    Args:
        look: asks the platform for all of them.
        relist_seconds: how long a full list is believed while events are watched.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Iterable[FleetWorker]]],
        *,
        relist_seconds: float = RELIST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._relist_seconds = relist_seconds
        self._clock = clock
        self._workers: dict[str, FleetWorker] = {}
        self._starting: set[str] = set()
        self._touched: set[str] = set()
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

    @contextlib.contextmanager
    def starting(self, worker: FleetWorker) -> Generator[None]:
        """Know a worker that is being started, which no list may hold yet; forget it where that fails."""
        self._starting.add(worker.worker_id)
        self.put(worker)
        try:
            yield
        except BaseException:
            self.drop(worker.worker_id)
            raise
        finally:
            self._starting.discard(worker.worker_id)

    def is_starting(self, worker_id: str) -> bool:
        """Return whether a worker is being started by this process."""
        return worker_id in self._starting

    def put(self, worker: FleetWorker) -> None:
        """Know a worker, as an event says."""
        self._workers[worker.worker_id] = worker
        self._touched.add(worker.worker_id)

    def drop(self, worker_id: str) -> None:
        """Know that a worker is gone."""
        self._workers.pop(worker_id, None)
        self._touched.add(worker_id)

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
                asked_at = self._clock()
                found = {worker.worker_id: worker for worker in await self._look()}
                # What happened while the list was on its way is newer than the list.
                for worker_id in self._touched | self._starting:
                    found.pop(worker_id, None)
                    if worker_id in self._workers:
                        found[worker_id] = self._workers[worker_id]
                self._workers, self._listed_at = found, asked_at
            return list(self._workers.values())

    def _fresh(self) -> bool:
        if not self._watched or self._listed_at is None:
            return False
        return self._clock() - self._listed_at < self._relist_seconds
