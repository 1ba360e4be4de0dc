"""A path, a URI or a request -> a checked request with an id.

What comes in: what a program wants to upload. What goes out: a request whose id stays the same as long as the
thing stays the same (place, size and time of change), so that sent twice it is stored once.
"""

from __future__ import annotations

import os
import re
import stat
import time
from os import PathLike
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.errors import MessageError
from upswell.messages import UploadRequest, decode, encode
from upswell.publisher.items import Thing, request_of
from upswell.publisher.sources import local_path
from upswell.requests import id_of_parts, split_key
from upswell.stores.addresses import file_uri

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

Item = str | PathLike[str] | UploadRequest
"""What can be published: a path, a URI (`s3://bucket/key`, `https://...`), or a request."""

BATCH = 200
BATCH_SECONDS = 0.05
"""Requests that are handed on together; after that time they go with the next one that the iterable gives."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def request_for(item: Item, app_id: str, *, key: str | None = None, kind: str | None = None) -> UploadRequest:
    """Return the request to upload an item; the same item always gives the same request.

    Args:
        item: see `Item`.
        app_id: the application.
        key: the object's name in the store; None: the worker makes one of the request's id and its name.
        kind: its type; None: by its name's ending.

    Raises:
        MessageError: it cannot be uploaded; the message says the rule and the value.
        TypeError: it is no item.
    """
    if isinstance(item, UploadRequest):
        return _checked(item, app_id, key, kind)
    if not isinstance(item, str | PathLike):  # pyright: ignore[reportUnnecessaryIsInstance] - callers have no types
        raise TypeError(f"an item must be a path, a URI or an UploadRequest, got {type(item).__name__}")
    name = os.fspath(item)
    path = local_path(name) if isinstance(item, str) else name
    thing = Thing(uri=name, key=key) if path is None else _file(path, key)
    return request_of(thing, app_id=app_id, kind=kind)


def _checked(request: UploadRequest, app_id: str, key: str | None, kind: str | None) -> UploadRequest:
    if request.app_id != app_id:
        raise MessageError(f"app_id must be {app_id!r}, as published, got {request.app_id!r}")
    request = replace(request, key=key or request.key, type=kind or request.type, published_at=None)
    request = decode(UploadRequest, encode(request))  # a struct made by hand is not checked
    if request.key is not None:
        split_key(request.key)
    if request.id is not None:
        return request
    parts = (request.type, request.uri, request.key, request.size_bytes, request.checksum)
    return replace(request, id=id_of_parts(app_id, *parts))


def _file(path: str, key: str | None) -> Thing:
    absolute = os.path.abspath(path)  # noqa: PTH100 - not resolved: a worker follows no link
    try:
        status = os.stat(absolute, follow_symlinks=False)  # noqa: PTH116 - a name may be no text
    except (OSError, ValueError) as error:  # the latter: a NUL in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise MessageError(f"cannot publish {path}: {reason}") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise MessageError(f"an item must be a file, got {path}, which is {kind}")
    return Thing(uri=file_uri(absolute), key=key, size=status.st_size, version=str(status.st_mtime_ns))


def batches(
    items: Iterable[Item], app_id: str, kind: str | None, monotonic: Callable[[], float] = time.monotonic
) -> Iterator[list[UploadRequest]]:
    """Yield the requests of an ordinary iterable, never more than `BATCH` at once.

    Raises:
        MessageError: an item cannot be uploaded; those before it were yielded.
        TypeError: it is one item, or holds something else.
    """
    if isinstance(items, str | PathLike | UploadRequest):  # a string is an iterable, too
        raise TypeError(f"publish_many takes an iterable of items, got one item: {items!r}; use publish")
    batch: list[UploadRequest] = []
    since = monotonic()
    try:
        for item in items:
            batch.append(request_for(item, app_id, kind=kind))
            if len(batch) >= BATCH or monotonic() - since > BATCH_SECONDS:
                yield batch
                batch, since = [], monotonic()
    except Exception:  # whatever the program's own iterable raises
        yield batch
        raise
    yield batch


async def each_request(
    items: AsyncIterable[Item], app_id: str, kind: str | None
) -> AsyncIterator[UploadRequest]:
    """Yield the request of each item of an asynchronous iterable."""
    async for item in items:
        yield request_for(item, app_id, kind=kind)
