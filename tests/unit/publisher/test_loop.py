"""The publisher against a broker that confirms when the test says so."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from upswell.errors import MessageError, UnroutableError, UpswellError
from upswell.messages import UploadRequest, decode
from upswell.publisher import Publisher, each, read_requests
from upswell.publisher.request_file import parse, stream_entries

if TYPE_CHECKING:
    from pathlib import Path

    from upswell.broker import Message


class Confirms:
    """A broker's publishing side: it keeps messages, and confirms those that the test picks."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.futures: list[asyncio.Future[None]] = []

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Keep a message, unconfirmed."""
        self.messages.append(message)
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    async def has_got(self, count: int) -> None:
        """Give the publisher its turns until it has published `count` messages."""
        for _ in range(1000):
            if len(self.messages) >= count:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"published {len(self.messages)}, not {count}")


def request(number: int) -> UploadRequest:
    return UploadRequest(app_id="e1", type="image", uri=f"file:///{number}", id=f"r{number}")


def test_publisher_runs_ahead_of_the_confirms_by_its_window_and_no_further() -> None:
    async def scenario() -> None:
        broker = Confirms()
        publisher = Publisher(broker=broker, upload_queue="e1_upload", window=3)
        task = asyncio.create_task(publisher.publish_all(each(request(n) for n in range(5))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(broker.messages) == 3
        broker.futures[1].set_result(None)  # confirms may come in any order
        await broker.has_got(4)
        assert publisher.published == 1
        assert not task.done()
        while not task.done():
            for future in broker.futures:
                if not future.done():
                    future.set_result(None)
            await asyncio.sleep(0)
        assert await task == 5
        assert publisher.published == 5

    asyncio.run(scenario())


def test_a_request_is_dated_when_it_is_published_and_carries_its_id_and_where_to_reply() -> None:
    async def scenario() -> None:
        broker = Confirms()
        publisher = Publisher(
            broker=broker, upload_queue="e1_upload", reply_to="upswell.reply.x", clock=lambda: 1234.5
        )
        await publisher.publish(request(1))
        message = broker.messages[0]
        assert (message.routing_key, message.message_id, message.reply_to) == (
            "e1_upload",
            "r1",
            "upswell.reply.x",
        )
        assert message.persistent
        assert message.mandatory
        sent = decode(UploadRequest, message.body)
        assert (sent.id, sent.published_at) == ("r1", 1234.5)

    asyncio.run(scenario())


def test_a_refused_message_is_an_error_and_the_confirmed_ones_are_counted() -> None:
    async def scenario() -> None:
        broker = Confirms()
        publisher = Publisher(broker=broker, upload_queue="e1_upload")
        await publisher.publish(request(1))
        await publisher.publish(request(2))
        broker.futures[0].set_result(None)
        broker.futures[1].set_exception(UnroutableError("no queue took it"))
        with pytest.raises(UnroutableError):
            await publisher.flush()
        assert publisher.published == 1
        with pytest.raises(UnroutableError):
            await publisher.publish(request(3))

    asyncio.run(scenario())


def test_pace_ends_the_publishing() -> None:
    async def scenario() -> None:
        broker = Confirms()
        publisher = Publisher(broker=broker, upload_queue="e1_upload")
        task = asyncio.create_task(
            publisher.publish_all(each(request(n) for n in range(5)), pace=iter([0.0, 0.0]))
        )
        await broker.has_got(2)
        for future in broker.futures:
            future.set_result(None)
        assert await task == 2

    asyncio.run(scenario())


ENTRIES = [{"type": "image", "uri": f"file:///{name}"} for name in "abc"]
LINES = "\n".join(json.dumps(entry) for entry in ENTRIES)


@pytest.mark.parametrize(
    "text",
    [json.dumps(ENTRIES), json.dumps(ENTRIES, indent=4), LINES, f"\n{LINES}\n\n", f"\ufeff{LINES}\r\n"],
)
def test_a_request_file_is_a_list_or_lines(tmp_path: Path, text: str) -> None:
    path = tmp_path / "requests"
    path.write_text(text, newline="")
    assert [r.uri for r in read_requests(path, app_id="e1")] == ["file:///a", "file:///b", "file:///c"]


def test_a_repeated_file_is_repeated_as_a_whole_with_ids_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "requests"
    path.write_text(LINES)
    found = list(read_requests(path, app_id="e1", repeat=2))
    assert [r.uri[-1] for r in found] == list("abcabc")
    assert len({r.id for r in found}) == 6
    assert [r.id for r in found] == [r.id for r in read_requests(path, app_id="e1", repeat=2)]


def test_a_line_that_never_ends_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "requests"
    with path.open("wb") as file:
        file.write(b'{"type": "')
        file.truncate(10 * 1024**3)  # sparse: ten GiB that take no space
    with pytest.raises(MessageError, match="line 1: an entry must be at most 1048576 bytes"):
        list(read_requests(path, app_id="e1"))


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UpswellError, match=r"cannot read .*missing: No such file"):
        list(read_requests(tmp_path / "missing", app_id="e1"))


def feed(*chunks: bytes) -> list[UploadRequest]:
    """Return what a stream yields that delivers these chunks."""

    async def scenario() -> list[UploadRequest]:
        reading, writing = os.pipe()

        async def write() -> None:
            for chunk in chunks:
                os.write(writing, chunk)
                await asyncio.sleep(0)
            os.close(writing)

        task = asyncio.create_task(write())
        try:
            return [
                parse(entry, app_id="e1", place=place)
                async for entries in stream_entries(reading)
                for place, entry in entries
            ]
        finally:
            await task
            os.close(reading)

    return asyncio.run(scenario())


def test_a_stream_yields_each_line_whole_however_it_is_cut() -> None:
    text = LINES.encode()
    assert [r.uri[-1] for r in feed(text[:20], text[20:60], text[60:])] == list("abc")
    assert [r.uri[-1] for r in feed(json.dumps(ENTRIES).encode())] == list("abc")
    assert feed() == []


def test_a_line_and_a_stream_of_the_same_entries_give_the_same_ids(tmp_path: Path) -> None:
    path = tmp_path / "requests"
    path.write_text(LINES)
    assert [r.id for r in feed(LINES.encode())] == [r.id for r in read_requests(path, app_id="e1")]


def test_a_stream_yields_a_line_before_the_next_is_there() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        stream = stream_entries(reading)
        first = LINES.encode().split(b"\n")[0]
        os.write(writing, first + b"\n")
        assert [entry for _, entry in await anext(stream)] == [first]
        os.close(writing)
        assert [entry async for entries in stream for _, entry in entries] == []
        os.close(reading)

    asyncio.run(scenario())


def test_a_bad_line_ends_a_stream_with_its_number() -> None:
    with pytest.raises(MessageError, match="line 2: "):
        feed(LINES.encode().split(b"\n")[0] + b"\nrubbish\n")
