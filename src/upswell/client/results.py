"""What a client returns: plain data, each field with its unit.

All text in it came through a queue or from a store, which anyone with the broker's password may write to:
show it, never run or trust it.
"""

from __future__ import annotations

from msgspec import Struct

from upswell.messages import UploadRequest, WorkerState


class UploadResult(Struct, frozen=True, kw_only=True):
    """An upload that is stored and verified.

    `url` is where (`file:///...`, `s3://bucket/key`), None where the handler does not tell. `response_time` =
    `waiting_time` (published to delivered) + `service_time` (delivered to stored), in seconds; they,
    `attempt` and `worker_id` are None where the reply was lost and the destination was asked.
    """

    request_id: str
    app_id: str
    url: str | None = None
    bytes: int | None = None
    checksum: str | None = None
    response_time: float | None = None
    waiting_time: float | None = None
    service_time: float | None = None
    attempt: int | None = None
    worker_id: str | None = None


class PublishCounts(Struct, frozen=True, kw_only=True):
    """How far a `publish_many` is, or how it ended.

    `published` counts what the broker has confirmed. The rest is known only with `wait=True`: `outstanding`
    are published and neither stored nor dead. `failures` has the name and the reason of the first hundred
    dead ones. `complete` says that nothing is left to do.
    """

    published: int
    seconds: float
    stored: int = 0
    stored_bytes: int = 0
    dead: int = 0
    failed_attempts: int = 0
    outstanding: int = 0
    failures: tuple[tuple[str, str], ...] = ()
    complete: bool = False


class AppStatus(Struct, frozen=True, kw_only=True):
    """One application's queue and workers; None: not known, which is not zero.

    `ready` uploads wait, `in_flight` are with workers, `dead` are in the dead-letter queue. `workers` counts
    those whose status was heard, by state; `busy` of their `slots` run an upload.
    """

    app_id: str
    ready: int | None
    in_flight: int | None
    dead: int | None
    consumers: int | None
    workers: dict[WorkerState, int]
    busy: int
    slots: int


class DeadUpload(Struct, frozen=True, kw_only=True):
    """A request in the dead-letter queue: why it is there and since when (UTC seconds; None: not told).

    `request` is None where the message is no valid request.
    """

    id: str
    reason: str
    died_at: float | None
    request: UploadRequest | None
