# ruff: noqa: D102 - the protocol says what each method does
"""What the page knows of a broker that goes away behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from support.memory_broker import MemoryBroker
from upswell.dashboard import actions, live
from upswell.dashboard.actions import Actions
from upswell.dashboard.live import Live
from upswell.errors import BrokerError
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker import Broker, Delivery, QueueDepth

SETTINGS = Settings(apps={"photos": {}})


class SilentBroker(MemoryBroker):
    """Answers only while it is there, as one that is waited for until it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.there = asyncio.Event()
        self.there.set()
        self.asked = 0

    async def depth(self, queue: str, *, in_flight: bool = True) -> QueueDepth | None:
        self.asked += 1
        await self.there.wait()
        return await super().depth(queue, in_flight=in_flight)

    async def look(self, queue: str, limit: int | None = None) -> list[Delivery]:
        await self.there.wait()
        return await super().look(queue, limit)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


def test_a_broker_that_goes_away_later_is_said_asked_seldom_and_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(live, "DEPTH_SECONDS", 0.0)
    monkeypatch.setattr(live, "ANSWER_SECONDS", 60.0)
    monkeypatch.setattr(live, "SILENT_PART_SECONDS", 3600.0)
    broker = SilentBroker()

    async def connect(*_: object, **__: object) -> MemoryBroker:
        return broker

    monkeypatch.setattr(live, "connect", connect)

    async def scenario() -> None:
        known = Live(SETTINGS)
        running = asyncio.create_task(known.run())
        await until(lambda: known.broker is not None)
        assert known.missing_parts() == []
        assert await known.depth("photos") is not None

        broker.there.clear()
        monkeypatch.setattr(live, "ANSWER_SECONDS", 0.01)
        assert await known.depth("photos") is None
        asked = broker.asked
        assert [await known.depth("photos") for _ in range(100)] == [None] * 100
        assert broker.asked == asked
        (words,) = known.missing_parts()
        assert words.startswith("The broker does not answer: nothing within 0.01 s.")
        with pytest.raises(BrokerError, match="the broker does not answer: nothing within"):
            await Actions(SETTINGS, known).dead("photos")

        monkeypatch.setattr(live, "ANSWER_SECONDS", 60.0)
        broker.there.set()
        await until(lambda: not known.problem)
        assert await known.depth("photos") is not None
        assert known.missing_parts() == []
        running.cancel()

    asyncio.run(scenario())


def test_an_order_that_the_broker_does_not_take_ends_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "LOOK_SECONDS", 0.01)

    async def scenario() -> None:
        known, broker = Live(SETTINGS), SilentBroker()
        known.broker, known.problem = cast("Broker", broker), ""
        broker.there.clear()
        with pytest.raises(BrokerError, match=r"did not answer within 0\.01 s"):
            await Actions(SETTINGS, known).dead("photos")

    asyncio.run(scenario())


def test_nothing_is_deleted_while_a_look_holds_the_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "LOOK_SECONDS", 60.0)

    async def scenario() -> None:
        known, broker = Live(SETTINGS), SilentBroker()
        known.broker, known.problem = cast("Broker", broker), ""
        acts = Actions(SETTINGS, known)
        broker.there.clear()
        looking = asyncio.create_task(acts.dead("photos"))
        await asyncio.sleep(0)
        deleting = asyncio.create_task(acts.purge("photos", None))
        for _ in range(10):
            await asyncio.sleep(0)
        assert broker.asked == 0
        elsewhere = asyncio.create_task(acts.purge("letters", None))
        await until(lambda: broker.asked == 1)  # another application's are another queue's
        broker.there.set()
        assert (await looking)["looked_at"] == 0
        assert await deleting == await elsewhere == "0 dead uploads deleted."
        assert broker.asked == 2

    asyncio.run(scenario())
