"""What became of the published requests: their reports, as workers copy them to the publisher.

What comes in: ids as they are published, and deliveries of the reply queue and of the dead-letter queue. What
goes out: unique ids stored and dead, their bytes, attempts failed and why, response times, and where the
objects are. A reply may come twice, or not at all: a reply is not persistent. Memory is bounded by the
requests outstanding, of which whoever publishes holds no more than `MOST_OUTSTANDING`.
"""

from __future__ import annotations

import asyncio
from array import array
from typing import TYPE_CHECKING

from upswell.analysis.failure_reasons import FailureReasons
from upswell.broker.listening import listen
from upswell.errors import MessageError
from upswell.messages import NO_REASON, UploadReport, UploadRequest, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, KeysView, Mapping, Sequence

    from upswell.broker import Broker, Delivery
    from upswell.broker.topology import Queue
    from upswell.stores.protocol import StoredObject

RECENT = 10_000
"""Response times that the running display looks at; the summary looks at all."""

MOST_OUTSTANDING = 100_000
"""Requests published and not answered: enough for a monitor to see the load, little to remember."""

MOST_FAILURES = 100
"""Failures that are remembered with their reasons; all are counted."""

PAUSE_SECONDS = 0.1
"""How long to wait when that many are outstanding, before it is looked again."""


def report_in(delivery: Delivery) -> UploadReport | None:
    """Return the report that a reply is, or None: it is hostile."""
    try:
        return decode(UploadReport, delivery.body)
    except MessageError:
        return None


class Replies:
    """Counts each published id once, by how it ended.

    `on_stored` is called with each report of a stored one, `on_found` with each that nobody reported and that
    was found; it returns where that is.
    """

    def __init__(
        self,
        on_stored: Callable[[UploadReport], None] | None = None,
        on_found: Callable[[UploadRequest, StoredObject], str] | None = None,
    ) -> None:
        self.stored = 0
        self.stored_bytes = 0
        self.dead = 0
        self.dead_bytes = 0
        self.failed_attempts = 0
        self.duplicates = 0
        self.found = 0
        """Of the stored ones, those that nobody reported, found in the destination."""
        self.failures: list[tuple[str, str]] = []
        """The first dead ones: name and reason."""
        self.reasons = FailureReasons()
        """Why attempts failed, also those that are repeated or cost no attempt."""
        self.address: str | None = None
        """Where the stored ones are: the address of the only one, or what all addresses begin with."""
        self.response_times = array("d")
        self._on_stored = on_stored
        self._on_found = on_found
        self._outstanding: dict[str, UploadRequest] = {}
        self._done: dict[str, None] = {}  # the newest, the oldest first

    @property
    def outstanding(self) -> KeysView[str]:
        """The ids that are neither stored nor dead yet."""
        return self._outstanding.keys()

    @property
    def heard(self) -> int:
        """How many answers came so far: it grows while anybody works on these requests."""
        return self.stored - self.found + self.dead + self.failed_attempts + self.duplicates

    def unanswered(self) -> list[UploadRequest]:
        """Return the outstanding requests themselves."""
        return list(self._outstanding.values())

    async def listen(self, broker: Broker, queue: Queue) -> str:
        """Begin to take the replies that come to a queue of our own; return its name."""
        await listen(broker, queue, self.take)
        return queue.name

    async def expecting(self, requests: AsyncIterable[UploadRequest]) -> AsyncIterator[UploadRequest]:
        """Yield requests and expect a reply to each; wait while too many are outstanding."""
        async for request in requests:
            while len(self._outstanding) >= MOST_OUTSTANDING:  # noqa: ASYNC110 - replies set no event
                await asyncio.sleep(PAUSE_SECONDS)
            self.expect(request)
            yield request

    def expect(self, request: UploadRequest) -> None:
        """Count a request that is about to be published; the same id again, or none, changes nothing."""
        if request.id and request.id not in self._done:
            self._outstanding[request.id] = request

    def take(self, delivery: Delivery) -> None:
        """Take a delivery of the reply queue; what is no report on one of our requests is let pass."""
        report = report_in(delivery)
        if report is None:
            return
        request_id = report.request_id or ""
        request = self._outstanding.get(request_id)
        if request is None:
            self.duplicates += report.outcome == "stored" and request_id in self._done
        elif report.outcome == "failed":
            self.failed_attempts += 1
            self._count_reason(request, report.reason)
        elif report.outcome == "dead":
            self._count_dead(request_id, report.reason)
        else:
            self._end(request_id)
            self.stored += 1
            self.stored_bytes += report.bytes if report.bytes is not None else request.size_bytes or 0
            self.response_times.append(report.response_time)
            if report.url is not None:
                self._add_address(report.url)
            if self._on_stored is not None:
                self._on_stored(report)

    def count_dead(self, reasons: Mapping[str, str]) -> None:
        """Count requests found in the dead-letter queue: the reasons by their ids, as their letters say."""
        for request_id in self._outstanding.keys() & reasons.keys():
            self._count_dead(request_id, reasons[request_id])

    def count_found(self, found: Iterable[tuple[UploadRequest, StoredObject]]) -> None:
        """Count requests whose objects were found in the destination: their replies were lost."""
        for request, there in found:
            if request.id in self._outstanding:
                self._end(request.id)
                self.found += 1
                self.stored += 1
                self.stored_bytes += there.bytes
                if self._on_found is not None:
                    self._add_address(self._on_found(request, there))

    def _add_address(self, address: str) -> None:
        self.address = address if self.address is None else _common(self.address, address)

    def _count_dead(self, request_id: str, reason: str | None) -> None:
        request = self._end(request_id)
        self.dead += 1
        self.dead_bytes += request.size_bytes or 0
        self._count_reason(request, reason)
        if len(self.failures) < MOST_FAILURES:
            self.failures.append((request.key or request.uri, reason or NO_REASON))

    def _count_reason(self, request: UploadRequest, reason: str | None) -> None:
        self.reasons.add(reason or NO_REASON, request.uri, request.key or request.uri)

    def _end(self, request_id: str) -> UploadRequest:
        self._done[request_id] = None
        if len(self._done) > MOST_OUTSTANDING:
            del self._done[next(iter(self._done))]
        return self._outstanding.pop(request_id)

    def percentiles(self, *, recent: bool = False) -> tuple[float | None, float | None]:
        """Return p50 and p95 of the response times in seconds, by nearest rank; None before the first."""
        ordered = sorted(self.response_times[-RECENT:] if recent else self.response_times)
        return nearest_rank(ordered, 0.50), nearest_rank(ordered, 0.95)


def _common(one: str, other: str) -> str:
    """Return what two addresses begin with, up to a slash.

    >>> _common("s3://bucket/2026/beach.jpg", "s3://bucket/2026/boat.jpg")
    's3://bucket/2026/'
    """
    if one == other:
        return one
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return one[: one.rfind("/", 0, same) + 1]


def nearest_rank(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed.

    >>> nearest_rank([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    if not ordered:
        return None
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
