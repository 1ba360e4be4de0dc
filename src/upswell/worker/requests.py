"""From a delivery to the request that a handler gets: checked, and with id and key filled in.

What comes in: a delivery, hostile until decoded. What goes out: an UploadRequest of this worker's
application, or a MessageError. The same message gives the same id and key at each attempt, so that an
upload done twice is stored once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from upswell import messages
from upswell.errors import MessageError
from upswell.messages import MAX_MESSAGE_BYTES, UploadRequest, check_app_id, decode
from upswell.workload.keys import default_key

if TYPE_CHECKING:
    import asyncio

    from upswell.broker.protocol import Delivery
    from upswell.handlers.protocol import Stored

_ID = re.compile(r"\A[\x21-\x7e]{1,128}\Z")  # as messages.RequestId


class Upload:
    """One upload in a worker's hands, with every delivery of it (more than one after a lost connection).

    `attempt` counts from 1; `delivered_at` is by the wall clock, `started` (delivered) and `running_since`
    are by the monotonic one.
    """

    __slots__ = (
        "attempt", "delivered_at", "deliveries", "identity", "is_counted", "is_overdue", "is_stored",
        "report", "request", "running_since", "started", "stored", "task", "timer",
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
        self.is_overdue = False
        self.is_stored = False
        self.stored: Stored | None = None
        self.report = b""
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def join(self, again: Upload) -> None:
        """Take over the delivery of an upload that turned out to be this one."""
        self.deliveries += again.deliveries
        self.attempt = max(self.attempt, again.attempt)


def read_request(delivery: Delivery, app_id: str) -> tuple[UploadRequest, bool]:
    """Return the request in a delivery, and whether its publisher gave it an id.

    Raises:
        MessageError: no UploadRequest, or one of another application than the worker's.
    """
    request = decode(UploadRequest, delivery.body)
    if request.app_id != app_id:
        raise MessageError(f"app_id must be this worker's, {app_id}, got {request.app_id}")
    if request.id is not None and request.key is not None:
        return request, True
    given = request.id or valid_id(delivery.message_id)
    own_id = given or messages.request_id(delivery.body)
    key = request.key or default_key(own_id, request.uri)
    return replace(request, id=own_id, key=key), given is not None


def valid_id(text: Any) -> str | None:
    """Return `text` when it can be a request's id."""
    return text if isinstance(text, str) and _ID.match(text) else None


def identity(request: UploadRequest) -> int:
    """Return a number that differs for two requests that ask for different things under one id."""
    return hash((request.uri, request.key, request.checksum, request.size_bytes))


def named_request(delivery: Delivery) -> tuple[bool, str | None]:
    """Return whether a refused message names a valid application at least, and its id where it has one."""
    found: dict[str, Any] = {}
    if len(delivery.body) <= MAX_MESSAGE_BYTES:
        try:
            found = msgspec.json.decode(delivery.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = {}
    try:
        check_app_id(found.get("app_id", ""))
    except (MessageError, TypeError):
        return False, None
    return True, valid_id(found.get("id")) or valid_id(delivery.message_id)
