"""The swarm fleet on three engines: spread, scaler killed, its watch cut, a node drained, a node lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from conftest import skip_or_fail
from support import swarm_cluster
from support.swarm_cluster import SwarmCluster
from support.tcp_proxy import TcpProxy
from upswell.broker import open_broker, topology
from upswell.broker.protocol import Message
from upswell.errors import FleetError
from upswell.fleets.registry import check_fleet
from upswell.fleets.swarm import SwarmFleet
from upswell.messages import ScaleRequest, UploadReport, UploadRequest, decode, encode
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from support.docker_engine import DockerEngine
    from upswell.broker.protocol import Broker, Delivery
    from upswell.fleets.protocol import FleetWorker

pytestmark = [pytest.mark.docker, pytest.mark.rabbitmq, pytest.mark.slow, pytest.mark.timeout(900)]

APP = "swarming"
IMAGE = "upswell-worker:test"
UPLOADS = 1000
"""A fifth of them before each fault."""


@pytest.fixture(scope="module")
def cluster(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwarmCluster]:
    """Three engines with the worker's image."""
    if reason := swarm_cluster.missing():
        skip_or_fail(reason)
    tar = tmp_path_factory.mktemp("image") / "worker.tar"
    engine.docker("save", "--output", str(tar), engine.worker_image(IMAGE))
    with SwarmCluster() as cluster:
        cluster.load(tar)
        yield cluster


class Plant:
    """A scaler as a process of its own, the broker, and what the workers reported.

    Args:
        way: the scaler's way to the Swarm's manager.
    """

    def __init__(self, cluster: SwarmCluster, way: TcpProxy, broker_url: str, folder: Path) -> None:
        self.cluster = cluster
        self.way = way
        self.tables = {"swarm": {"image": IMAGE, "memory": "200m"}}
        self.settings = Settings(
            broker_url=broker_url,
            state_dir=str(folder / "state"),
            report_queue=f"{APP}_report",
            fleet="swarm",
            fleets=self.tables,
            destination="s3://bucket",
            source_roots=[],
            handler="simulate",
            handlers={"simulate": {"seconds": "0.5"}},
            apps={APP: {"min_workers": 0, "max_workers": 20, "slots": 2}},
        )
        self.fleet = SwarmFleet(self.settings)
        self.broker: Broker = open_broker(self.settings, name="test")
        self.stored: set[str] = set()
        self._published = 0
        self._log = folder / "scaler.log"
        self._file = folder / "upswell.json.toml"
        self._scaler: subprocess.Popen[bytes] | None = None
        self._asking: asyncio.Task[None] | None = None

    def start_scaler(self) -> None:
        """Start `upswell scaler`."""
        variables = {
            "DOCKER_HOST": f"tcp://127.0.0.1:{self.way.port}",
            "AMQPURL": self.settings.broker_url,
            "UPSWELL_STATE_DIR": self.settings.state_dir,
            "UPSWELL_REPORT_QUEUE": self.settings.report_queue,
            "UPSWELL_FLEET": "swarm",
            "UPSWELL_FLEETS": json.dumps(self.tables),
            "UPSWELL_DESTINATION": "s3://bucket",
            "UPSWELL_SOURCE_ROOTS": "",
            "UPSWELL_HANDLER": "simulate",
            "UPSWELL_HANDLERS": json.dumps(self.settings.handlers),
            "UPSWELL_APPS": json.dumps(self.settings.apps),
        }
        with self._log.open("ab") as log:
            self._scaler = subprocess.Popen(
                [sys.executable, "-m", "upswell", "scaler"],
                env={**os.environ, **variables},
                cwd=self._log.parent,
                stdout=log,
                stderr=log,
            )

    def end_scaler(self, how: signal.Signals) -> None:
        """End the scaler; its workers go on."""
        scaler, self._scaler = self._scaler, None
        if scaler is not None:
            scaler.send_signal(how)
            scaler.wait(120)

    async def open(self) -> None:
        """Connect, and count the reports."""
        await self.broker.connect()
        queue = f"{APP}_upload"
        await self.broker.declare(topology.dead_letter_queue(queue))
        await self.broker.declare(topology.upload_queue(queue, delivery_limit=self.settings.delivery_limit))
        reports = topology.report_queue(self.settings.report_queue)
        await self.broker.declare(reports)
        await self.broker.consume(reports.name, self._count, prefetch_count=1000)

    async def publish(self) -> None:
        """Publish a fifth of the uploads."""
        first, self._published = self._published, self._published + UPLOADS // 5
        sent = [
            self.broker.publish(
                Message(
                    body=encode(UploadRequest(app_id=APP, type="t", uri="x:y", id=f"r{number}")),
                    routing_key=f"{APP}_upload",
                    message_id=f"r{number}",
                )
            )
            for number in range(first, self._published)
        ]
        await asyncio.gather(*sent)

    async def ask_for(self, workers: int) -> None:
        """Decide, and say it again each second, as a monitor does."""
        if self._asking is not None:
            self._asking.cancel()
        self._asking = asyncio.create_task(self._ask(workers))

    async def _ask(self, workers: int) -> None:
        exchange = topology.scaling_exchange(self.settings.report_queue)
        while True:
            request = ScaleRequest(
                app_id=APP, desired_workers=workers, decided_at=time.time(), reason="a test", epoch=1
            )
            self.broker.publish(
                Message(body=encode(request), exchange=exchange, persistent=False, mandatory=False)
            )
            await asyncio.sleep(1.0)

    async def running(self) -> list[FleetWorker]:
        """Return the workers whose task runs."""
        return [w for w in await self.fleet.list() if w.state == "running" and not w.pending]

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait."""
        deadline = time.monotonic() + 240
        while not await condition():
            assert time.monotonic() < deadline, f"{what}: {await self.fleet.list()} {self.log()}"
            await asyncio.sleep(0.5)

    def log(self) -> str:
        """Return what the scaler logged."""
        return self._log.read_text() if self._log.exists() else ""

    async def close(self) -> None:
        """End all."""
        if self._asking is not None:
            self._asking.cancel()
        self.end_scaler(signal.SIGKILL)
        await self.broker.close()
        await self.fleet.close()

    def _count(self, delivery: Delivery) -> None:
        self.broker.ack(delivery)
        report = decode(UploadReport, delivery.body)
        if report.outcome == "stored":
            self.stored.add(report.request_id or "")


async def survive(plant: Plant) -> None:
    cluster = plant.cluster

    async def have(count: int, *, nodes: set[str]) -> bool:
        running = await plant.running()
        return len(running) == count and {worker.node for worker in running} == nodes

    async def watch_cut() -> bool:
        return plant.way.cut_those_asking(b"/events?") > 0

    names = [cluster.node_name(number) for number in range(3)]

    async def all_take_workers() -> bool:
        return "3 of 3 nodes take workers" in await check_fleet(plant.settings)

    await plant.until(all_take_workers, "three nodes")  # one whose engine is held up is down meanwhile
    # The scaler is killed in mid-start; the next one finds what there is, and starts none twice.
    plant.start_scaler()
    await plant.publish()
    await plant.ask_for(6)

    async def one() -> bool:
        return len(await plant.fleet.list()) >= 1

    await plant.until(one, "no worker was asked for")
    plant.end_scaler(signal.SIGKILL)
    plant.start_scaler()
    await plant.ask_for(6)
    await plant.until(lambda: have(6, nodes=set(names)), "six workers on three nodes")
    # The stream of events is cut as the number changes, up and down.
    for count in (7, 6):
        await plant.publish()
        await plant.until(watch_cut, "the scaler watches nothing")
        await plant.ask_for(count)
        await plant.until(partial(have, count, nodes=set(names)), f"{count} workers on three nodes")
    assert "guest:guest" not in inspected(cluster)
    # A node is drained by its operator: its workers are replaced, then drained by message.
    await plant.publish()
    cluster.drain(2)
    await plant.until(lambda: have(6, nodes={names[0], names[1]}), "six workers beside the drained node")
    assert "worker_crashed" not in plant.log()
    # A node is lost.
    await plant.publish()
    cluster.lose(1)
    await plant.until(lambda: have(6, nodes={names[0]}), "six workers on the last node")
    assert "worker_evicted" in plant.log()
    assert "worker_crashed" not in plant.log()

    async def all_stored() -> bool:
        return len(plant.stored) == UPLOADS

    await plant.until(all_stored, "all uploads")
    await plant.ask_for(0)

    async def nothing_left() -> bool:
        secrets = cluster.manager.docker("secret", "ls", "--quiet").split()
        return not services(cluster) and not secrets

    await plant.until(nothing_left, "a service or a secret is left")


def services(cluster: SwarmCluster) -> list[str]:
    return cluster.manager.docker("service", "ls", "--quiet").split()


def inspected(cluster: SwarmCluster) -> str:
    """Return all that Swarm tells of its services; a scaler may take one away meanwhile."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return cluster.manager.docker("service", "inspect", *services(cluster))
        except RuntimeError as error:
            if "no such service" not in str(error) or time.monotonic() > deadline:
                raise


def test_a_swarm_of_three_loses_no_upload_and_no_worker_whatever_becomes_of_scaler_and_nodes(
    cluster: SwarmCluster, rabbitmq: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cluster.manager.host
    monkeypatch.setenv("DOCKER_HOST", cluster.manager.host)
    port = int(rabbitmq.rpartition(":")[2].partition("/")[0])
    with (
        TcpProxy(port, cluster.gateway) as proxy,
        TcpProxy(cluster.manager.host.removeprefix("unix://")) as way,
    ):
        url = rabbitmq.replace(f"127.0.0.1:{port}", f"{cluster.gateway}:{proxy.port}")

        async def scenario() -> None:
            plant = Plant(cluster, way, url, tmp_path)
            await plant.open()
            try:
                await survive(plant)
            finally:
                await plant.close()

        asyncio.run(scenario())


def test_a_folder_of_this_machine_is_refused_by_its_name(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path), fleet="swarm", apps={APP: {}})

    async def scenario() -> None:
        fleet = SwarmFleet(settings)
        with pytest.raises(FleetError, match="workers on a Swarm run on other machines") as caught:
            await fleet.check()
        assert str(tmp_path) in str(caught.value)
        await fleet.close()

    asyncio.run(scenario())


def test_an_engine_that_manages_no_swarm_says_what_to_do(
    cluster: SwarmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cluster.engines[2].host
    monkeypatch.setenv("DOCKER_HOST", cluster.engines[2].host)  # a node, and no manager
    settings = Settings(state_dir=str(tmp_path), fleet="swarm", broker_url="amqp://h", destination="s3://b")
    with pytest.raises(FleetError, match=r"no manager of a Swarm \(docker swarm init"):
        asyncio.run(check_fleet(settings))
