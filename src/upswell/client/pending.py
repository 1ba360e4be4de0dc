"""Uploads that somebody may wait for, and the replies that end them.

What comes in: requests as they are sent, and deliveries of the reply queue. What goes out: each upload's end.
An upload that nobody holds any more is forgotten, so memory is bounded by what the program holds.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from msgspec import convert

from upswell.client.results import UploadResult
from upswell.messages import NO_REASON
from upswell.publisher.replies import report_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker import Delivery
    from upswell.messages import UploadReport, UploadRequest


class Pending:
    """One published upload: `ended` is set once `result` or `reason` is there, or the client was closed.

    `published_at` is by the wall clock, as in the request itself. `last_sign` is when the broker confirmed it
    or a worker reported on it, by the monotonic one; before, nothing is missing.
    """

    def __init__(self, request: UploadRequest, published_at: float) -> None:
        self.request = request
        self.published_at = published_at
        self.last_sign = math.inf
        self.ended = asyncio.Event()
        self.result: UploadResult | None = None
        self.reason: str | None = None
        self.failed_attempt: int = 0
        self.last_failure = ""

    @property
    def id(self) -> str:
        """The request's id."""
        assert self.request.id is not None
        return self.request.id

    def store(self, result: UploadResult) -> None:
        """End it as stored."""
        if not self.ended.is_set():
            self.result = result
            self.ended.set()

    def fail(self, reason: str) -> None:
        """End it as dead, or as lost."""
        if not self.ended.is_set():
            self.reason = reason
            self.ended.set()

    def take(self, report: UploadReport, now: float) -> None:
        """Take a worker's report on one attempt."""
        self.last_sign = now
        if report.outcome == "stored":
            self.store(convert(report, UploadResult, from_attributes=True))
        elif report.outcome == "dead":
            self.fail(report.reason or NO_REASON)
        else:
            self.failed_attempt = report.attempt
            self.last_failure = report.reason or NO_REASON


class PendingUploads:
    """The uploads that somebody holds, by application and id."""

    def __init__(self, monotonic: Callable[[], float], clock: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._clock = clock
        self._held: WeakValueDictionary[tuple[str, str], Pending] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._held)

    def of(self, app_id: str) -> list[Pending]:
        """Return the uploads of an application that have not ended."""
        return [
            pending
            for (named, _), pending in list(self._held.items())
            if named == app_id and not pending.ended.is_set()
        ]

    def expect(self, request: UploadRequest) -> Pending:
        """Return the upload of a request that is about to be sent; sent again meanwhile, it is one upload."""
        assert request.id is not None
        pending = self._held.get((request.app_id, request.id))
        if pending is None or pending.ended.is_set():
            pending = Pending(request, self._clock())
            self._held[request.app_id, request.id] = pending
        return pending

    def confirmed(self, pending: Pending) -> None:
        """Note that the broker has a request safe: from now on a reply may be missed."""
        pending.last_sign = self._monotonic()

    def take(self, delivery: Delivery) -> None:
        """Take a delivery of the reply queue; what is no report on one of ours is let pass."""
        report = report_in(delivery)
        pending = report and self._held.get((report.app_id, report.request_id or ""))
        if report and pending:
            pending.take(report, self._monotonic())

    def close(self) -> None:
        """End the waiting for all of them, undecided."""
        for pending in list(self._held.values()):
            pending.ended.set()
