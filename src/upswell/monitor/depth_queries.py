"""Asks the broker for the depth of each upload queue; a decision never waits for it for long.

What comes in: applications. What goes out: their depths, where the broker answers; where it does not, what
was known before grows old and then stale, and nothing is ever read as 0.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from upswell.analysis.application import Application
    from upswell.broker.protocol import Broker
    from upswell.monitor.intake import Clock

_log = get_logger()

AT_ONCE = 32
"""Questions outstanding at once: enough to hide the round trips, few enough not to burden the broker."""


class DepthQueries:
    """One sweep over all queues at a time."""

    def __init__(self, broker: Broker, clock: Clock, queue_of: Callable[[str], str]) -> None:
        self._broker = broker
        self.queue_of = queue_of
        """May be changed: the next question is asked of the new queue."""
        self._clock = clock
        self._sweep: asyncio.Task[None] | None = None
        self._fails = False

    async def refresh(self, applications: Iterable[Application], timeout: float) -> None:
        """Ask for each application's depth, and return when all have been told or `timeout` seconds are over.

        A sweep that takes longer goes on in the background, and the next begins after it.
        """
        if self._sweep is None or self._sweep.done():
            self._sweep = asyncio.create_task(self._ask_all(list(applications)))
        await asyncio.wait({self._sweep}, timeout=timeout)

    async def close(self) -> None:
        """End a sweep under way."""
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.wait({self._sweep})

    async def _ask_all(self, applications: list[Application]) -> None:
        remaining = iter(applications)
        await asyncio.gather(*(self._ask_some(remaining) for _ in range(min(AT_ONCE, len(applications)))))

    async def _ask_some(self, remaining: Iterator[Application]) -> None:
        for application in remaining:
            queue = self.queue_of(application.app_id)
            try:
                depth = await self._broker.depth(queue)
            except Exception as error:  # noqa: BLE001 - whatever a broker raises, the other queues are asked
                self._tell_failure(queue, error)
                continue
            self._fails = False
            if depth is not None:
                application.depth(
                    depth.messages_ready, depth.messages_unacknowledged, depth.consumers, self._clock()
                )

    def _tell_failure(self, queue: str, error: Exception) -> None:
        """Log the first of a row of failures."""
        if not self._fails:
            self._fails = True
            _log.warning("monitor.depth_unknown", queue=queue, error=error)
