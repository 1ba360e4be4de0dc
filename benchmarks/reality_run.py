"""One run of the real loop on a trace: monitor and scaler here, workers of a real fleet, a real broker.

In: arrivals, service times, settings. Out: what was measured from outside the simulator's view: each upload's
report, each worker's own instants, and the scaler's bill.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from reality_handler import SCHEME
from upswell.broker import topology
from upswell.cli.connection import connected, first_to_end, unique_name
from upswell.cli.run.monitoring import monitoring
from upswell.cli.run.scaling import scaling
from upswell.errors import MessageError
from upswell.messages import UploadReport, UploadRequest, WorkerStatus, decode
from upswell.publisher import Publisher
from upswell.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.broker import Broker, Delivery
    from upswell.scaler import Scaler

APP = "reality"
HERE = Path(__file__).resolve().parent
IMAGE = "upswell-reality:bench"
LOOK_SECONDS = 0.05
PATIENCE = 60.0
"""How long the first worker may take to start, and how long the last uploads may take after the trace."""


class Life(Struct):
    """A worker's instants, by the wall clock; None is "never seen"."""

    requested_at: float
    ready_at: float | None = None
    told_at: float | None = None
    """Its own first status that says it is draining."""
    last_upload_at: float | None = None
    listed: bool = False
    gone_at: float | None = None
    """When the scaler no longer saw it run: there its bill ends."""


class Measured(Struct, kw_only=True):
    """Everything that was seen of one run; instants by the wall clock, responses in seconds by upload."""

    broker: str
    fleet: str = "process"
    began_at: float
    ended_at: float
    worker_seconds: float
    """By the scaler's ledger, from the first arrival to the last answer."""
    responses: dict[int, float] = field(default_factory=dict)
    services: dict[int, float] = field(default_factory=dict)
    published: dict[int, float] = field(default_factory=dict)
    report_lags: list[float] = field(default_factory=list)
    failures: int = 0
    workers: dict[str, Life] = field(default_factory=dict)
    decisions: list[tuple[float, int, str]] = field(default_factory=list)
    """(instant, workers wanted, why), at each change."""
    timeline: list[tuple[float, int]] = field(default_factory=list)
    """(seconds since the first arrival, workers billed), twenty times a second, changes only."""


def settings_for(folder: Path, broker_url: str, values: dict[str, Any]) -> Settings:
    """Return the settings of the real loop, which those of the simulated one are taken from."""
    flags = {
        "broker_url": broker_url,
        "state_dir": str(folder / "state"),
        "handler": "reality_handler:sleep",
        "report_queue": f"{APP}_report",
        "log_level": "warning",
        "apps": {APP: {}},
        # A container finds the handler where a process does: in this folder, shared and on Python's path.
        "fleets": {"docker": {"image": IMAGE}},
        "source_roots": [str(HERE)],
        "worker_variables": ["PYTHONPATH"],
        **values,
    }
    settings, _ = load(flags, environment={}, file="/dev/null")
    return settings


class RealRun:
    """Publishes a trace on time and watches until the last upload is answered."""

    def __init__(self, settings: Settings, arrivals: list[float], services: list[float]) -> None:
        self._settings = settings
        self._arrivals, self._services = arrivals, services
        self._queue = f"{APP}_upload"
        self._outstanding = set(range(len(arrivals)))
        self.seen = Measured(
            broker="sqlite" if settings.broker == "embedded" else settings.broker,
            fleet=settings.fleet,
            began_at=0.0,
            ended_at=0.0,
            worker_seconds=0.0,
        )

    async def run(self) -> Measured:
        """Return what was measured; the workers are drained either way."""
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # the workers find the handler there
        async with (
            connected(self._settings, "reality") as broker,
            monitoring(self._settings, broker, self._note) as monitor,
            scaling(self._settings, broker) as scaler,
        ):
            await self._declare(broker)
            replies = topology.reply_queue(unique_name(APP))
            await self._listen(broker, replies, self._on_reply)
            await self._listen(broker, topology.status_queue("benchmark", unique_name(APP)), self._on_status)
            story = asyncio.create_task(self._tell(broker, replies.name, scaler))
            loops = [asyncio.create_task(monitor.run()), asyncio.create_task(scaler.run())]
            try:
                await first_to_end(story, *loops)
            finally:
                for task in (story, *loops):
                    task.cancel()
                await asyncio.gather(story, *loops, return_exceptions=True)
                watching = asyncio.create_task(self._watch(scaler))
                await scaler.drain_all()
                watching.cancel()
        return self.seen

    async def _tell(self, broker: Broker, reply_to: str, scaler: Scaler) -> None:
        watching = asyncio.create_task(self._watch(scaler))
        try:
            least = self._settings.min_workers
            await _until(lambda: not least or any(w.phase == "ready" for w in scaler.workers()), PATIENCE)
            # The simulator's monitor has watched an empty queue for a window, too.
            await asyncio.sleep(self._settings.window + 1)
            publisher = Publisher(broker=broker, upload_queue=self._queue, reply_to=reply_to)
            self.seen.began_at = time.time()
            before = scaler.costs.worker_seconds(time.time())
            await publisher.publish_all(self._requests(), pace=iter(self._arrivals))
            await _until(lambda: not self._outstanding, PATIENCE)
            self.seen.ended_at = time.time()
            self.seen.worker_seconds = scaler.costs.worker_seconds(time.time()) - before
        finally:
            watching.cancel()

    async def _watch(self, scaler: Scaler) -> None:
        """Note each worker's request and end, as the scaler's ledger sees them."""
        while True:
            running = {w.worker_id: w for w in scaler.workers()}
            now = time.time()
            for worker_id, worker in running.items():
                self.seen.workers.setdefault(worker_id, Life(worker.requested_at)).listed = True
            for worker_id, life in self.seen.workers.items():
                # A status may come before the scaler's next look has the worker on its list.
                if life.listed and worker_id not in running and life.gone_at is None:
                    life.gone_at = now
            if self.seen.began_at and (not self.seen.timeline or self.seen.timeline[-1][1] != len(running)):
                self.seen.timeline.append((now - self.seen.began_at, len(running)))
            await asyncio.sleep(LOOK_SECONDS)

    async def _requests(self) -> AsyncIterator[UploadRequest]:
        for number, service in enumerate(self._services):
            yield UploadRequest(
                app_id=APP, id=f"{number}", type="sleep", uri=f"{SCHEME}{service!r}", key=f"{number}"
            )

    def _on_reply(self, delivery: Delivery) -> None:
        now = time.time()
        with suppress(MessageError):
            report = decode(UploadReport, delivery.body)
            number = int(report.request_id or -1)
            if report.outcome != "stored" or number not in self._outstanding:
                self.seen.failures += 1
                return
            self._outstanding.discard(number)
            seen = self.seen
            seen.responses[number] = report.response_time
            if report.service_time is not None:
                seen.services[number] = report.service_time
            if report.finished_at is not None:
                seen.report_lags.append(max(0.0, now - report.finished_at))
                seen.published[number] = report.finished_at - report.response_time - seen.began_at
                life = seen.workers.get(report.worker_id or "")
                if life is not None:
                    life.last_upload_at = max(life.last_upload_at or 0.0, report.finished_at)

    def _on_status(self, delivery: Delivery) -> None:
        with suppress(MessageError):
            status = decode(WorkerStatus, delivery.body)
            if status.requested_at is None:
                return
            life = self.seen.workers.setdefault(status.worker_id, Life(status.requested_at))
            life.ready_at = life.ready_at or status.ready_at
            if status.state == "draining" and life.told_at is None:
                life.told_at = status.at

    def _note(self, _: Snapshot, decision: Decision) -> None:
        if decision.desired_workers != decision.before:
            self.seen.decisions.append((time.time(), decision.desired_workers, decision.reason))
            print(
                f"  {self.seen.broker} {time.time() - (self.seen.began_at or time.time()):6.1f} s: "
                f"{decision.reason}",
                file=sys.stderr,
                flush=True,
            )

    async def _declare(self, broker: Broker) -> None:
        await broker.declare(topology.dead_letter_queue(self._queue))
        await broker.declare(topology.upload_queue(self._queue, delivery_limit=self._settings.delivery_limit))

    async def _listen(self, broker: Broker, queue: topology.Queue, take: Any) -> None:
        await broker.declare(queue)

        def on_delivery(delivery: Delivery) -> None:
            take(delivery)
            broker.ack(delivery)

        await broker.consume(queue.name, on_delivery, prefetch_count=1000)


async def _until(condition: Any, timeout: float) -> None:
    """Return when the condition holds, or after `timeout` seconds all the same."""
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - it watches what has no event
        await asyncio.sleep(LOOK_SECONDS)
