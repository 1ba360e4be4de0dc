"""Who works: the workers' statuses, as whoever asks hears them."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from upswell.broker import Message, topology
from upswell.broker.connecting import unique_name
from upswell.broker.listening import listen
from upswell.errors import BrokerError, MessageError
from upswell.messages import WorkerCommand, WorkerStatus, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.broker import Broker
    from upswell.messages import CommandName, UploadInHand

RATE_SECONDS = 15.0
"""A rate is the mean of the last so many seconds, up to twice that."""

MAX_HEARD = 100_000
"""Workers remembered at most, whatever is sent."""


class Roster:
    """The newest status of each recently heard worker."""

    SILENT_SECONDS = 10.0

    def __init__(self) -> None:
        self._heard: dict[str, tuple[float, WorkerStatus]] = {}
        self._before: dict[str, tuple[WorkerStatus, WorkerStatus]] = {}  # what a rate is since, and will be
        self._uploads: dict[str, tuple[UploadInHand, ...]] = {}
        self._forgot_at = -math.inf

    async def listen(self, broker: Broker) -> None:
        """Start receiving statuses from a private queue."""
        queue = topology.status_queue("status", unique_name("cli"))
        await listen(broker, queue, lambda status: self.take(status.body, time.monotonic()))

    def take(self, body: bytes, now: float) -> None:
        """Record a status; ignore invalid ones."""
        try:
            status = decode(WorkerStatus, body)
        except MessageError:
            return
        worker_id = status.worker_id
        if worker_id not in self._heard and len(self._heard) >= MAX_HEARD and not self._forget_silent(now):
            return
        self._heard[worker_id] = (now, status)
        since, later = self._before.get(worker_id, (status, status))
        if (status.moved_bytes or 0) < (later.moved_bytes or 0):  # begun anew under the same id
            since = later = status
        elif status.at - later.at >= RATE_SECONDS:
            since, later = later, status
        self._before[worker_id] = since, later
        if status.uploads is not None:
            self._uploads[worker_id] = status.uploads

    def _forget_silent(self, now: float) -> bool:
        """Forget whom nothing was heard of lately; return whether there was any."""
        if now - self._forgot_at <= self.SILENT_SECONDS:  # at most so often: it looks at all of them
            return False
        self._forgot_at = now
        silent = [worker_id for worker_id, (at, _) in self._heard.items() if now - at > self.SILENT_SECONDS]
        for worker_id in silent:
            del self._heard[worker_id], self._before[worker_id]
            self._uploads.pop(worker_id, None)
        return bool(silent)

    def workers(self, now: float) -> list[WorkerStatus]:
        """Return the newest status of each worker that is neither stopped nor silent."""
        return [
            status
            for at, status in self._heard.values()
            if status.state != "stopped" and now - at <= self.SILENT_SECONDS
        ]

    def uploads(self, worker_id: str) -> tuple[UploadInHand, ...] | None:
        """Return the uploads that a worker listed when it was last told to `describe`; None: it did not."""
        return self._uploads.get(worker_id)

    def bytes_per_second(self, worker_id: str) -> float | None:
        """Return a worker's mean rate over the last seconds, `2 * RATE_SECONDS` at most; None: not told."""
        if worker_id not in self._heard:
            return None
        (first, _), (_, newest) = self._before[worker_id], self._heard[worker_id]
        if first.moved_bytes is None or newest.moved_bytes is None or newest.at <= first.at:
            return None
        return max(0, newest.moved_bytes - first.moved_bytes) / (newest.at - first.at)


def listen_seconds(status_interval: float) -> float:
    """Return how long to listen: every worker sends one status per interval, and may be a little late."""
    return status_interval + max(0.3 * status_interval, 0.5)


async def listen_to_workers(broker: Broker, status_interval: float) -> Roster:
    """Return a roster on which every worker has had the time to be heard."""
    roster = Roster()
    await roster.listen(broker)
    await asyncio.sleep(listen_seconds(status_interval))
    return roster


async def describe_uploads(broker: Broker, status_interval: float) -> Roster:
    """Return such a roster, once each worker heard has been asked for its uploads in hand."""
    roster = await listen_to_workers(broker, status_interval)
    await tell(broker, [worker.worker_id for worker in roster.workers(time.monotonic())], "describe")
    await asyncio.sleep(status_interval)
    return roster


async def tell(broker: Broker, worker_ids: Iterable[str], command: CommandName) -> None:
    """Send a command to workers; one that has gone meanwhile is let pass."""
    body = encode(WorkerCommand(command=command, sent_at=time.time()))
    sent = [
        broker.publish(Message(body=body, routing_key=topology.control_queue(worker_id).name))
        for worker_id in worker_ids
    ]
    for confirm in sent:
        try:
            await confirm
        except BrokerError:
            continue
