"""Scale-in means drain: a hundred of them under load interrupt no upload and cause no redelivery."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from support.asking import ask_for_workers
from upswell.broker import open_broker, topology
from upswell.broker.protocol import Broker, Delivery, Message
from upswell.fleets.process import ProcessFleet
from upswell.messages import UploadReport, UploadRequest, decode, encode
from upswell.scaler import Scaler
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

APP = "drained"
FEW, MANY = 1, 5
SCALE_INS = 100
DEPTH = 200
"""Uploads kept waiting, so that every worker that is drained is busy."""


class Load:
    """Keeps the queue full, and counts what is reported."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._queue = f"{APP}_upload"
        self._settings = settings
        self._ids = itertools.count()
        self.published: set[str] = set()
        self.reported: Counter[str] = Counter()
        self.not_first_attempts: list[UploadReport] = []

    async def begin(self) -> None:
        """Declare the queues and listen to the reports."""
        await self._broker.declare(topology.dead_letter_queue(self._queue))
        await self._broker.declare(
            topology.upload_queue(self._queue, delivery_limit=self._settings.delivery_limit)
        )
        await self._broker.declare(topology.report_queue(self._settings.report_queue))
        await self._broker.consume(self._settings.report_queue, self.on_report, prefetch_count=1000)

    async def keep_full(self) -> None:
        """Publish whatever is missing from a full queue, until cancelled."""
        while True:
            depth = await self._broker.depth(self._queue)
            assert depth is not None
            await asyncio.gather(*(self._publish() for _ in range(DEPTH - depth.messages_ready)))
            await asyncio.sleep(0.2)

    async def _publish(self) -> None:
        request_id = f"request-{next(self._ids)}"
        self.published.add(request_id)
        request = UploadRequest(
            app_id=APP, type="simulated", uri="none:", id=request_id, published_at=time.time()
        )
        await self._broker.publish(
            Message(body=encode(request), routing_key=self._queue, message_id=request_id)
        )

    def on_report(self, delivery: Delivery) -> None:
        """Count a report."""
        report = decode(UploadReport, delivery.body)
        self._broker.ack(delivery)
        self.reported[report.request_id or ""] += 1
        if report.attempt != 1 or report.outcome != "stored":
            self.not_first_attempts.append(report)


async def until(condition: Callable[[], bool], timeout: float, what: Callable[[], object]) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.02)


async def swell_and_ebb(scaler: Scaler, broker: Broker, settings: Settings) -> None:
    """Go from few workers to many and back until as many scale-ins have been made as are wanted."""

    def active() -> int:
        return sum(worker.phase == "ready" for worker in scaler.workers())

    while scaler.costs.drains < SCALE_INS:
        await ask_for_workers(broker, settings, APP, MANY)
        await until(lambda: active() == MANY, 120, scaler.workers)
        await ask_for_workers(broker, settings, APP, FEW)
        await until(lambda: active() == FEW, 120, scaler.workers)
    await until(lambda: len(scaler.workers()) == FEW, 120, scaler.workers)


async def scenario(settings: Settings) -> None:
    broker = open_broker(settings, name="test")
    await broker.connect()
    fleet = ProcessFleet(settings.state_path)
    scaler = Scaler(broker=broker, fleet=fleet, settings=settings, name=f"test-{time.time_ns()}")
    load = Load(broker, settings)
    running: list[asyncio.Task[None]] = []
    try:
        await load.begin()
        running += [asyncio.create_task(scaler.run()), asyncio.create_task(load.keep_full())]
        await swell_and_ebb(scaler, broker, settings)
        running.pop().cancel()
        await until(
            lambda: load.published == set(load.reported),
            240,
            lambda: load.published - set(load.reported),
        )
        assert load.not_first_attempts == []
        assert set(load.reported.values()) == {1}
        assert scaler.costs.crashes == 0
        assert scaler.costs.drains >= SCALE_INS
        await scaler.drain_all()
        assert scaler.workers() == []
    finally:
        for task in running:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*running, return_exceptions=True)
        for worker in await fleet.list():
            await fleet.kill(worker.worker_id)
        await broker.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_a_hundred_scale_ins_under_load_interrupt_no_upload(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("rabbitmq") if kind == "rabbitmq" else ""
    settings = Settings(
        broker_url=url,
        state_dir=str(tmp_path),
        report_queue=f"{APP}_report",
        handler="simulate",
        handlers={"simulate": {"seconds": "0.05-0.2"}},
        apps={APP: {"min_workers": FEW, "max_workers": MANY, "status_interval": 0.5}},
    )
    asyncio.run(scenario(settings))
