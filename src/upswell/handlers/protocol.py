"""What a handler promises."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from upswell.messages import UploadRequest


ATTEMPT: ContextVar[int] = ContextVar("ATTEMPT", default=1)
"""Which attempt at its upload a handler is called for, from 1: set by the worker around each call."""


class MovedBytes:
    """How many bytes of one attempt have moved; written by the thread that moves them."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


MOVED: ContextVar[MovedBytes | None] = ContextVar("MOVED", default=None)
"""Where a handler counts the bytes of its call: set by the worker around each call, for `upswell workers`."""


class Stored(Struct, frozen=True):
    """What was stored: where, how many bytes, and their checksum (`sha256:` and 64 hex digits).

    `url` is the object's address, for whoever published it; it must hold no secret.
    """

    key: str
    bytes: int
    checksum: str | None = None
    url: str | None = None


class Handler(Protocol):
    """Does what a request asks; called once for each delivery, `slots` at a time.

    A handler that returns has the object stored and verified; None means that it has nothing to tell of it.
    """

    async def __call__(self, request: UploadRequest) -> Stored | None:
        """Upload what `request` names; `request.id` and `request.key` are always filled in.

        Raises:
            TemporaryUploadError: try again later. Any exception that is no UploadError counts as temporary
            too. PermanentUploadError: never try again; its message is the reason in the dead-letter queue.
        """
        ...
