"""What `status` knows of each application: from the journal, the broker, and the workers themselves.

In: a broker, settings, what workers said. Out: an `AppState` each. It shows nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.broker import QueueDepth, topology
from upswell.cli.connection import unique_name
from upswell.cli.journals import journal_path
from upswell.errors import MessageError
from upswell.journal import JournalEntry, JournalReader
from upswell.messages import WorkerStatus, decode

if TYPE_CHECKING:
    from upswell.broker import Broker, Delivery
    from upswell.settings import Settings

DECISIONS = 5


class AppState(Struct, frozen=True, kw_only=True):
    """All that is known of one application; None is "not known"."""

    app_id: str
    slo: str
    upload_queue: str
    depth: QueueDepth | None
    dead: int | None
    workers: dict[str, int]
    busy_slots: int
    slots: int
    latest: JournalEntry | None
    decisions: list[JournalEntry]
    price_per_worker_hour: float = 0.0


class Roster:
    """The newest status of each worker that spoke lately."""

    SILENT_SECONDS = 10.0

    def __init__(self) -> None:
        self._heard: dict[str, tuple[float, WorkerStatus]] = {}

    async def listen(self, broker: Broker) -> None:
        """Begin to take statuses, from a queue of our own."""
        queue = topology.status_queue("status", unique_name("cli"))
        await broker.declare(queue)

        def on_delivery(delivery: Delivery) -> None:
            broker.ack(delivery)
            self.take(delivery.body, time.monotonic())

        await broker.consume(queue.name, on_delivery, prefetch_count=1000)

    def take(self, body: bytes, now: float) -> None:
        """Note a status; what is none is let pass."""
        try:
            status = decode(WorkerStatus, body)
        except MessageError:
            return
        self._heard[status.worker_id] = (now, status)

    def workers(self, now: float) -> list[WorkerStatus]:
        """Return the newest status of each worker that has not stopped and is not silent."""
        return [
            status
            for at, status in self._heard.values()
            if status.state != "stopped" and now - at <= self.SILENT_SECONDS
        ]


async def look(broker: Broker, settings: Settings, apps: tuple[str, ...], roster: Roster) -> list[AppState]:
    """Return the state of each application: those named, else those of settings, journal and workers."""
    journal = JournalReader(journal_path(settings))
    workers = roster.workers(time.monotonic())
    known = {*settings.apps, *journal.applications(), *(worker.app_id for worker in workers)}
    return [
        await _look_at(broker, settings, journal, app, [w for w in workers if w.app_id == app])
        for app in apps or sorted(known)
    ]


async def _look_at(
    broker: Broker, settings: Settings, journal: JournalReader, app: str, workers: list[WorkerStatus]
) -> AppState:
    queue = settings.upload_queue_of(app)
    dead = await broker.depth(topology.dead_letter_queue(queue).name)
    latest = journal.latest(app)
    states = [worker.state for worker in workers]
    return AppState(
        app_id=app,
        slo=str(latest.snapshot.slo) if latest else settings.for_app(app).slo,
        upload_queue=queue,
        depth=await broker.depth(queue),
        dead=dead.messages_ready if dead else None,
        workers={state: states.count(state) for state in dict.fromkeys(states)},
        busy_slots=sum(worker.busy for worker in workers),
        slots=sum(worker.slots for worker in workers if worker.state == "ready"),
        latest=latest,
        decisions=journal.decisions(app, limit=DECISIONS, changed_only=True),
        price_per_worker_hour=settings.for_app(app).price_per_worker_hour,
    )
