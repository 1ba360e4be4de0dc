"""The event stream: the newest state to everyone, and nobody slows down another."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from upswell.dashboard.stream import Event, EventStream, Hub, Subscriber
from upswell.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine as a test."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))  # type: ignore[arg-type] - a coroutine

    return run


def produce(count: list[int]) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def make() -> dict[str, Any]:
        count[0] += 1
        return {"number": count[0]}

    return make


@in_loop
async def test_only_the_newest_event_waits_for_a_slow_subscriber() -> None:
    subscriber = Subscriber(None)
    for number in range(1, 1000):
        subscriber.put(Event(number, b"{}"))
    newest = await subscriber.next(60)
    assert newest is not None
    assert newest.number == 999
    assert await subscriber.next(0.001) is None


@in_loop
async def test_an_event_that_a_page_has_already_is_not_sent_again() -> None:
    subscriber = Subscriber(7)
    subscriber.put(Event(7, b"{}"))
    assert await subscriber.next(0.001) is None


@in_loop
async def test_subscribers_of_a_topic_share_what_is_made() -> None:
    hub, count = Hub(tick=3600), [0]
    many = [hub.subscribe("a", produce(count), None) for _ in range(50)]
    events = [await one.next(60) for one in many]
    assert {event.number for event in events if event is not None} == {1}
    assert count == [1]
    for one in many:
        hub.leave("a", one)
    assert hub.streams == 0


@in_loop
async def test_a_topic_that_nobody_looks_at_costs_nothing() -> None:
    hub, count = Hub(tick=0), [0]
    one = hub.subscribe("a", produce(count), None)
    await one.next(60)
    hub.leave("a", one)
    await asyncio.sleep(0)
    before = count[0]
    for _ in range(20):
        await asyncio.sleep(0)
    assert count[0] == before


@in_loop
async def test_what_cannot_be_read_is_said_and_tried_again() -> None:
    made = [0]

    async def fails() -> dict[str, Any]:
        made[0] += 1
        if made[0] == 1:
            raise JournalError("the journal cannot be used: locked, amqp://me:secret@host/")
        if made[0] == 2:
            raise ZeroDivisionError
        return {"well": True}

    hub = Hub(tick=0)
    one = hub.subscribe("a", fails, None)
    seen: list[bytes] = []
    while not seen or b"well" not in seen[-1]:
        event = await one.next(60)
        assert event is not None
        seen.append(event.data)
    hub.leave("a", one)
    assert not any(b"secret" in data for data in seen)
    assert made[0] >= 3


@in_loop
async def test_a_client_that_is_gone_is_forgotten() -> None:
    hub, sent = Hub(tick=3600), list[dict[str, Any]]()
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if b"tick" in message.get("body", b""):
            gone.set()

    async with asyncio.timeout(60):
        await EventStream(hub, "a", produce([0]), None)({}, receive, send)
    assert hub.streams == 0
    assert dict(sent[0]["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert b'id: 1\nevent: tick\ndata: {"number":1}\n\n' in sent[-1]["body"]


@in_loop
async def test_a_client_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upswell.dashboard.stream.HANGS_SECONDS", 0.01)
    hub, started = Hub(tick=0), [0]

    async def receive() -> dict[str, Any]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def send(message: Any) -> None:
        started[0] += 1
        if message["type"] == "http.response.body":
            await asyncio.get_running_loop().create_future()

    async with asyncio.timeout(60):
        await EventStream(hub, "a", produce([0]), None)({}, receive, send)
    assert hub.streams == 0
    assert started[0] == 2
