"""What became of the published requests: their reports, as workers copy them to the publisher.

What comes in: ids as they are published, and deliveries of the reply queue and of the dead-letter queue. What
goes out: unique ids stored and dead, attempts failed, response times. A reply may come twice, or not at all:
a reply is not persistent.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from upswell.errors import MessageError
from upswell.messages import UploadReport, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upswell.broker import Broker, Delivery

RECENT = 10_000
"""Response times that the running display looks at; the summary looks at all."""


class Replies:
    """Counts each published id once, by how it ended."""

    def __init__(self) -> None:
        self.stored = 0
        self.dead = 0
        self.failed_attempts = 0
        self.duplicates = 0
        self.response_times = array("d")
        self.outstanding: set[str] = set()
        self._expected: set[str] = set()

    def expect(self, request_id: str) -> None:
        """Count a request that is about to be published; the same id again changes nothing."""
        if request_id not in self._expected:
            self._expected.add(request_id)
            self.outstanding.add(request_id)

    def take(self, delivery: Delivery) -> None:
        """Take a delivery of the reply queue; what is no report on one of our requests is let pass."""
        try:
            report = decode(UploadReport, delivery.body)
        except MessageError:
            return
        if report.request_id is None or report.request_id not in self._expected:
            return
        if report.request_id not in self.outstanding:
            self.duplicates += report.outcome == "stored"
            return
        if report.outcome == "failed":
            self.failed_attempts += 1
            return
        self.outstanding.discard(report.request_id)
        if report.outcome == "dead":
            self.dead += 1
        else:
            self.stored += 1
            self.response_times.append(report.response_time)

    def count_dead(self, request_ids: Iterable[str]) -> None:
        """Count requests found in the dead-letter queue: where the broker put them, no worker reports."""
        found = self.outstanding.intersection(request_ids)
        self.outstanding -= found
        self.dead += len(found)

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


async def peek(broker: Broker, queue: str, limit: int) -> list[Delivery]:
    """Return up to `limit` messages of a queue, which stay there, in their order.

    Held unacknowledged until all are seen, then put back uncounted, the first first: RabbitMQ queues what
    comes back in that order, in front of the others.
    """
    held: list[Delivery] = []
    try:
        while len(held) < limit and (delivery := await broker.get(queue)) is not None:
            held.append(delivery)
    finally:
        for delivery in held:
            broker.release(delivery)
    return held
