"""One upload in a worker's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.errors import MessageError
from upswell.handlers.protocol import MovedBytes
from upswell.messages import UploadInHand, UploadRequest, decode
from upswell.requests import complete
from upswell.traces.context import carried, ids

if TYPE_CHECKING:
    import asyncio

    from upswell.broker.protocol import Delivery
    from upswell.handlers.protocol import Stored
    from upswell.traces.otel import UploadTrace


class Upload:
    """One upload in a worker's hands, with every delivery of it (more than one after a lost connection).

    `attempt` counts from 1; `delivered_at` is by the wall clock, `started` (delivered) and `running_since`
    are by the monotonic one.
    """

    __slots__ = (
        "attempt", "delivered_at", "deliveries", "identity", "is_counted", "is_dead", "is_overdue",
        "is_stored", "moved", "report", "request", "running_since", "started", "stored", "task", "timer",
        "trace",
    )  # fmt: skip

    def __init__(
        self, delivery: Delivery, request: UploadRequest | None, delivered_at: float, started: float
    ) -> None:
        self.deliveries = [delivery]
        self.attempt = delivery.attempt
        self.request = request
        self.delivered_at = delivered_at
        self.started = started
        self.running_since = started
        self.identity: int | None = None
        self.is_counted = True  # as an attempt, when it is put back
        self.is_dead = False  # its dead letter is on its way, if not there
        self.is_overdue = False
        self.is_stored = False
        self.moved = MovedBytes()
        self.stored: Stored | None = None
        self.report = b""
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.trace: UploadTrace | None = None  # where traces are wanted

    def settles(self, other: Upload) -> bool:
        """Return whether what becomes of this upload is what becomes of another of the same identity, too.

        A dead letter can be published again before it is reported: from then on, this upload answers only for
        what it held already.
        """
        if not self.is_dead:
            return True
        # A new message is at its first attempt; a retried one that another worker gave back has a new date.
        again = other.deliveries[0]
        is_new = other.attempt == 1 and not again.redelivered
        return not is_new and any(delivery.body == again.body for delivery in self.deliveries)

    def join(self, again: Upload) -> None:
        """Take over the delivery of an upload that turned out to be this one."""
        self.deliveries += again.deliveries
        self.attempt = max(self.attempt, again.attempt)

    @property
    def trace_ids(self) -> dict[str, str]:
        """What a log line says of its trace: this worker's, else the one that its message carries."""
        return ids(carried(self.deliveries[0].headers)) if self.trace is None else self.trace.ids

    def described(self, now: float, *, runs: bool) -> UploadInHand:
        """Return what `upswell workers` shows of it at an instant of the monotonic clock."""
        request = self.request
        return UploadInHand(
            seconds=max(0.0, now - self.started),
            request_id=None if request is None else request.id,
            key=None if request is None or request.key is None else request.key[:1024],
            bytes=self.moved.count,
            size_bytes=None if request is None else request.size_bytes,
            attempt=self.attempt,
            waits=not runs,
        )


def read_request(delivery: Delivery, app_id: str) -> tuple[UploadRequest, bool]:
    """Return the request in a delivery with its id and key, and whether its publisher gave it an id.

    Raises:
        MessageError: not a valid UploadRequest, or one of another application than the worker's.
    """
    request = decode(UploadRequest, delivery.body)
    if request.app_id != app_id:
        raise MessageError(f"app_id must be this worker's, {app_id}, got {request.app_id}")
    return complete(request, delivery.message_id, delivery.body)
