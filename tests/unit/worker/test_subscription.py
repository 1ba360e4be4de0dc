# ruff: noqa: D102 - a test double's methods say by their names what they do
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.worker.subscription import Subscription

if TYPE_CHECKING:
    from upswell.broker.protocol import Broker


class Consumers:
    """A broker that only remembers who consumes, and how much each may hold."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.cancelled: list[int] = []
        self.slow: asyncio.Event | None = None

    async def consume(self, _queue: str, _on_delivery: Any, *, prefetch_count: int) -> Any:
        number = len(self.held) + len(self.cancelled)
        self.held[number] = prefetch_count
        consumers = self

        class One:
            async def cancel(self) -> None:
                if consumers.slow is not None:
                    await consumers.slow.wait()
                assert number not in consumers.cancelled
                consumers.cancelled.append(number)
                del consumers.held[number]

        return One()


def subscription(consumers: Consumers) -> Subscription:
    return Subscription(cast("Broker", consumers), "queue", lambda _delivery: None)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_the_consumers_hold_together_what_is_wanted(sizes: list[int]) -> None:
    async def scenario() -> None:
        consumers = Consumers()
        subject = subscription(consumers)
        for size in sizes:
            await subject.resize(size)
            assert sum(consumers.held.values()) == size == subject.prefetch_count
        await subject.cancel()
        assert consumers.held == {}

    asyncio.run(scenario())


def test_growing_disturbs_no_consumer_that_is_there() -> None:
    async def scenario() -> None:
        consumers = Consumers()
        subject = subscription(consumers)
        for size in [4, 6, 9]:
            await subject.resize(size)
        assert consumers.held == {0: 4, 1: 2, 2: 3}
        assert consumers.cancelled == []

    asyncio.run(scenario())


def test_whoever_cancels_in_mid_resize_waits_for_the_same_end() -> None:
    """A worker that is told to leave while its slots shrink."""

    async def scenario() -> None:
        consumers = Consumers()
        subject = subscription(consumers)
        await subject.resize(4)
        await subject.resize(8)
        consumers.slow = asyncio.Event()
        shrinking = asyncio.ensure_future(subject.resize(4))
        await asyncio.sleep(0)
        shrinking.cancel()
        leaving = asyncio.ensure_future(subject.cancel())
        await asyncio.sleep(0)
        assert not leaving.done()
        consumers.slow.set()
        await leaving
        assert consumers.held == {}
        with pytest.raises(asyncio.CancelledError):
            await shrinking

    asyncio.run(scenario())
