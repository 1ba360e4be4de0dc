"""Sixty identical bare requests, as the course's publishers send them, are sixty uploads to the monitor."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from support.holder import open_broker
from support.system import System, wait_until
from upswell.broker.protocol import Message
from upswell.broker.topology import upload_queue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 60


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", status_interval=0.5) as made:
        made.environment["UPSWELL_FLEET"] = "process"
        yield made


def snapshot(system: System) -> dict[str, Any]:
    return json.loads(system.run("status", "--json").stdout)["apps"][0]["snapshot"] or {}


def stored(system: System) -> int:
    return (snapshot(system).get("totals") or {}).get("stored", 0)


async def publish(system: System, body: bytes) -> None:
    kind = "rabbitmq" if system.broker_url else "sqlite"
    broker = open_broker(kind, system.broker_url or str(system.folder / "state" / "broker.sqlite"), "foreign")
    await broker.connect()
    queue = upload_queue(f"{system.app_id}_upload", delivery_limit=5)
    await broker.declare(queue)
    await asyncio.gather(*(broker.publish(Message(body=body, routing_key=queue.name)) for _ in range(COUNT)))
    await broker.close()


@pytest.mark.slow
def test_sixty_identical_bare_requests_are_sixty_reports_and_scale_out(system: System) -> None:
    source = system.sources / "one.bin"
    source.write_bytes(b"x" * 1000)
    body = json.dumps({"type": "file", "uri": source.as_uri(), "app_id": system.app_id}).encode()
    up = system.start(
        "up",
        *("--slo", "95% < 5s", "--slots", "1", "--decision-interval", "0.5"),
        *("--set", "handler=simulate", "--set", "handlers.simulate.seconds=0.5"),
    )
    wait_until(lambda: "worker.started" in system.said(), 60, system.logs)
    asyncio.run(publish(system, body))
    wait_until(lambda: len(system.workers()) >= 3, 60, system.logs)
    wait_until(lambda: stored(system) == COUNT, 120, lambda: f"{snapshot(system)} {system.logs()}")
    up.terminate()
    assert up.wait(60) == 0
    with (system.folder / "up.log").open() as log:
        (stopped,) = [line for line in log if "event=monitor.stopped" in line]
    assert f"reports={COUNT} duplicates=0" in stopped
