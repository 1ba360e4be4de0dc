"""Forged statuses and scale requests, on both brokers: no limit is passed, and no true monitor kept out."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.holder import open_broker
from support.system import System, wait_until
from upswell.broker import topology
from upswell.broker.protocol import Message
from upswell.messages import ScaleRequest, WorkerStatus, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from upswell.broker import Broker
    from upswell.broker.protocol import Delivery

MOST = 3
FORGED = 10**18
SILENCE_SECONDS = 9.0
"""A monitor that is silent for ten is gone: then a forged request counts, until it is heard again."""


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(
        tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", fleet="process", max_workers=MOST
    ) as made:
        yield made


@contextlib.asynccontextmanager
async def forger(system: System) -> AsyncIterator[Broker]:
    kind = "rabbitmq" if system.broker_url else "sqlite"
    broker = open_broker(kind, system.broker_url or str(system.folder / "state" / "broker.sqlite"), "forger")
    await broker.connect()
    yield broker
    await broker.close()


def draining(system: System, worker_id: str) -> Message:
    status = WorkerStatus(
        app_id=system.app_id, worker_id=worker_id, state="draining", busy=1, slots=4, at=time.time()
    )
    return Message(body=encode(status), exchange=topology.STATUS_EXCHANGE, persistent=False, mandatory=False)


def request(system: System, workers: int, epoch: int) -> Message:
    forged = ScaleRequest(
        app_id=system.app_id, desired_workers=workers, decided_at=time.time(), reason="forged", epoch=epoch
    )
    return Message(body=encode(forged), exchange=f"{system.app_id}_report.scaling")


async def forge_requests(system: System) -> float:
    """Ask for more workers for two seconds; return how long the true monitor was silent at most."""
    heard: list[float] = []
    is_heard = asyncio.Event()

    async with forger(system) as broker:

        def note(delivery: Delivery) -> None:
            broker.ack(delivery)
            if decode(ScaleRequest, delivery.body).epoch < FORGED:
                heard.append(time.monotonic())
                is_heard.set()

        async def until_heard() -> None:
            is_heard.clear()
            await asyncio.wait_for(is_heard.wait(), 60)

        queue = topology.scaling_queue("monitor", "listener", f"{system.app_id}_report")
        await broker.declare(queue)
        await broker.consume(queue.name, note, prefetch_count=100)
        await until_heard()
        for _ in range(20):
            await broker.publish(request(system, MOST, FORGED))
            await asyncio.sleep(0.1)
        await until_heard()
    return max(after - before for before, after in pairwise(heard))


@pytest.mark.slow
def test_forged_statuses_have_no_worker_started_past_max_workers(system: System) -> None:
    up = system.start("up", "--min-workers", str(MOST))
    wait_until(lambda: len(system.workers()) == MOST, 60, system.logs)

    async def forge() -> int:
        most = 0
        async with forger(system) as broker:
            for _ in range(200):
                seen = system.workers()
                most = max(most, len(seen))
                for worker_id in seen.values():
                    broker.publish(draining(system, worker_id))
                await asyncio.sleep(0.05)
        return most

    assert asyncio.run(forge()) == MOST
    up.terminate()
    assert up.wait(60) == 0


@pytest.mark.slow
def test_a_forged_epoch_does_not_keep_the_true_monitor_out(system: System) -> None:
    """It had two minutes in which only the forger's number counted.

    A machine that holds `up` up for ten seconds makes its monitor silent: then it is forged anew.
    """
    constant = ("--set", "policy=constant", "--min-workers", "1")
    up = system.start("up", "--decision-interval", "0.5", *constant)
    wait_until(lambda: "event=decision.made" in system.said(), 60, system.logs)

    def started() -> int:
        return system.said().count("event=scaler.worker_started")

    def is_over() -> bool:
        """Return whether what was forged counts no more, and nobody else is about to be started for it."""
        before = started()
        time.sleep(2)
        targets = re.findall(r"event=scaler\.target .*?\bready=(\d+)", system.said())
        return targets[-1:] == ["1"] and len(system.workers()) == 1 and started() == before

    wait_until(lambda: len(system.workers()) == 1, 60, system.logs)
    expected = 1
    while asyncio.run(forge_requests(system)) >= SILENCE_SECONDS:
        wait_until(is_over, 150, system.logs)
        expected = started()
    wait_until(lambda: "scaler.request_from_future" in system.said(), 60, system.logs)
    assert started() == expected
    up.terminate()
    assert up.wait(60) == 0
