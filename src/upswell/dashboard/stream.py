"""Server-sent events: each page gets the newest state, and none can slow down another.

In: something that makes a payload. Out: an event stream to each subscriber. All subscribers of one topic
share one payload, made once a second while somebody looks. A subscriber holds one payload, the newest: each
is the whole state, so nothing is lost by leaving out an older one. One that takes nothing is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from upswell.errors import UpswellError
from upswell.events import get_logger
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from starlette.types import Receive, Scope, Send

    Produce = Callable[[], Awaitable[dict[str, Any]]]

_log = get_logger()

TICK_SECONDS = 1.0
PING_SECONDS = 15.0
HANGS_SECONDS = 30.0
"""Who takes nothing for so long is disconnected."""
MOST_STREAMS = 200
RETRY_MILLISECONDS = 2000


class Event(Struct, frozen=True):
    """One payload under its number."""

    number: int
    data: bytes

    def wire(self) -> bytes:
        """Return the event as it travels; JSON has no line break."""
        return b"id: %d\nevent: tick\ndata: %s\n\n" % (self.number, self.data)


class Subscriber:
    """The newest event that a page has not taken yet."""

    def __init__(self, last_number: int | None) -> None:
        self._newest: Event | None = None
        self._more = asyncio.Event()
        self._last = last_number

    def put(self, event: Event) -> None:
        """Offer an event; one that was not taken yet is dropped for it."""
        if event.number != self._last:
            self._newest = event
            self._more.set()

    async def next(self, timeout: float) -> Event | None:
        """Return the newest event, or None where there is none for `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._more.wait()
        self._more.clear()
        event, self._newest = self._newest, None
        if event is not None:
            self._last = event.number
        return event


class _Topic:
    def __init__(self, produce: Produce, work: Callable[[_Topic], Coroutine[Any, Any, None]]) -> None:
        self.produce = produce
        self.subscribers: set[Subscriber] = set()
        self.event: Event | None = None
        self.task = asyncio.create_task(work(self))


class Hub:
    """Topics that somebody looks at; one that nobody looks at any more costs nothing."""

    def __init__(self, tick: float = TICK_SECONDS) -> None:
        self._tick = tick
        self._topics: dict[str, _Topic] = {}
        self._numbered = 0

    @property
    def streams(self) -> int:
        """Open event streams."""
        return sum(len(topic.subscribers) for topic in self._topics.values())

    @property
    def is_full(self) -> bool:
        """Whether there are as many streams as may be."""
        return self.streams >= MOST_STREAMS

    def subscribe(self, key: str, produce: Produce, last_number: int | None) -> Subscriber:
        """Return a new subscriber of a topic, which gets the newest event at once unless it has it."""
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = _Topic(produce, self._work)
        subscriber = Subscriber(last_number)
        topic.subscribers.add(subscriber)
        if topic.event is not None:
            subscriber.put(topic.event)
        return subscriber

    def leave(self, key: str, subscriber: Subscriber) -> None:
        """Forget a subscriber, and its topic where it was the last."""
        topic = self._topics[key]
        topic.subscribers.discard(subscriber)
        if not topic.subscribers:
            del self._topics[key]
            topic.task.cancel()

    async def _work(self, topic: _Topic) -> None:
        before = b""
        while True:
            try:
                payload = await topic.produce()
            except UpswellError as error:
                payload = {"problem": safe(str(error))}
            except Exception:  # noqa: BLE001 - a page that shows an error is better than one that stands still
                _log.exception("dashboard.failed")
                payload = {"problem": "the dashboard failed; its log says how"}
            data = msgspec.json.encode(payload)
            if data != before:
                before = data
                self._numbered += 1
                topic.event = Event(self._numbered, data)
                for subscriber in topic.subscribers:
                    subscriber.put(topic.event)
            await asyncio.sleep(self._tick)


_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """The answer that stays open: events, pings, and an end when the page is gone or hangs."""

    def __init__(self, hub: Hub, key: str, produce: Produce, last_event_id: str | None) -> None:
        self._hub = hub
        self._key = key
        self._produce = produce
        given = last_event_id or ""
        self._last = int(given) if given.isascii() and given.isdigit() and len(given) < 18 else None  # noqa: PLR2004 - fits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the page is gone."""
        del scope
        gone = asyncio.create_task(_disconnected(receive))
        sending = asyncio.create_task(self._send_all(send))
        await asyncio.wait([gone, sending], return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, sending):
            task.cancel()
        for ended in await asyncio.gather(gone, sending, return_exceptions=True):
            if isinstance(ended, Exception) and not isinstance(ended, (OSError, TimeoutError)):
                raise ended

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS.copy()})
        subscriber = self._hub.subscribe(self._key, self._produce, self._last)
        try:
            await _send_within(send, b"retry: %d\n\n" % RETRY_MILLISECONDS)
            while True:
                event = await subscriber.next(PING_SECONDS)
                await _send_within(send, b": ping\n\n" if event is None else event.wire())
        finally:
            self._hub.leave(self._key, subscriber)


async def _send_within(send: Send, body: bytes) -> None:
    async with asyncio.timeout(HANGS_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
