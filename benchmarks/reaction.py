"""How long from a burst's first message to the first upload that an additional worker has finished.

Each round publishes one upload to a queue that nobody consumes, and asks the scaler for one worker in the
same moment (the monitor's decision, a second or less, is left out). The clock stops at the upload's report.
Beside it runs the bare platform, started by its own command line with the same image and environment: what is
left is what the scaler adds. Standby: the worker is there, and is activated. Rounds are interleaved, and
medians printed; RabbitMQ carries the queues, and the handler does nothing.

    PYTHONPATH=tests .venv/bin/python benchmarks/reaction.py [--rounds 5]

Docker and Swarm need an engine (DOCKER_HOST, or root and Debian's dockerd), Kubernetes a cluster
(tests/support/kubernetes_cluster.py): its row is of benchmarks/pods.py, without the scaler's round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pods
from support import (  # pyright: ignore[reportMissingImports]
    docker_engine,
    kubernetes_cluster,
    rabbitmq_node,
)
from upswell.broker import open_broker, topology
from upswell.broker.protocol import Message
from upswell.errors import UnroutableError
from upswell.events import use_logging
from upswell.fleets.environment import worker_environment
from upswell.fleets.registry import open_fleet
from upswell.messages import ScaleRequest, UploadRequest, encode
from upswell.scaler import Scaler
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from upswell.broker.protocol import Broker

IMAGE = "upswell-worker:test"
PATIENCE = 120.0


class Bench:
    """One fleet: its scaler, its broker, and the instants of reports."""

    def __init__(self, fleet: str, url: str, folder: Path, *, standby: int = 0) -> None:
        self.fleet_name = fleet
        self.standby = standby
        self.app_id = f"reacting-{folder.name}"  # a worker of another bench must not take its uploads
        self.settings = Settings(
            broker_url=url,
            state_dir=str(folder),
            report_queue=f"report-{folder.name}",
            fleet=fleet,
            fleets={} if fleet == "process" else {fleet: {"image": IMAGE}},
            destination="s3://bucket",
            source_roots=[],
            handler="simulate",
            handlers={"simulate": {"seconds": "0"}},
            apps={self.app_id: {"min_workers": 0, "max_workers": 3, "standby_workers": standby}},
        )
        self.fleet = open_fleet(self.settings)
        self.broker: Broker = open_broker(self.settings, name=f"bench-{folder.name}")
        self.scaler = Scaler(broker=self.broker, fleet=self.fleet, settings=self.settings, name=folder.name)
        self.reported = asyncio.Event()
        self._requests = 0

    async def open(self) -> None:
        """Connect, and let the scaler run."""
        await self.broker.connect()
        reports = topology.report_queue(self.settings.report_queue)
        await self.broker.declare(reports)
        await self.broker.consume(reports.name, self._on_report, prefetch_count=10)
        self._running = asyncio.create_task(self.scaler.run())
        await self.ask_for(0)
        await self.until(lambda: bool(self.scaler._targets))  # noqa: SLF001 - it has begun to obey

    async def react(self, start: Callable[[], Awaitable[None]]) -> float:
        """Publish one upload, start a worker somehow; return the seconds until its report."""
        self.reported.clear()
        begun = time.monotonic()
        await self.publish()
        await start()
        await asyncio.wait_for(self.reported.wait(), PATIENCE)
        return time.monotonic() - begun

    async def publish(self) -> None:
        """Publish an upload."""
        self._requests += 1
        name = f"r{self._requests}-{time.monotonic_ns()}"
        request = UploadRequest(app_id=self.app_id, type="t", uri="x:y", id=name)
        queue = self.settings.upload_queue_of(self.app_id)
        await self.broker.publish(Message(body=encode(request), routing_key=queue, message_id=name))

    async def ask_for(self, workers: int) -> None:
        """Decide, as a monitor does."""
        request = ScaleRequest(
            app_id=self.app_id, desired_workers=workers, decided_at=time.time(), reason="a burst", epoch=1
        )
        exchange = topology.scaling_exchange(self.settings.report_queue)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await self.broker.publish(Message(body=encode(request), exchange=exchange))
                except UnroutableError:  # the scaler does not listen yet
                    await asyncio.sleep(0.05)

    async def idle(self) -> None:
        """Wait until nobody consumes: a service that is removed drains for a moment."""
        queue = self.settings.upload_queue_of(self.app_id)
        async with asyncio.timeout(PATIENCE):
            while (depth := await self.broker.depth(queue)) is None or depth.consumers:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.05)

    async def rest(self) -> None:
        """Have no worker consume, and those that should stand by do."""
        await self.ask_for(0)
        await self.until(lambda: [w.phase for w in self.scaler.workers()] == ["standby"] * self.standby)

    async def close(self) -> None:
        """End the workers and the scaler."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        async with asyncio.timeout(PATIENCE):
            await self.scaler.drain_all()
        for worker in await self.fleet.list():
            await self.fleet.forget(worker.worker_id)
        await self.fleet.close()
        await self.broker.close()

    def environment(self) -> dict[str, str]:
        """Return what a bare worker needs to do the same."""
        return worker_environment(self.settings.for_app(self.app_id), self.app_id)

    def _on_report(self, delivery: Any) -> None:
        self.broker.ack(delivery)
        self.reported.set()


class BareWorker:
    """A worker that is started by the platform's own command."""

    def __init__(self, bench: Bench, docker: Callable[..., str]) -> None:
        self._bench = bench
        self._docker = docker
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it."""
        environment = self._bench.environment()
        given = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        command = ("worker", "--app", self._bench.app_id)
        if self._bench.fleet_name == "process":
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond
                [sys.executable, "-m", "upswell", *command],
                env={**os.environ, **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return
        if self._bench.fleet_name == "docker":
            how = ("run", "--detach", "--name", "bare", "--network", "host")
        else:
            job = ("--mode", "replicated-job", "--restart-condition", "none", "--detach")
            how = ("service", "create", "--name", "bare", *job, "--network", "host")
        await asyncio.to_thread(self._docker, *how, *given, IMAGE, *command)

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait)
            self._process = None
        elif self._bench.fleet_name == "docker":
            await asyncio.to_thread(self._docker, "rm", "--force", "bare")
        else:
            await asyncio.to_thread(self._docker, "service", "rm", "bare")


async def measure(fleet: str, url: str, rounds: int, docker: Callable[..., str]) -> tuple[float, float]:
    """Return the medians: of our reaction, and of the bare platform's."""
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(fleet, url, Path(folder))
        await bench.open()
        try:
            for _ in range(rounds):
                await bench.idle()
                ours.append(await bench.react(lambda: bench.ask_for(1)))
                await bench.rest()
                await bench.idle()
                worker = BareWorker(bench, docker)
                bare.append(await bench.react(worker.start))
                await worker.stop()
        finally:
            await bench.close()
    return statistics.median(ours), statistics.median(bare)


async def measure_standby(url: str, rounds: int) -> float:
    """Return the median of an activation: a worker that stands by takes the upload."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench("process", url, Path(folder), standby=1)
        await bench.open()
        times: list[float] = []
        try:
            for _ in range(rounds):
                await bench.rest()
                times.append(await bench.react(lambda: bench.ask_for(1)))
        finally:
            await bench.close()
    return statistics.median(times)


def measure_kubernetes(url: str, rounds: int, folder: Path) -> tuple[float, float]:
    """Return the medians: of a pod of the fleet's, and of one of `kubectl run`."""
    ours: list[float] = []
    bare: list[float] = []
    with kubernetes_cluster.KubernetesCluster() as cluster, cluster.namespace() as namespace:
        os.environ["KUBECONFIG"] = cluster.kubeconfig
        settings = pods.settings_for(url, namespace, cluster.worker_image(), folder)
        pods.ours_once(settings)  # the image is unpacked, the owner is there
        for _ in range(rounds):
            ours.append(pods.ours_once(settings))
            bare.append(pods.bare_once(settings, cluster))
    return statistics.median(ours), statistics.median(bare)


def print_row(fleet: str, ours: float, bare: float) -> None:
    """Print a fleet's medians."""
    print(f"{fleet:10} {ours:6.2f} s   bare {bare:6.2f} s   ratio {ours / bare:.2f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="process,docker,swarm,kubernetes,standby", help="comma-separated")
    given = parser.parse_args()
    rounds: int = given.rounds
    only = set(given.only.split(","))
    use_logging()
    print("from a burst's first message to an additional worker's first finished upload, medians")
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(
            rabbitmq_node.RabbitNode(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        )
        fleets, docker = ["process"], _no_docker
        if not only & {"docker", "swarm"}:
            pass
        elif reason := docker_engine.missing():
            print(f"docker, swarm: left out: {reason}")
        else:
            engine = stack.enter_context(docker_engine.DockerEngine())
            engine.worker_image(IMAGE)
            engine.init_swarm()
            if engine.host:
                os.environ["DOCKER_HOST"] = engine.host
            fleets, docker = ["process", "docker", "swarm"], engine.docker
        for fleet in [fleet for fleet in fleets if fleet in only]:
            print_row(fleet, *asyncio.run(measure(fleet, node.url, rounds, docker)))
        if "kubernetes" not in only:
            pass
        elif reason := kubernetes_cluster.absent() or kubernetes_cluster.missing():
            print(f"kubernetes: left out: {reason}")
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            print_row("kubernetes", *measure_kubernetes(node.url, rounds, folder))
        if "standby" in only:
            print(f"standby    {asyncio.run(measure_standby(node.url, rounds)) * 1000:6.1f} ms", flush=True)


def _no_docker(*_: str) -> str:
    raise RuntimeError("no Docker engine")


if __name__ == "__main__":
    main()
