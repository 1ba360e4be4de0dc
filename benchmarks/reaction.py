"""How long from a burst's first message to the first upload that an additional worker has finished.

Each round publishes one upload to a queue that nobody consumes, and asks the scaler for one worker in the
same moment (the monitor's decision, a second or less, is left out). The clock stops at the upload's report.
Beside it runs the bare platform, started by its own command line with the same image and environment: what is
left is what the scaler adds. Standby: the worker is there, and is activated; part of it is the first
message's own way to the broker's disk, until it is confirmed. Rounds are interleaved, and medians printed;
RabbitMQ carries the queues, for standby also the embedded broker, and the handler does nothing.

    PYTHONPATH=tests .venv/bin/python benchmarks/reaction.py [--rounds 5] [--only standby]

Docker and Swarm need an engine (DOCKER_HOST, or root and Debian's dockerd), Kubernetes a cluster
(tests/support/kubernetes_cluster.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import (  # pyright: ignore[reportMissingImports]
    docker_engine,
    kubernetes_cluster,
    rabbitmq_node,
)
from upswell.broker import open_broker, topology
from upswell.broker.protocol import Message
from upswell.events import use_logging
from upswell.fleets.environment import worker_environment
from upswell.fleets.registry import open_fleet
from upswell.messages import ScaleRequest, UploadRequest, encode
from upswell.scaler import Scaler
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from upswell.broker.protocol import Broker

IMAGE = "upswell-worker:test"
PATIENCE = 120.0


class Bench:
    """One fleet: its scaler, its broker, and the instants of reports.

    Args:
        fleet: its name.
        url: of the broker.
        folder: a new one, for all state.
        own: the fleet's own settings.
        standby: so many workers stand by.
        most: so many may run.
        seconds: that an upload takes.
        slots: of each worker; 0: the default.
    """

    def __init__(
        self,
        fleet: str,
        url: str,
        folder: Path,
        own: dict[str, Any] | None = None,
        *,
        standby: int = 0,
        most: int = 3,
        seconds: float = 0.0,
        slots: int = 0,
    ) -> None:
        self.fleet_name = fleet
        self.standby = standby
        self.app_id = f"reacting-{folder.name}"  # a worker of another bench must not take its uploads
        self.settings = Settings(
            broker_url=url,
            state_dir=str(folder),
            report_queue=f"report-{folder.name}",
            fleet=fleet,
            fleets={fleet: own} if own else {},
            destination="s3://bucket",
            source_roots=[],
            handler="simulate",
            handlers={"simulate": {"seconds": str(seconds)}},
            apps={
                self.app_id: {
                    "min_workers": 0,
                    "max_workers": most,
                    "standby_workers": standby,
                    **({"slots": slots} if slots else {}),
                }
            },
        )
        self.fleet = open_fleet(self.settings)
        self.broker: Broker = open_broker(self.settings, name=f"bench-{folder.name}")
        self.scaler = Scaler(broker=self.broker, fleet=self.fleet, settings=self.settings, name=folder.name)
        self.reported = asyncio.Event()
        self.confirm_seconds = 0.0
        self._requests = 0

    async def open(self) -> None:
        """Connect, and let the scaler run."""
        await self.broker.connect()
        reports = topology.report_queue(self.settings.report_queue)
        await self.broker.declare(reports)
        await self.broker.consume(reports.name, self._on_report, prefetch_count=10)
        self._running = asyncio.create_task(self.scaler.run())
        async with asyncio.timeout(PATIENCE):
            while not self.scaler._targets:  # noqa: SLF001 - it has not begun to obey yet
                await self.ask_for(0)
                await asyncio.sleep(0.1)

    async def react(self, start: Callable[[], Awaitable[None]]) -> float:
        """Publish one upload, start a worker somehow; return the seconds until its report."""
        self.reported.clear()
        begun = time.monotonic()
        await self.publish()
        self.confirm_seconds = time.monotonic() - begun
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
        message = Message(body=encode(request), exchange=exchange, persistent=False, mandatory=False)
        await self.broker.publish(message)

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
    """A worker that is started by the platform's own command: `tool` runs docker, or kubectl."""

    def __init__(self, bench: Bench, tool: Callable[..., str]) -> None:
        self._bench = bench
        self._tool = tool
        self._name = f"bare-{secrets.token_hex(4)}"
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
        if self._bench.fleet_name == "kubernetes":
            own = self._bench.settings.fleets["kubernetes"]
            pod = json.dumps({"spec": {"hostNetwork": True}})
            how = ("-n", own["namespace"], "run", self._name, "--restart=Never", f"--overrides={pod}")
            await asyncio.to_thread(self._tool, *how, f"--image={own['image']}", *given, "--", *command)
            return
        if self._bench.fleet_name == "docker":
            how = ("run", "--detach", "--name", self._name, "--network", "host")
        else:
            job = ("--mode", "replicated-job", "--restart-condition", "none", "--detach")
            how = ("service", "create", "--name", self._name, *job, "--network", "host")
        await asyncio.to_thread(self._tool, *how, *given, IMAGE, *command)

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait)
            self._process = None
        elif self._bench.fleet_name == "docker":
            await asyncio.to_thread(self._tool, "rm", "--force", self._name)
        elif self._bench.fleet_name == "swarm":
            await asyncio.to_thread(self._tool, "service", "rm", self._name)
        else:
            namespace = self._bench.settings.fleets["kubernetes"]["namespace"]
            delete = ("delete", "pod", self._name, "--grace-period=1", "--wait=false")
            await asyncio.to_thread(self._tool, "-n", namespace, *delete)


async def measure(
    fleet: str, url: str, rounds: int, tool: Callable[..., str], own: dict[str, Any]
) -> tuple[float, float]:
    """Return the medians: of our reaction, and of the bare platform's."""
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(fleet, url, Path(folder), own)
        await bench.open()
        try:
            for _ in range(rounds):
                await bench.idle()
                ours.append(await bench.react(lambda: bench.ask_for(1)))
                await bench.rest()
                await bench.idle()
                worker = BareWorker(bench, tool)
                bare.append(await bench.react(worker.start))
                await worker.stop()
        finally:
            await bench.close()
    return statistics.median(ours), statistics.median(bare)


async def measure_standby(url: str, rounds: int) -> tuple[float, float]:
    """Return the medians of an activation, and of the first message's confirm, which is part of it."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench("process", url, Path(folder), standby=1)
        await bench.open()
        times: list[float] = []
        confirms: list[float] = []
        try:
            for _ in range(rounds):
                await bench.rest()
                times.append(await bench.react(lambda: bench.ask_for(1)))
                confirms.append(bench.confirm_seconds)
        finally:
            await bench.close()
    return statistics.median(times), statistics.median(confirms)


@contextlib.contextmanager
def pods_for(folder: Path) -> Iterator[tuple[kubernetes_cluster.KubernetesCluster, dict[str, Any]]]:
    """Yield a cluster, and the settings of pods on it that use this machine's network."""
    template = folder / "template.yaml"
    template.write_text(json.dumps({"spec": {"hostNetwork": True}}))
    with kubernetes_cluster.KubernetesCluster() as cluster, cluster.namespace() as namespace:
        os.environ["KUBECONFIG"] = cluster.kubeconfig
        image = cluster.worker_image()
        yield cluster, {"image": image, "namespace": namespace, "pod_template": str(template)}


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
        tools: dict[str, Callable[..., str]] = {"process": _no_tool} if "process" in only else {}
        own: dict[str, Any] = {"image": IMAGE}
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
            tools |= {fleet: engine.docker for fleet in ("docker", "swarm") if fleet in only}
        for fleet, tool in tools.items():
            settings = {} if fleet == "process" else own
            print_row(fleet, *asyncio.run(measure(fleet, node.url, rounds, tool, settings)))
        if "kubernetes" not in only:
            pass
        elif reason := kubernetes_cluster.absent() or kubernetes_cluster.missing():
            print(f"kubernetes: left out: {reason}")
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            with pods_for(folder) as (cluster, settings):
                row = asyncio.run(measure("kubernetes", node.url, rounds, cluster.kubectl, settings))
                print_row("kubernetes", *row)
        for broker, url in (("rabbitmq", node.url), ("embedded", "")) if "standby" in only else ():
            whole, confirm = asyncio.run(measure_standby(url, rounds))
            print(
                f"standby, {broker:10} {whole * 1000:6.1f} ms, of it {confirm * 1000:.1f} ms until the first "
                "message is confirmed",
                flush=True,
            )


def _no_tool(*_: str) -> str:
    raise RuntimeError("a process needs no tool")


if __name__ == "__main__":
    main()
