"""What became of the published requests: their reports, as workers copy them to the publisher.

What comes in: ids as they are published, and deliveries of the reply queue and of the dead-letter queue. What
goes out: unique ids stored and dead, their bytes, attempts failed, response times, and the first failures'
reasons. A reply may come twice, or not at all: a reply is not persistent. Memory is bounded by the requests
outstanding, of which whoever publishes holds no more than `MOST_OUTSTANDING`.
"""

from __future__ import annotations

import asyncio
from array import array
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.errors import MessageError
from upswell.messages import UploadReport, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, KeysView, Sequence

    from upswell.broker import Broker, Consumer, Delivery
    from upswell.broker.topology import Queue
    from upswell.messages import UploadRequest

RECENT = 10_000
"""Response times that the running display looks at; the summary looks at all."""

MOST_OUTSTANDING = 100_000
"""Requests published and not answered: enough for a monitor to see the load, little to remember."""

MOST_FAILURES = 100
"""Failures that are remembered with their reasons; all are counted."""

GIVEN_UP = "given up by the broker at its delivery limit"


PAUSE_SECONDS = 0.1
"""How long to wait when so many are outstanding, before it is looked again."""


async def listen(broker: Broker, queue: Queue, take: Callable[[Delivery], None]) -> Consumer:
    """Have `take` called with each delivery of a queue of our own."""
    await broker.declare(queue)

    def on_delivery(delivery: Delivery) -> None:
        take(delivery)
        broker.ack(delivery)

    return await broker.consume(queue.name, on_delivery, prefetch_count=1000)


def report_in(delivery: Delivery) -> UploadReport | None:
    """Return the report that a reply is, or None: it is hostile."""
    try:
        return decode(UploadReport, delivery.body)
    except MessageError:
        return None


class Expected(Struct, frozen=True):
    """An outstanding request: what to call it when it fails, and its size in bytes where known."""

    name: str
    size: int | None


class Replies:
    """Counts each published id once, by how it ended; `on_stored` is told of each stored one."""

    def __init__(self, on_stored: Callable[[UploadReport], None] | None = None) -> None:
        self.stored = 0
        self.stored_bytes = 0
        self.dead = 0
        self.dead_bytes = 0
        self.failed_attempts = 0
        self.duplicates = 0
        self.failures: list[tuple[str, str]] = []
        self.response_times = array("d")
        self._on_stored = on_stored
        self._outstanding: dict[str, Expected] = {}
        self._done: dict[str, None] = {}  # the newest, the oldest first

    @property
    def outstanding(self) -> KeysView[str]:
        """The ids that are neither stored nor dead yet."""
        return self._outstanding.keys()

    async def listen(self, broker: Broker, queue: Queue) -> str:
        """Begin to take the replies that come to a queue of our own; return its name."""
        await listen(broker, queue, self.take)
        return queue.name

    async def expecting(self, requests: AsyncIterable[UploadRequest]) -> AsyncIterator[UploadRequest]:
        """Yield requests and expect a reply to each; wait while too many are outstanding."""
        async for request in requests:
            while len(self._outstanding) >= MOST_OUTSTANDING:  # noqa: ASYNC110 - replies set no event
                await asyncio.sleep(PAUSE_SECONDS)
            if request.id:
                self.expect(request.id, name=request.key or request.uri, size=request.size_bytes)
            yield request

    def expect(self, request_id: str, *, name: str = "", size: int | None = None) -> None:
        """Count a request that is about to be published; the same id again changes nothing."""
        if request_id not in self._done:
            self._outstanding[request_id] = Expected(name or request_id, size)

    def take(self, delivery: Delivery) -> None:
        """Take a delivery of the reply queue; what is no report on one of our requests is let pass."""
        report = report_in(delivery)
        if report is None:
            return
        request_id = report.request_id or ""
        expected = self._outstanding.get(request_id)
        if expected is None:
            self.duplicates += report.outcome == "stored" and request_id in self._done
        elif report.outcome == "failed":
            self.failed_attempts += 1
        elif report.outcome == "dead":
            self._count_dead(request_id, expected, report.reason or "no reason given")
        else:
            self._end(request_id)
            self.stored += 1
            self.stored_bytes += report.bytes if report.bytes is not None else expected.size or 0
            self.response_times.append(report.response_time)
            if self._on_stored is not None:
                self._on_stored(report)

    def count_dead(self, request_ids: Iterable[str]) -> None:
        """Count requests found in the dead-letter queue: where the broker put them, no worker reports."""
        for request_id in self._outstanding.keys() & set(request_ids):
            self._count_dead(request_id, self._outstanding[request_id], GIVEN_UP)

    def _count_dead(self, request_id: str, expected: Expected, reason: str) -> None:
        self._end(request_id)
        self.dead += 1
        self.dead_bytes += expected.size or 0
        if len(self.failures) < MOST_FAILURES:
            self.failures.append((expected.name, reason))

    def _end(self, request_id: str) -> None:
        del self._outstanding[request_id]
        self._done[request_id] = None
        if len(self._done) > MOST_OUTSTANDING:
            del self._done[next(iter(self._done))]

    def percentiles(self, *, recent: bool = False) -> tuple[float | None, float | None]:
        """Return p50 and p95 of the response times in seconds, by nearest rank; None before the first."""
        ordered = sorted(self.response_times[-RECENT:] if recent else self.response_times)
        return nearest_rank(ordered, 0.50), nearest_rank(ordered, 0.95)


def nearest_rank(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed.

    >>> nearest_rank([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    if not ordered:
        return None
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
