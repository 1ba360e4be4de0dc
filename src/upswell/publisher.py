"""Upload requests -> queue, confirmed, many at a time; and the replies to them.

What comes in: requests (`read_requests` takes them from a file of JSON lines or a JSON list). What goes out:
messages in the upload queue, each safe on the broker's disk before it is counted. Publishing the same file
again publishes the same ids, hence the same objects: a crash half way is resumed by starting over. It does
not know what a worker does.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.broker.protocol import Message
from upswell.errors import UpswellError
from upswell.messages import MAX_MESSAGE_BYTES, encode
from upswell.workload.requests import Place, parse, split_list

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from upswell.broker import Broker
    from upswell.messages import UploadRequest

WINDOW = 1000
"""Messages published and not yet confirmed: enough to hide the fsync, little to repeat."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some editors begin a file with it; JSON does not know it."""


class Publisher:
    """Publishes to one upload queue, at most `window` messages ahead of the broker's confirms.

    `published` counts the confirmed ones. `reply_to` names the queue that workers copy their reports to.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        upload_queue: str,
        reply_to: str | None = None,
        window: int = WINDOW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.published = 0
        self._broker = broker
        self._upload_queue = upload_queue
        self._reply_to = reply_to
        self._clock = clock
        self._window = window
        self._unconfirmed: set[asyncio.Future[None]] = set()
        self._failure: BaseException | None = None
        self._progress = asyncio.Event()

    async def publish(self, request: UploadRequest) -> None:
        """Send a request, dated now; returns before it is confirmed, but waits while the window is full.

        Raises:
            BrokerError: this or an earlier message was refused.
        """
        while len(self._unconfirmed) >= self._window:
            await self._wait()
        self._check()
        body = encode(replace(request, published_at=self._clock()))
        confirm = self._broker.publish(
            Message(body=body, routing_key=self._upload_queue, message_id=request.id, reply_to=self._reply_to)
        )
        self._unconfirmed.add(confirm)
        confirm.add_done_callback(self._confirmed)

    async def flush(self) -> None:
        """Wait until everything published is confirmed.

        Raises:
            BrokerError: a message was refused.
        """
        await self.settle()
        self._check()

    async def settle(self) -> None:
        """Wait until the broker has confirmed or refused everything, whichever."""
        while self._unconfirmed:
            await self._wait()

    async def publish_all(
        self, requests: AsyncIterable[UploadRequest], pace: Iterator[float] | None = None
    ) -> int:
        """Publish all requests and wait for their confirms; return how many there were.

        Args:
            requests: asked for the next one only when there is room for it.
            pace: seconds since now at which to publish each; without it, as fast as the broker confirms. It
                ends the requests when it ends first.
        """
        start, count = time.monotonic(), 0
        async for request in requests:
            if pace is not None:
                due = next(pace, None)
                if due is None:
                    break
                await asyncio.sleep(max(0.0, start + due - time.monotonic()))
            await self.publish(request)
            count += 1
        await self.flush()
        return count

    def _confirmed(self, confirm: asyncio.Future[None]) -> None:
        self._unconfirmed.discard(confirm)
        if confirm.cancelled():
            return
        failure = confirm.exception()
        if failure is None:
            self.published += 1
        else:
            self._failure = self._failure or failure
        self._progress.set()

    async def _wait(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure


def read_requests(path: Path, *, app_id: str, repeat: int = 1, salt: str = "") -> Iterator[UploadRequest]:
    """Yield the requests of a file, a JSON list or JSON lines, the whole of it `repeat` times.

    JSON lines are read one at a time, so that a file of millions is never held in memory.

    Raises:
        UpswellError: the file cannot be read.
        MessageError: an entry is not valid; nothing after it is read.
    """
    for repetition in range(repeat):
        for place, entry in _entries(path, repetition):
            yield parse(entry, app_id=app_id, place=place, salt=salt)


def _entries(path: Path, repetition: int) -> Iterator[tuple[Place, bytes]]:
    try:
        with path.open("rb") as file:
            if _starts_a_list(file.peek(1024)):
                document = file.read().removeprefix(BYTE_ORDER_MARK)
                for position, entry in enumerate(split_list(document), 1):
                    yield Place(position, "entry", repetition), bytes(entry)
                return
            # A line is never read beyond the longest entry, lest one of gigabytes fill the memory.
            for position, line in enumerate(iter(lambda: file.readline(MAX_MESSAGE_BYTES + 2), b""), 1):
                if not line.isspace():
                    yield (
                        Place(position, "line", repetition),
                        line.rstrip(b"\r\n").removeprefix(BYTE_ORDER_MARK),
                    )
    except OSError as error:
        raise UpswellError(f"the request file must be readable: {path}: {error.strerror}") from error


def _starts_a_list(head: bytes) -> bool:
    return head.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[")


async def stream_requests(descriptor: int, *, app_id: str, salt: str = "") -> AsyncIterator[UploadRequest]:
    """Yield the requests of a stream of JSON lines (or of one JSON list), each as it arrives.

    Raises:
        MessageError: an entry is not valid; those before it were yielded.
    """
    head = await _read(descriptor)
    if _starts_a_list(head):
        chunks = [head.removeprefix(BYTE_ORDER_MARK)]
        while chunk := await _read(descriptor):
            chunks.append(chunk)
        for number, entry in enumerate(split_list(b"".join(chunks)), 1):
            yield parse(bytes(entry), app_id=app_id, place=Place(number, "entry"), salt=salt)
        return
    position = 0
    async for line in _lines(head.removeprefix(BYTE_ORDER_MARK), descriptor):
        position += 1
        if line.strip():
            yield parse(line, app_id=app_id, place=Place(position), salt=salt)


async def _lines(pending: bytes, descriptor: int) -> AsyncIterator[bytes]:
    """Yield the lines of a stream that begins with `pending`; a line beyond the longest entry ends it."""
    chunk = pending
    while chunk:
        *lines, pending = pending.split(b"\n")
        for line in lines:
            yield line
        if len(pending) > MAX_MESSAGE_BYTES:
            break
        chunk = await _read(descriptor)
        pending += chunk
    yield pending


async def _read(descriptor: int) -> bytes:
    """Return what a descriptor has, waiting until it has something; empty at its end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
        await ready.wait()
    except PermissionError:
        pass  # a regular file: it is always ready, and epoll does not take it
    finally:
        loop.remove_reader(descriptor)
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        raise UpswellError(f"the requests must be readable: {error.strerror}") from error


async def each(requests: Iterable[UploadRequest]) -> AsyncIterator[UploadRequest]:
    """Yield what an ordinary iterable yields, for `Publisher.publish_all`."""
    for request in requests:
        yield request
