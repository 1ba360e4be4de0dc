"""Notes what a client sent in this machine's record, so that `upswell find` tells of it.

What comes in: requests that the broker has confirmed. What goes out: rows of `stored.sqlite`, written a
second later, together, in a thread: a program's loop waits for no disk. Where they cannot be written, the
uploads go on, and it is logged once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from upswell.errors import UpswellError
from upswell.events import get_logger
from upswell.publisher.stored_record import StoredRecord, record_path

if TYPE_CHECKING:
    from upswell.messages import UploadRequest
    from upswell.settings import Settings

_log = get_logger()

WRITE_SECONDS = 1.0
"""How long notes gather before they are written."""


class SentNotes:
    """All applications of one client; to be used in its loop."""

    def __init__(self, settings: Settings) -> None:
        self._path = record_path(settings)
        self._notes: defaultdict[str, list[UploadRequest]] = defaultdict(list)
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._failed = False

    def note(self, request: UploadRequest) -> None:
        """Take in a request that was sent."""
        if self._failed:
            return
        self._notes[request.app_id].append(request)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what is left."""
        self._closing.set()
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        """Write what was noted, and what is noted meanwhile."""
        while self._notes:
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._closing.wait()
            notes, self._notes = self._notes, defaultdict(list)
            try:
                await asyncio.to_thread(self._put, notes)
            except UpswellError as error:
                self._failed = True
                self._notes.clear()
                _log.warning("client.record_failed", error=error)

    def _put(self, notes: dict[str, list[UploadRequest]]) -> None:
        for app_id, requests in notes.items():
            with StoredRecord(self._path, app_id) as record:
                for request in requests:
                    record.sent(request)
            if record.error:
                raise UpswellError(record.error)
