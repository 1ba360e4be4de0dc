"""The heartbeat of a monitor or a scaler: a `PartStatus` every second, to whoever listens.

It goes through the broker, so it is heard wherever the parts run; nobody listens for most of the time, and
then it costs nothing. What is heard is shown to people; the monitor hears from the scaler's what its platform
refuses and which workers crashed. Anybody may send one.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from upswell import healthcheck
from upswell.broker import topology
from upswell.broker.listening import listen
from upswell.broker.protocol import Message
from upswell.errors import BrokerError, MessageError
from upswell.messages import (
    MAX_LIMITS,
    MAX_NOTE,
    MAX_NOTES,
    PartName,
    PartState,
    PartStatus,
    PlatformLimit,
    WorkerCrash,
    decode,
    encode,
)
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from upswell.broker.protocol import Broker, Consumer

HEARTBEAT_SECONDS = 1.0

SILENT_SECONDS = 4.0
"""A part that is not heard for so long counts as dead: with the time to look again, it is seen within 5 s."""

LISTEN_SECONDS = 3 * HEARTBEAT_SECONDS
"""A part that is not heard in so long a time does not run, or hangs."""

LEAST_LATE_SECONDS = 5.0
LATE_ROUNDS = 3
"""A part whose rounds have not worked for so many of their intervals is failing."""

_MAX_PARTS = 1000
_LAST: tuple[PartState, ...] = ("working", "draining", "starting", "failing", "waiting", "stopped")


class Pulse:
    """What a part says of itself: its state, and when its last round worked.

    `interval` is the longest time between two rounds of a part that is well.
    """

    def __init__(
        self,
        part: PartName,
        name: str,
        report_queue: str,
        *,
        interval: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._part: PartName = part
        self._name = name
        self._report_queue = report_queue
        self._late_after = max(LEAST_LATE_SECONDS, LATE_ROUNDS * interval)
        self._monotonic = monotonic
        self._begun_at = monotonic()
        self._worked_at: float | None = None
        self._state: PartState = "starting"

    @property
    def state(self) -> PartState:
        """The state that was entered last."""
        return self._state

    def enter(self, state: PartState) -> None:
        """Change the state; from now on a round is due within its time."""
        self._state = state
        self._begun_at = self._monotonic()

    def worked(self) -> None:
        """Take note of a round that worked."""
        self._worked_at = self._monotonic()
        if self._state == "starting":
            self._state = "working"

    def status(
        self,
        *,
        workers_left: int | None = None,
        uploads_left: int | None = None,
        notes: Sequence[str] = (),
        limits: Sequence[PlatformLimit] = (),
        crashes: Sequence[WorkerCrash] = (),
    ) -> PartStatus:
        """Return the heartbeat of this moment."""
        now = self._monotonic()
        last = self._begun_at if self._worked_at is None else max(self._begun_at, self._worked_at)
        late = self._state in ("starting", "working") and now - last > self._late_after
        return PartStatus(
            part=self._part,
            name=self._name,
            report_queue=self._report_queue,
            state="failing" if late else self._state,
            since_round=None if self._worked_at is None else now - self._worked_at,
            workers_left=workers_left,
            uploads_left=uploads_left,
            notes=tuple(safe(note, MAX_NOTE - 1) for note in notes[:MAX_NOTES]),
            limits=tuple(limits[:MAX_LIMITS]),
            crashes=tuple(crashes),
        )


@asynccontextmanager
async def beating(broker: Broker, status: Callable[[], PartStatus]) -> AsyncGenerator[None]:
    """Send a heartbeat every second while the context lasts, and a last one that says `stopped`.

    Whoever supervises this process hears it, too: a container's health check, systemd.
    """
    healthcheck.starts(status().part)
    beats = asyncio.create_task(_beat(broker, status))
    try:
        yield
    finally:
        healthcheck.stops()
        beats.cancel()
        await asyncio.wait([beats])
        last = status()
        _send(
            broker,
            PartStatus(part=last.part, name=last.name, report_queue=last.report_queue, state="stopped"),
        )


async def _beat(broker: Broker, status: Callable[[], PartStatus]) -> None:
    while True:
        present = status()
        _send(broker, present)
        healthcheck.beat()
        if present.state == "draining":
            healthcheck.stops()
        elif present.state != "starting":
            healthcheck.works(present.part)
        await asyncio.sleep(HEARTBEAT_SECONDS)


def _send(broker: Broker, status: PartStatus) -> None:
    with suppress(BrokerError):  # it is closed or broken, which its other users say
        broker.publish(
            Message(body=encode(status), exchange=topology.PARTS_EXCHANGE, persistent=False, mandatory=False)
        )


class HeardParts:
    """The monitors and scalers of one installation that are heard at present.

    Args:
        report_queue: the installation's; heartbeats of others on the same broker are let pass.
    """

    def __init__(self, report_queue: str) -> None:
        self._report_queue = report_queue
        self._heard: dict[str, tuple[float, PartStatus]] = {}
        self._news = asyncio.Event()
        self._since = time.monotonic()

    async def listen(self, broker: Broker, name: str) -> Consumer:
        """Begin to hear, over a queue of this `name`."""
        consumer = await listen(
            broker,
            topology.parts_queue(name),
            lambda heartbeat: self.take(heartbeat.body, time.monotonic()),
        )
        self._since = time.monotonic()
        return consumer

    def take(self, body: bytes, now: float) -> None:
        """Take a heartbeat in; what is none is let pass."""
        try:
            status = decode(PartStatus, body)
        except MessageError:
            return
        if status.report_queue == self._report_queue and (
            status.name in self._heard or len(self._heard) < _MAX_PARTS
        ):
            self._heard[status.name] = now, status
            self._news.set()

    def newest(self, part: PartName, now: float) -> PartStatus | None:
        """Return the heartbeat of the monitor or the scaler, None where none is heard.

        Of several it is one that works, before one that waits to take over or has just stopped.
        """
        return min(self._fresh(part, now), key=lambda status: _LAST.index(status.state), default=None)

    def waiting(self, part: PartName, now: float) -> int:
        """Return how many monitors, or scalers, wait to take over."""
        return sum(status.state == "waiting" for status in self._fresh(part, now))

    def _fresh(self, part: PartName, now: float) -> list[PartStatus]:
        return [
            status
            for at, status in self._heard.values()
            if status.part == part and now - at <= SILENT_SECONDS
        ]

    def listened_for(self, now: float) -> float:
        """Return how long we have listened: before every part was due, silence says nothing."""
        return now - self._since

    def silent_for(self, part: PartName, now: float) -> float:
        """Return how long a part has been silent: since its last heartbeat, or since we began to listen."""
        beats = [at for at, status in self._heard.values() if status.part == part]
        return now - max(beats, default=self._since)

    async def wait_for_all(self, *parts: PartName) -> None:
        """Return as `wait` does, and not before every heart has beaten once: some wait to take over."""
        await self.wait(*parts)
        await asyncio.sleep(max(0.0, self._since + 1.2 * HEARTBEAT_SECONDS - time.monotonic()))

    def _leader_heard(self, part: PartName) -> bool:
        newest = self.newest(part, time.monotonic())
        return newest is not None and newest.state not in ("waiting", "stopped")

    async def wait(self, *parts: PartName) -> None:
        """Return when each of these parts is heard, not only who waits for it, or after `LISTEN_SECONDS`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_SECONDS):
                while not all(map(self._leader_heard, parts)):
                    self._news.clear()
                    await self._news.wait()
