"""How much a worker does at once, and how fast: its slots and its bandwidth follow what is measured.

What comes in: what was moved, the uploads in hand, the other workers' statuses. What goes out:
`uploads.slots` and the limit's rate. Both stay as they are where the settings say nothing of the kind.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from upswell.broker import topology
from upswell.broker.listening import listen
from upswell.errors import MessageError
from upswell.events import get_logger
from upswell.messages import WorkerStatus, decode
from upswell.worker.rate_share import RateShare
from upswell.worker.slots import SlotFinder

if TYPE_CHECKING:
    from upswell.broker.protocol import Broker, Delivery
    from upswell.settings import Settings
    from upswell.stores.rate_limit import RateLimit
    from upswell.worker.uploads import Uploads

_log = get_logger()


class Capacity:
    """The slots and the rate of one worker."""

    def __init__(
        self,
        *,
        app_id: str,
        worker_id: str,
        broker: Broker,
        settings: Settings,
        uploads: Uploads,
        limit: RateLimit,
    ) -> None:
        self._worker_id = worker_id
        self._broker = broker
        self._uploads = uploads
        self._limit = limit
        self._finder = SlotFinder(settings.initial_slots, settings.max_slots) if settings.auto_slots else None
        self._share: RateShare | None = None
        if self._finder is not None:
            uploads.slots = self._finder.slots
        if settings.app_rate_limit:
            self._share = RateShare(
                app_id,
                worker_id,
                limit=settings.app_rate_limit,
                own_limit=settings.upload_rate_limit,
                interval=settings.status_interval,
            )
            limit.set_rate(self._share.rate(time.monotonic(), 0))

    @property
    def moved_bytes(self) -> int:
        """Bytes moved since the worker started, of all uploads."""
        return self._limit.moved

    async def listen(self) -> None:
        """Hear how busy the application's other workers are, where they share a rate."""
        if self._share is not None:
            await listen(self._broker, topology.status_queue("rate", self._worker_id), self.on_status)

    def on_status(self, delivery: Delivery) -> None:
        """Take in a worker's status; an invalid one is reported by the monitor."""
        if self._share is not None:
            with suppress(MessageError):
                self._share.hear(decode(WorkerStatus, delivery.body), time.monotonic())

    def adapt(self) -> bool:
        """Set rate and slots by what was measured; return whether the slots changed."""
        now, busy = time.monotonic(), self._uploads.busy
        if self._share is not None:
            self._limit.set_rate(self._share.rate(now, busy))
        if self._finder is None:
            return False
        # A handler that moves no bytes of ours is measured by the uploads that it ends.
        moved = self._limit.moved or self._uploads.counts["stored"]
        before = self._uploads.slots
        self._uploads.slots = self._finder.observe(now, moved, busy)
        if self._uploads.slots == before:
            return False
        _log.info("worker.slots", worker_id=self._worker_id, slots=self._uploads.slots, before=before)
        return True
