"""The default handler: a file below the allowed roots into the store, streamed, verified, atomic.

What comes in: a request with id and key. What goes out: where its bytes are stored, or an UploadError. It
knows nothing of queues.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

from upswell.errors import PermanentUploadError, TemporaryUploadError
from upswell.handlers.protocol import ATTEMPT, MOVED, MovedBytes, Stored
from upswell.stores.addresses import Addresses
from upswell.stores.rate_limit import RateLimit
from upswell.stores.registry import SourceOpener, open_store
from upswell.stores.sources.expected_size import held_to
from upswell.traces.protocol import TRACE

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from upswell.handlers.threads import Threads
    from upswell.messages import UploadRequest
    from upswell.settings import Settings
    from upswell.traces.protocol import UploadTrace

UPLOAD_TYPES = frozenset(
    {
        "application", "archive", "audio", "data", "document", "file", "font", "image", "model", "text",
        "upload", "video",
    }
)  # fmt: skip
"""The types of request it takes, and every MIME type that begins with one of them (`video/mp4`).

They are all stored alike; any other type is more likely a mistake than a file.
"""


class UploadHandler:
    """Stores `file://` sources in a folder, `slots` at a time, all within one rate limit."""

    def __init__(
        self,
        settings: Settings,
        threads: Threads,
        on_bytes: Callable[[int], None] | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        """Open the store; `on_bytes` is called with each chunk that is moved, from a thread.

        Raises:
            SettingsError: the destination is no folder, or cannot be written to.
        """
        self._sources = SourceOpener(settings)
        self._store = open_store(settings)
        self._addresses = Addresses(settings.destination_path)
        self._limit = limit or RateLimit(settings.upload_rate_limit)
        self._threads = threads
        self._on_bytes = on_bytes

    async def __call__(self, request: UploadRequest) -> Stored:
        """Store the bytes behind `request.uri` under `request.key`."""
        check_type(request.type)
        stopped = threading.Event()
        again = ATTEMPT.get() > 1
        moved = MOVED.get() or MovedBytes()
        trace = TRACE.get()
        return await self._threads.call(
            lambda: self._upload(request, again, stopped, moved, trace), stop=stopped.set
        )

    def _upload(
        self,
        request: UploadRequest,
        again: bool,
        stopped: threading.Event,
        moved: MovedBytes,
        trace: UploadTrace | None,
    ) -> Stored:
        def pace(count: int) -> None:
            moved.count += count
            delay = self._limit.reserve(count)
            if stopped.wait(delay) if delay else stopped.is_set():
                raise TemporaryUploadError("the upload was stopped")
            if self._on_bytes is not None:
                self._on_bytes(count)

        assert request.key is not None
        with _traced(trace, "source"), self._sources.open(request.uri) as source, _traced(trace, "store"):
            stored = self._store.put(
                request.key,
                held_to(source, request.size_bytes),
                checksum=request.checksum,
                again=again,
                pace=pace,
                chunk_bytes=self._limit.chunk_bytes,
            )
        return Stored(request.key, stored.bytes, stored.checksum, self._addresses.of(request.key))


def _traced(trace: UploadTrace | None, part: str) -> AbstractContextManager[None]:
    """Return a span of a part of an upload, where it is traced: `source` is open while `store` takes."""
    return _NOT_TRACED if trace is None else trace.span(part)


_NOT_TRACED = nullcontext()


def check_type(kind: str) -> None:
    """Raise a PermanentUploadError unless `kind` is one of UPLOAD_TYPES or a MIME type of one."""
    if kind.partition("/")[0].lower() not in UPLOAD_TYPES:
        known = ", ".join(sorted(UPLOAD_TYPES))
        raise PermanentUploadError(
            f"type must be one of {known}, or a MIME type of one of them, got {kind[:80]!a}"
        )
