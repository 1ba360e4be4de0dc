"""What the scaler receives and sends over the broker: scale requests and statuses in, commands out.

What comes in: deliveries, hostile until decoded. What goes out: the newest request of each application, the
newest status of each worker, and the newest command to it. It must not know fleets, nor what is done about
any of it.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from upswell.broker import topology
from upswell.broker.declaring import declare_upload_queues
from upswell.broker.protocol import Message
from upswell.errors import BrokerError, MessageError
from upswell.events import get_logger
from upswell.messages import CommandName, M, ScaleRequest, WorkerCommand, WorkerStatus, decode, encode
from upswell.scaler.phases import ReceivedStatus, SentCommand
from upswell.scaler.targets import NewestRequests, is_future

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from upswell.broker.protocol import Broker, Delivery
    from upswell.settings import Settings

_log = get_logger()

_REQUEST_PREFETCH, _STATUS_PREFETCH = 100, 1000

_MAX_WARNINGS = 100
_WARN_AGAIN_SECONDS = 60.0

_PROBE_SECONDS = 2.0
"""A broker that takes longer to answer with a queue's depth counts as unreachable."""

_STRANGER_SECONDS = 60.0
"""How long the status of a worker is kept that no fleet lists: it may have been started a moment ago."""

STANDSTILL_SECONDS = 10.0
"""A longer gap between two rounds: this process stood still or the clock was set; silence says nothing."""

MAX_HEARD = 100_000
"""Statuses kept at most, whatever is sent."""


class ScalerMessaging:
    """The scaler's queues.

    `listening_since`: since when no status can have been missed; silence from before says nothing.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        name: str,
        *,
        changed: asyncio.Event,
        clock: Callable[[], float],
        on_request: Callable[[str], None] | None = None,
    ) -> None:
        """Set `changed` whenever something has come in that may need doing at once.

        Where there is `on_request`, it is called with the application of each request that counts instead.
        """
        self.requests = NewestRequests(settings.decision_interval)
        self.heard: dict[str, ReceivedStatus] = {}
        self.told: dict[str, SentCommand] = {}
        self._broker = broker
        self._settings = settings
        self.apps = frozenset(settings.apps)
        self._requests_from = topology.scaling_queue("scaler", name, settings.report_queue)
        self._statuses_from = topology.status_queue("scaler", name)
        self._changed = changed
        self._on_request = on_request
        self._clock = clock
        self.listening_since = clock()
        self._last_round: float | None = None
        self._unknown_apps: set[str] = set()
        self._warned_of_future = -math.inf

    async def open(self) -> None:
        """Declare the queues and begin to listen."""
        await self._broker.declare(self._requests_from)
        await self._broker.declare(self._statuses_from)
        await declare_upload_queues(self._broker, self._settings)
        await self._broker.consume(self._statuses_from.name, self.on_status, prefetch_count=_STATUS_PREFETCH)
        await self._broker.consume(
            self._requests_from.name, self.on_request, prefetch_count=_REQUEST_PREFETCH
        )
        self.listening_since = self._clock()

    async def probe(self, now: float) -> bool:
        """Return whether the broker answers: while it does not, silence says nothing."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._broker.depth(self._requests_from.name, in_flight=False)
        except (TimeoutError, BrokerError):
            self.listening_since = now
            return False
        return True

    def on_request(self, delivery: Delivery) -> None:
        """Take a scale request."""
        request = self._decoded(ScaleRequest, delivery)
        if request is None:
            return
        if request.app_id not in self.apps:
            self._warn_of_unknown(request.app_id)
            return
        now = self._clock()
        self._warn_of_future(request, now)
        if self.requests.offer(request, now):
            if self._on_request is None:
                self._changed.set()
            else:
                self._on_request(request.app_id)

    def on_status(self, delivery: Delivery) -> None:
        """Take a worker's status."""
        status = self._decoded(WorkerStatus, delivery)
        if status is None:
            return
        before = self.heard.get(status.worker_id)
        if before is None and len(self.heard) >= MAX_HEARD:
            return
        self.heard[status.worker_id] = ReceivedStatus(
            status.state, status.busy, self._clock(), status.app_id, status.started_at or 0.0
        )
        if before is None or before.state != status.state:
            self._changed.set()

    def send(self, worker_id: str, command: CommandName) -> None:
        """Send a worker a command; whether it obeys shows in its status."""
        now = self._clock()
        self.told[worker_id] = told = SentCommand(command, now)
        body = encode(WorkerCommand(command=command, sent_at=now))
        sent = self._broker.publish(Message(body=body, routing_key=topology.control_queue(worker_id).name))
        sent.add_done_callback(partial(self._on_sent, worker_id, told))

    def note_signal(self, worker_id: str) -> None:
        """Remember that a worker was asked by SIGTERM to drain: it is never asked so twice."""
        self.told[worker_id] = SentCommand("drain", self._clock(), by_signal=True)

    def forget(self, worker_id: str) -> None:
        """Drop what is known of a worker that has gone."""
        self.heard.pop(worker_id, None)
        self.told.pop(worker_id, None)

    def prune(self, listed: Collection[str], now: float) -> None:
        """Drop what is known of workers that no fleet lists."""
        for worker_id in [w for w in self.told if w not in listed]:
            del self.told[worker_id]
        strangers = [
            w for w, heard in self.heard.items() if w not in listed and now - heard.at > _STRANGER_SECONDS
        ]
        for worker_id in strangers:
            del self.heard[worker_id]

    def check_clock(self, now: float) -> bool:
        """Take note of a round; return whether too much time, or less than none, has passed since the last.

        Then all waiting begins anew.
        """
        last, self._last_round = self._last_round, now
        if last is None or 0 <= now - last <= STANDSTILL_SECONDS:
            return False
        _log.warning("scaler.clock_jumped", seconds=now - last)
        self.listening_since = now
        self.heard = {worker_id: msgspec.structs.replace(h, at=now) for worker_id, h in self.heard.items()}
        self.told = {worker_id: msgspec.structs.replace(t, at=now) for worker_id, t in self.told.items()}
        return True

    def _decoded(self, kind: type[M], delivery: Delivery) -> M | None:
        """Ack a message, which the next of its kind replaces, and return it; None where it is invalid."""
        self._broker.ack(delivery)
        try:
            return decode(kind, delivery.body)
        except MessageError as error:
            _log.warning("scaler.bad_message", queue=delivery.queue, error=error)
            return None

    def _on_sent(self, worker_id: str, told: SentCommand, sent: asyncio.Future[None]) -> None:
        if sent.cancelled() or sent.exception() is None:
            return
        # Nobody reads the worker's control queue; only the newest command is of interest.
        if self.told.get(worker_id) is told:
            self.told[worker_id] = msgspec.structs.replace(told, unroutable=True)
            self._changed.set()

    def _warn_of_future(self, request: ScaleRequest, now: float) -> None:
        """Warn of a request from the future, once a minute at most."""
        if is_future(request, now) and now - self._warned_of_future > _WARN_AGAIN_SECONDS:
            self._warned_of_future = now
            ahead = round(max(request.decided_at, request.epoch / 1000) - now, 1)
            _log.warning("scaler.request_from_future", app_id=request.app_id, seconds_ahead=ahead)

    def _warn_of_unknown(self, app_id: str) -> None:
        """Warn once for each application that is not in the settings, and of no more than a hundred."""
        if app_id not in self._unknown_apps and len(self._unknown_apps) < _MAX_WARNINGS:
            self._unknown_apps.add(app_id)
            _log.warning("scaler.unknown_app", app_id=app_id)
