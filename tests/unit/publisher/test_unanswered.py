"""`publish --wait` ends: also where replies were lost, and where nobody knows what is in flight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from support.memory_broker import MemoryBroker
from upswell.broker.declaring import declare_upload_queue
from upswell.broker.protocol import Message, QueueDepth
from upswell.messages import UploadRequest, encode
from upswell.publisher.replies import Replies
from upswell.publisher.unanswered import MOST_SECONDS_BETWEEN, QUIET_SECONDS, SILENT_SECONDS, Unanswered
from upswell.stores.protocol import StoredObject

if TYPE_CHECKING:
    from collections.abc import Sequence

ATTEMPT = 900.0
SINCE = 1000.0


class Depths:
    """A broker of which only the depths are asked."""

    def __init__(self, ready: int, unacknowledged: int | None, consumers: int) -> None:
        self.now = QueueDepth(ready, unacknowledged, consumers)

    async def depth(self, queue: str) -> QueueDepth | None:
        """Return the upload queue's; there is no dead-letter queue."""
        return None if queue.endswith(".dead") else self.now


class Place:
    """Two outstanding requests, of which the destination has those in `there`."""

    def __init__(self, depths: Depths, there: Sequence[str] = ()) -> None:
        self.there = set(there)
        self.asked = 0
        self.replies = Replies()
        for name in ("a", "b"):
            self.replies.expect(UploadRequest(app_id="e1", type="file", uri="file:///x", id=name))
        self.unanswered = Unanswered(cast("Any", depths), "q", self.replies, self._find, ATTEMPT, since=SINCE)

    async def _find(self, requests: Sequence[UploadRequest]) -> list[StoredObject | None]:
        self.asked += 1
        return [StoredObject(1, None) if request.id in self.there else None for request in requests]

    async def hopeless_after(self, seconds: float, step: float = 1.0) -> float | None:
        """Return after how many seconds it is hopeless; None: not within `seconds`."""
        now = 0.0
        while now <= seconds:
            if await self.unanswered.is_hopeless(now):
                return now
            if not self.replies.outstanding:
                return None
            await asyncio.sleep(0)  # so that what was begun beside goes on
            await asyncio.sleep(0)
            now += step
        return None


def test_what_is_in_the_destination_is_counted_though_no_reply_came() -> None:
    async def scenario() -> None:
        place = Place(Depths(0, None, 3), there="ab")
        assert await place.hopeless_after(60) is None
        assert (place.replies.stored, place.replies.found, place.replies.outstanding) == (2, 2, set())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("depths", "seconds"),
    [
        (Depths(0, 0, 3), QUIET_SECONDS + SILENT_SECONDS),  # nothing in flight
        (Depths(0, None, 0), QUIET_SECONDS + SILENT_SECONDS),  # nobody there who could have it in flight
        (Depths(0, None, 3), ATTEMPT + SILENT_SECONDS),  # longer than any attempt may take
    ],
)
def test_it_is_hopeless_once_nothing_can_be_in_flight(depths: Depths, seconds: float) -> None:
    async def scenario() -> None:
        place = Place(depths, there="a")
        after = await place.hopeless_after(2 * ATTEMPT)
        assert after is not None
        assert seconds <= after <= seconds + MOST_SECONDS_BETWEEN
        assert place.replies.outstanding == {"b"}

    asyncio.run(scenario())


@pytest.mark.parametrize("depths", [Depths(1, None, 0), Depths(0, 2, 1)])
def test_as_long_as_uploads_wait_or_are_in_flight_it_is_not_hopeless(depths: Depths) -> None:
    async def scenario() -> None:
        assert await Place(depths).hopeless_after(10 * ATTEMPT, step=10.0) is None

    asyncio.run(scenario())


def test_a_reply_shows_that_somebody_still_works() -> None:
    async def scenario() -> None:
        place = Place(Depths(0, None, 3))
        assert await place.hopeless_after(ATTEMPT) is None
        place.replies.failed_attempts += 1
        assert not await place.unanswered.is_hopeless(ATTEMPT + 1)
        assert not await place.unanswered.is_hopeless(2 * ATTEMPT)

    asyncio.run(scenario())


def test_the_destination_is_asked_at_growing_intervals() -> None:
    async def scenario() -> None:
        place = Place(Depths(0, None, 3))
        await place.hopeless_after(ATTEMPT)
        assert 10 < place.asked < 25

    asyncio.run(scenario())


def test_a_dead_letter_of_an_earlier_publishing_does_not_end_the_same_request_published_again() -> None:
    """Its upload may still run: `publish` after what was wrong is mended."""

    async def scenario() -> None:
        broker = MemoryBroker()
        place = Place(cast("Any", broker))
        await declare_upload_queue(broker, "q", delivery_limit=5)
        for name, published_at in (("a", SINCE - 50), ("b", SINCE + 1)):
            body = encode(
                UploadRequest(app_id="e1", type="file", uri="file:///x", id=name, published_at=published_at)
            )
            await broker.publish(Message(body=body, routing_key="q.dead"))
        await place.hopeless_after(QUIET_SECONDS + 1)
        assert (place.replies.dead, place.replies.outstanding) == (1, {"a"})

    asyncio.run(scenario())
