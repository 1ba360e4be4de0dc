# ruff: noqa: D102 - methods named for what they do
"""An upload whose reply is lost is found in the destination or among the dead letters, or given up."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from support.memory_broker import MemoryBroker
from upswell.broker.declaring import declare_upload_queue
from upswell.broker.protocol import Message, QueueDepth
from upswell.client.inquiry import QUIET_SECONDS, SILENT_SECONDS, Inquiry
from upswell.client.items import request_for
from upswell.client.pending import Pending
from upswell.messages import encode
from upswell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

QUEUE = "photos_upload"


class Scene:
    """One upload of a file, published at 1000 s, a broker in memory and a clock."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now = 0.0
        source = folder / "cat.jpg"
        source.write_bytes(b"cat")
        self.stored = folder / "store/cats/1.jpg"
        self.broker = MemoryBroker()
        own = Settings(**{"destination": str(folder / "store"), "upload_timeout": 100.0, **settings})
        self.inquiry = Inquiry(self.broker, QUEUE, own, monotonic=lambda: self.now)
        self.pending = Pending(request_for(source, "photos", key="cats/1.jpg"), 1000.0)
        self.pending.last_sign = 0.0

    def store(self, body: bytes) -> None:
        self.stored.parent.mkdir(parents=True, exist_ok=True)
        self.stored.write_bytes(body)

    def bury(self, *, published_at: float) -> None:
        body = encode(replace(self.pending.request, published_at=published_at))
        self.broker.publish(
            Message(body=body, routing_key=f"{QUEUE}.dead", headers={"x-upswell-reason": "no such bucket"})
        )

    async def after(self, *seconds: float) -> None:
        await declare_upload_queue(self.broker, QUEUE, delivery_limit=5)
        for self.now in seconds:
            await self.inquiry.ask([self.pending])


def run(work: Any) -> None:
    asyncio.run(work)


def test_what_the_destination_holds_is_stored(tmp_path: Path) -> None:
    async def work() -> None:
        scene = Scene(tmp_path)
        await scene.after(QUIET_SECONDS)
        scene.store(b"cat")
        await scene.after(QUIET_SECONDS + 1)
        assert scene.pending.result is None, "asked a moment ago"
        await scene.after(20.0)
        assert scene.pending.result is not None
        assert (scene.pending.result.url, scene.pending.result.bytes) == (scene.stored.as_uri(), 3)
        assert scene.pending.result.response_time is None
        scene.inquiry.close()

    run(work())


def test_nothing_is_asked_while_a_reply_may_be_on_its_way(tmp_path: Path) -> None:
    async def work() -> None:
        scene = Scene(tmp_path)
        scene.store(b"cat")
        await scene.after(QUIET_SECONDS - 0.1)
        assert scene.pending.result is None

    run(work())


def test_an_object_with_other_bytes_under_its_key_is_not_this_upload(tmp_path: Path) -> None:
    async def work() -> None:
        scene = Scene(tmp_path)
        scene.store(b"dog")
        await scene.after(QUIET_SECONDS)
        assert not scene.pending.ended.is_set()
        scene.inquiry.close()

    run(work())


def test_a_dead_letter_tells_why_unless_it_is_older_than_the_upload(tmp_path: Path) -> None:
    async def work() -> None:
        scene = Scene(tmp_path)
        await declare_upload_queue(scene.broker, QUEUE, delivery_limit=5)
        scene.bury(published_at=900.0)
        await scene.after(QUIET_SECONDS)
        assert scene.pending.reason is None
        scene.bury(published_at=1000.5)
        await scene.after(QUIET_SECONDS + 1)
        assert scene.pending.reason == "no such bucket"
        assert len(scene.broker.queues[f"{QUEUE}.dead"]) == 2, "they stay where they are"
        scene.inquiry.close()

    run(work())


def test_an_upload_that_left_the_queue_without_a_trace_is_given_up(tmp_path: Path) -> None:
    async def work() -> None:
        scene = Scene(tmp_path, handler="mine:own")
        await scene.after(QUIET_SECONDS, QUIET_SECONDS + SILENT_SECONDS - 1)
        assert scene.pending.reason is None
        await scene.after(QUIET_SECONDS + SILENT_SECONDS)
        assert scene.pending.reason is not None
        assert "no reply came from a worker; the destination cannot be asked" in scene.pending.reason

    run(work())


def test_it_is_not_given_up_while_it_waits_or_may_be_in_flight(tmp_path: Path) -> None:
    async def work() -> None:
        scene = Scene(tmp_path)
        await declare_upload_queue(scene.broker, QUEUE, delivery_limit=5)
        scene.broker.publish(Message(body=encode(scene.pending.request), routing_key=QUEUE))
        await scene.after(3.0, 50.0, 1000.0)
        assert scene.pending.reason is None

        async def unknown(queue: str) -> QueueDepth:
            del queue
            return QueueDepth(0, None, 1)

        scene.broker.depth = unknown  # type: ignore[method-assign]
        await scene.after(1001.0, 1050.0, 1105.0)
        assert scene.pending.reason is None, "an upload may take upload_timeout"
        await scene.after(1112.0)
        assert scene.pending.reason is not None
        scene.inquiry.close()

    run(work())


def test_an_upload_is_missed_neither_before_it_is_confirmed_nor_because_the_queue_was_idle_before(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        scene = Scene(tmp_path, handler="mine:own")
        other = Pending(request_for("https://h/a", "photos"), 1000.0)
        other.last_sign = 0.0
        await declare_upload_queue(scene.broker, QUEUE, delivery_limit=5)
        scene.pending.last_sign = math.inf
        for scene.now in (5.0, 500.0):
            await scene.inquiry.ask([scene.pending, other])
        assert other.reason is not None
        assert scene.pending.reason is None, "its broker does not answer"
        scene.pending.last_sign = 500.0
        await scene.after(500.0 + SILENT_SECONDS - 1)
        assert scene.pending.reason is None
        await scene.after(500.0 + SILENT_SECONDS)
        assert scene.pending.reason is not None

    run(work())
