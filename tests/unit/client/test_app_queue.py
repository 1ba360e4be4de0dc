# ruff: noqa: D102 - methods named for what they do
"""One application's queue as a client uses it, on a broker in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.memory_broker import MemoryBroker
from upswell.broker.protocol import Message
from upswell.client.app_queue import AppQueue
from upswell.client.pending import PendingUploads
from upswell.errors import UploadFailed, UpswellError
from upswell.messages import UploadReport, UploadRequest, encode
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from upswell.broker import Delivery
    from upswell.client.results import PublishCounts


def request(number: int = 1, **fields: Any) -> UploadRequest:
    return UploadRequest(
        **{"app_id": "photos", "type": "file", "uri": "https://h/a", "id": f"r{number}", "key": "k", **fields}
    )


class Site:
    """A queue, the uploads held, and a worker that answers as it is told."""

    def __init__(self, **settings: Any) -> None:
        self.broker = MemoryBroker()
        self.held = PendingUploads(lambda: 0.0, lambda: 0.0)
        self.queue = AppQueue(
            self.broker,
            "photos",
            Settings(**settings),
            self.held,
            "upswell.reply.c",
            on_sent=lambda _request: None,
        )

    async def open(self, outcome: str = "stored") -> None:
        await self.queue.declare()

        def answer(delivery: Delivery) -> None:
            report = UploadReport(
                app_id="photos",
                request_id=delivery.message_id,
                outcome=outcome,
                response_time=1.0,
                reason="full",
            )
            if delivery.reply_to:
                self.broker.publish(
                    Message(
                        body=encode(report), routing_key=delivery.reply_to, persistent=False, mandatory=False
                    )
                )
            self.broker.ack(delivery)

        if outcome:
            await self.broker.consume(self.queue.name, answer, prefetch_count=10)

    async def all_of(self, *requests: UploadRequest) -> AsyncIterator[UploadRequest]:
        for one in requests:
            yield one


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_a_dead_upload_is_an_error_with_its_reason_each_time_it_is_asked() -> None:
    async def work() -> None:
        site = Site()
        pending = site.held.expect(request())
        pending.fail("no such bucket")
        for _ in range(2):
            with pytest.raises(UploadFailed, match="upload r1 failed: no such bucket") as caught:
                await site.queue.wait(pending, None)
            assert (caught.value.reason, caught.value.request_id) == ("no such bucket", "r1")
        await site.queue.close()

    run(work())


def test_a_timeout_tells_the_last_attempts_failure() -> None:
    async def work() -> None:
        site = Site()
        pending = site.held.expect(request())
        pending.take(
            UploadReport(app_id="photos", response_time=1, outcome="failed", attempt=3, reason="busy"), 0.0
        )
        with pytest.raises(
            TimeoutError, match=r"r1 was neither stored .* within 0 s; attempt 3 failed: busy"
        ):
            await site.queue.wait(pending, 0)
        await site.queue.close()

    run(work())


def test_a_long_wait_in_vain_tells_what_the_queue_shows() -> None:
    async def work() -> None:
        site = Site()
        await site.queue.declare()
        assert await site.queue._why(0.5) == ""
        assert await site.queue._why(30.0) == "; no worker consumes photos_upload"
        await site.queue.send(request())
        await site.broker.consume("photos_upload", lambda _delivery: None, prefetch_count=0)
        assert await site.queue._why(30.0) == "; 1 wait in photos_upload"

    run(work())


def test_a_client_that_is_closed_leaves_nobody_waiting() -> None:
    async def work() -> None:
        site = Site()
        pending = site.held.expect(request())
        waiting = asyncio.create_task(site.queue.wait(pending, None))
        await asyncio.sleep(0)
        site.held.close()
        with pytest.raises(UpswellError, match="closed before upload r1 ended"):
            await waiting
        await site.queue.close()

    run(work())


def test_a_queue_that_was_deleted_is_made_again() -> None:
    async def work() -> None:
        site = Site()
        await site.queue.declare()
        await site.broker.delete(site.queue.name)
        await site.queue.send(request())
        assert len(site.broker.bodies(site.queue.name)) == 1

    run(work())


def test_a_file_is_refused_where_workers_may_read_none() -> None:
    async def work() -> None:
        site = Site(source_roots=[])
        await site.queue.declare()
        with pytest.raises(UpswellError, match="source_roots is empty"):
            await site.queue.send(request(uri="file:///data/a"))

    run(work())


@pytest.mark.parametrize(("outcome", "stored", "dead"), [("stored", 30, 0), ("dead", 0, 30)])
def test_many_are_counted_by_how_they_end_and_their_reply_queue_is_gone_afterwards(
    outcome: str, stored: int, dead: int
) -> None:
    async def work() -> None:
        site = Site()
        await site.open(outcome)
        told: list[PublishCounts] = []
        counts = await site.queue.publish_many(
            site.all_of(*map(request, range(30))), "many", wait=True, timeout=60, progress=told.append
        )
        assert (counts.published, counts.stored, counts.dead, counts.outstanding) == (30, stored, dead, 0)
        assert counts.complete
        assert told[-1].complete
        assert [reason for _, reason in counts.failures] == ["full"] * dead
        assert "upswell.reply.many" not in site.broker.declared

    run(work())


def test_many_are_published_without_waiting_for_anyone() -> None:
    async def work() -> None:
        site = Site()
        await site.open("")
        requests = site.all_of(*map(request, range(3000)))
        counts = await site.queue.publish_many(requests, "many", wait=False, timeout=None, progress=None)
        assert (counts.published, counts.complete, counts.stored) == (3000, True, 0)
        assert {message.reply_to for message in site.broker.published} == {None}

    run(work())


def test_what_a_failing_iterable_gave_before_is_published() -> None:
    async def failing() -> AsyncIterator[UploadRequest]:
        yield request(1)
        yield request(2)
        raise OSError("the disk is gone")

    async def work() -> None:
        site = Site()
        await site.open("")
        for wait in (False, True):
            with pytest.raises(OSError, match="the disk is gone"):
                await site.queue.publish_many(failing(), "many", wait=wait, timeout=None, progress=None)
        assert len(site.broker.bodies(site.queue.name)) == 4
        assert "upswell.reply.many" not in site.broker.declared

    run(work())


@pytest.mark.parametrize("wait", [False, True])
def test_an_error_that_comes_as_the_time_passes_is_raised(wait: bool) -> None:
    async def failing() -> AsyncIterator[UploadRequest]:
        raise OSError("the disk is gone")
        yield request()

    async def work() -> None:
        site = Site()
        await site.open("")
        with pytest.raises(OSError, match="the disk is gone"):
            await site.queue.publish_many(failing(), "many", wait=wait, timeout=0, progress=None)

    run(work())
