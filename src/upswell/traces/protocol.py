"""What a publisher and a worker ask of a tracer; none of them knows which one there is."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from upswell.messages import Outcome, UploadRequest
    from upswell.traces.context import Carried


class UploadTrace(Protocol):
    """One attempt of a worker at an upload."""

    @property
    def ids(self) -> dict[str, str]:
        """`trace_id` and `span_id`, for log lines."""
        ...

    def enter(self) -> None:
        """Make it what the running task does: spans and log lines of the handler belong to it."""
        ...

    def span(self, name: str) -> AbstractContextManager[None]:
        """Return a context that lasts as long as a part of it; may be used in any thread."""
        ...

    def reports(self, outcome: Outcome, reason: str | None, stored_bytes: int | None) -> None:
        """Take note of how the attempt ended; what is stored or dead is reported from now on."""
        ...

    def end(self) -> None:
        """End it: it is acknowledged, or back in the queue."""
        ...


class UploadTracer(Protocol):
    """Begins traces."""

    def sent(self, queue: str, request: UploadRequest) -> tuple[Carried, Callable[[object], None]]:
        """Return the context for a message's headers, and what to call when it is confirmed."""
        ...

    def begin(
        self, queue: str, request: UploadRequest, context: Carried, attempt: int, delivered_at: float
    ) -> UploadTrace:
        """Return the trace of an attempt that begins at `delivered_at` (UTC seconds since 1970)."""
        ...


TRACE: ContextVar[UploadTrace | None] = ContextVar("TRACE", default=None)
"""The trace of the upload that a handler is called for; None: none is wanted."""
