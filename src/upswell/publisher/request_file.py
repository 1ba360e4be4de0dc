"""Request files and streams -> upload requests with ids, one at a time.

What comes in: a file of lines (JSON, or URIs and paths) or of one JSON list, or a descriptor that yields one
as it is written; hostile until checked. What goes out: each entry and its place, or the request it asks for.
The same entry at the same place gets the same id, hence the same object: a crash half way is resumed by
starting over.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from msgspec import Raw, Struct

from upswell.errors import MessageError, UpswellError
from upswell.messages import MAX_MESSAGE_BYTES, UploadRequest
from upswell.requests import id_of_parts, valid_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some editors begin a file with it; JSON does not know it."""


_objects = msgspec.json.Decoder(dict[str, Any])
_lists = msgspec.json.Decoder(list[Raw])


class Place(Struct, frozen=True):
    """Where an entry stands: its `unit` ("line" or "entry") counted from 1, and the round of `--repeat`."""

    position: int
    unit: str = "line"
    repetition: int = 0

    def __str__(self) -> str:
        """Return the place as an error names it."""
        return f"{self.unit} {self.position}"


def parse(entry: bytes, *, app_id: str, place: Place, salt: str = "") -> UploadRequest:
    """Return the request that an entry asks for; `app_id` is filled in, and an id made where none is given.

    Args:
        entry: one JSON object with at least `type` and `uri`.
        app_id: the application; an entry that names another is refused.
        place: part of the id, so that two equal entries are two uploads.
        salt: another salt gives other ids, that is, uploads the same file again.

    Raises:
        MessageError: the place, the rule and the value.
    """
    if len(entry) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{place}: an entry must be at most {MAX_MESSAGE_BYTES} bytes, got {len(entry)}")
    try:
        fields = _objects.decode(entry)
        named = fields.setdefault("app_id", app_id)
        request = msgspec.convert(fields, UploadRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        excerpt = ascii(entry[:80].decode("utf-8", "replace"))
        raise MessageError(f"{place}: not a valid upload request: {error}; got {excerpt}") from error
    if named != app_id:
        raise MessageError(f"{place}: app_id must be {app_id!r}, as published, got {named!r}")
    return msgspec.structs.replace(request, id=_id(request, place, salt), published_at=None)


def split_list(document: bytes) -> list[Raw]:
    """Return the entries of a JSON list, each still JSON.

    Raises:
        MessageError: it is no JSON list.
    """
    try:
        return _lists.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"a request file must be a JSON list or JSON lines: {error}") from error


def _id(request: UploadRequest, place: Place, salt: str) -> str:
    """Return the given id (each repetition has its own), or one made of entry, place and salt."""
    if request.id is not None:
        given = f"{request.id}.{place.repetition}" if place.repetition else request.id
        if not valid_id(given):
            raise MessageError(f"{place}: an id must be at most 128 characters, got {given!r}")
        return given
    return id_of_parts(
        request.app_id, request.type, request.uri, request.key, request.size_bytes, request.checksum,
        place.position, place.repetition, salt,
    )  # fmt: skip


def read_requests(path: Path, *, app_id: str, repeat: int = 1, salt: str = "") -> Iterator[UploadRequest]:
    """Yield the requests of a file, a JSON list or JSON lines, the whole of it `repeat` times.

    Raises:
        UpswellError: the file cannot be read.
        MessageError: an entry is not valid; nothing after it is read.
    """
    for place, entry in read_entries(path, repeat=repeat):
        yield parse(entry, app_id=app_id, place=place, salt=salt)


def read_entries(path: Path, *, repeat: int = 1) -> Iterator[tuple[Place, bytes]]:
    """Yield the entries of a file and their places, the whole of it `repeat` times.

    Lines are read one at a time, so that a file of millions is never held in memory.

    Raises:
        UpswellError: the file cannot be read.
        MessageError: it begins like a JSON list and is invalid.
    """
    for repetition in range(repeat):
        try:
            with path.open("rb") as file:
                if _starts_a_list(file.peek(1024)):
                    yield from _listed(file.read(), repetition)
                else:
                    yield from _lined(file, repetition)
        except (OSError, ValueError) as error:  # the latter: a name with a NUL in it
            reason = error.strerror if isinstance(error, OSError) else error
            raise UpswellError(f"cannot read {path}: {reason}") from error


def _listed(document: bytes, repetition: int = 0) -> Iterator[tuple[Place, bytes]]:
    for position, entry in enumerate(split_list(document.removeprefix(BYTE_ORDER_MARK)), 1):
        yield Place(position, "entry", repetition), bytes(entry)


def _lined(file: BinaryIO, repetition: int) -> Iterator[tuple[Place, bytes]]:
    # A line is never read beyond the longest entry, lest one of gigabytes fill the memory.
    for position, line in enumerate(iter(lambda: file.readline(MAX_MESSAGE_BYTES + 2), b""), 1):
        if not line.isspace():
            yield Place(position, "line", repetition), line.rstrip(b"\r\n").removeprefix(BYTE_ORDER_MARK)


def _starts_a_list(head: bytes) -> bool:
    return head.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[")


async def stream_entries(
    descriptor: int, *, separator: bytes = b"\n"
) -> AsyncIterator[list[tuple[Place, bytes]]]:
    """Yield the entries of a stream and their places, as many at a time as arrive together.

    Raises:
        UpswellError: the stream cannot be read.
        MessageError: it begins like a JSON list and is invalid.
    """
    head = await _read(descriptor)
    if _starts_a_list(head) and separator == b"\n":
        chunks = [head]
        while chunk := await _read(descriptor):
            chunks.append(chunk)
        yield list(_listed(b"".join(chunks)))
        return
    position = 0
    async for lines in _lines(head.removeprefix(BYTE_ORDER_MARK), descriptor, separator):
        yield [(Place(number), line) for number, line in enumerate(lines, position + 1) if line.strip()]
        position += len(lines)


async def _lines(pending: bytes, descriptor: int, separator: bytes) -> AsyncIterator[list[bytes]]:
    """Yield the lines of a stream that begins with `pending`; a line beyond the longest entry ends it."""
    chunk = pending
    while chunk:
        *lines, pending = pending.split(separator)
        yield lines
        if len(pending) > MAX_MESSAGE_BYTES:
            break
        chunk = await _read(descriptor)
        pending += chunk
    yield [pending]


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
        raise UpswellError(f"cannot read the requests: {error.strerror}") from error
