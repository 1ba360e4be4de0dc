"""The default handler: a source into the store, streamed, verified, atomic.

What comes in: a request with id and key. What goes out: where its bytes are stored, or an UploadError. It
knows nothing of queues.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from upswell.errors import PermanentUploadError
from upswell.handlers.context import Context, Workplace
from upswell.handlers.protocol import ATTEMPT, Stored
from upswell.stores.registry import open_store
from upswell.stores.sources.expected_size import held_to
from upswell.traces import TRACE

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from upswell.handlers.threads import Threads
    from upswell.messages import UploadRequest
    from upswell.settings import Settings
    from upswell.stores.rate_limit import RateLimit
    from upswell.traces.otel import UploadTrace

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
    """Stores sources in the destination, `slots` at a time, all within one rate limit."""

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
        self._workplace = Workplace(settings, threads, limit)
        self._store = open_store(settings)
        self._on_bytes = on_bytes

    async def __call__(self, request: UploadRequest) -> Stored:
        """Store the bytes behind `request.uri` under `request.key`."""
        check_type(request.type)
        context = Context(request, self._workplace, on_bytes=self._on_bytes)
        again, trace = ATTEMPT.get() > 1, TRACE.get()
        return await self._workplace.threads.call(
            lambda: self._upload(context, again, trace), stop=context.stop
        )

    def _upload(self, context: Context, again: bool, trace: UploadTrace | None) -> Stored:
        request, place = context.request, self._workplace
        assert request.key is not None
        with _traced(trace, "source"), place.sources.open(request.uri) as source, _traced(trace, "store"):
            stored = self._store.put(
                request.key,
                held_to(source, request.size_bytes),
                checksum=request.checksum,
                again=again,
                pace=context.progress,
                chunk_bytes=place.limit.chunk_bytes,
            )
        return Stored(request.key, stored.bytes, stored.checksum, place.addresses.of(request.key))


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
