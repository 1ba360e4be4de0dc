"""The scaler's processor time with 500 workers that run, where nothing changes: all of it, share of a core.

A whole Scaler makes its rounds for each fleet, over a broker in memory that hands it each worker's status
every second. A stand-in for the engine's API, in a process of its own, answers with containers, services and
tasks of a real one's size; pods come from the stand-in of benchmarks/pods.py. Beside the share it prints how
many questions a minute the platform was asked.

    PYTHONPATH=tests .venv/bin/python benchmarks/scaler_cpu.py [--workers 500] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from aiohttp import web

from pods import idle_share
from support.memory_broker import (  # pyright: ignore[reportMissingImports]
    MemoryBroker,
)
from upswell.broker.protocol import Message
from upswell.events import use_logging
from upswell.fleets.protocol import WorkerSpec
from upswell.fleets.registry import open_fleet
from upswell.fleets.worker_labels import labels
from upswell.messages import ScaleRequest, WorkerStatus, encode
from upswell.scaler import Scaler
from upswell.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

APP, INSTALLATION = "many", "bench"
PADDING = {f"field-{number}": "of a real answer's length" for number in range(60)}
"""A container as listed has about 2 kB, a service or a task 4 kB."""


def settings_for(fleet: str, workers: int, folder: Path) -> Settings:
    """Return settings under which so many workers run."""
    return Settings(
        broker_url="amqp://u:p@127.0.0.1",
        state_dir=str(folder),
        destination="s3://bucket",
        source_roots=[],
        fleet=fleet,
        fleets={fleet: {"installation": INSTALLATION}},
        apps={APP: {"min_workers": 0, "max_workers": 2 * workers}},
    )


class StandIn:
    """Answers as an engine that manages a Swarm, with so many workers."""

    def __init__(self, settings: Settings, names: list[str], asked: Synchronized[int]) -> None:
        told = [labels(spec(name), INSTALLATION, settings, reports_status=True)[0] for name in names]
        self._asked = asked
        self._answers = {
            "containers/json": [
                {"Id": one["upswell.worker"], "Labels": one, "State": "running", "Status": "Up", **PADDING}
                for one in told
            ],
            "services": [
                {
                    "ID": one["upswell.worker"],
                    "Spec": {
                        "Labels": one,
                        "TaskTemplate": {"ContainerSpec": {"Labels": one, "Secrets": []}},
                    },
                    **PADDING,
                }
                for one in told
            ],
            "tasks": [
                {
                    "ID": one["upswell.worker"],
                    "NodeID": "n1",
                    "DesiredState": "complete",
                    "Spec": {"ContainerSpec": {"Labels": one}},
                    "Status": {"State": "running", "ContainerStatus": {"ContainerID": one["upswell.worker"]}},
                    **PADDING,
                }
                for one in told
            ],
            "nodes": [
                {
                    "ID": "n1",
                    "Description": {"Hostname": "n1"},
                    "Spec": {"Availability": "active", "Role": "manager"},
                    "Status": {"State": "ready"},
                }
            ],
            "secrets": [],
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one question."""
        path = request.path.split("/", 2)[-1] if request.path.startswith("/v") else request.path[1:]
        if path == "version":
            return web.json_response({"ApiVersion": "1.43"})
        if path == "events":
            stream = web.StreamResponse(headers={"Content-Type": "application/json"})
            await stream.prepare(request)
            await asyncio.get_running_loop().create_future()
        with self._asked.get_lock():
            self._asked.value += 1
        return web.json_response(self._answers[path])

    def serve(self, socket: str) -> None:
        """Answer until killed."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        web.run_app(app, path=socket, print=None)


def spec(name: str) -> WorkerSpec:
    """Return a worker's spec."""
    return WorkerSpec(worker_id=name, app_id=APP, standby=False, requested_at=1.0, environment={})


async def share(settings: Settings, names: list[str], seconds: float) -> float:
    """Return the share of a core that a scaler takes while its workers run and nothing changes."""
    broker: Any = MemoryBroker()
    fleet = open_fleet(settings)
    scaler = Scaler(broker=broker, fleet=fleet, settings=settings, name="bench")
    running = asyncio.create_task(scaler.run())
    bodies = [
        encode(WorkerStatus(app_id=APP, worker_id=name, state="ready", busy=1, slots=4, at=time.time()))
        for name in names
    ]

    async def report() -> None:
        for body in bodies:
            broker.publish(Message(body=body, routing_key="upswell.status.scaler.bench"))

    try:
        await asyncio.sleep(1.0)
        await report()
        request = ScaleRequest(
            app_id=APP, desired_workers=len(names), decided_at=time.time(), reason="", epoch=1
        )
        scaler._messaging.requests.offer(request, time.time())  # noqa: SLF001 - as it arrives
        await asyncio.sleep(5.0)
        assert [w.phase for w in scaler.workers()] == ["ready"] * len(names), scaler.workers()[:2]
        begin, used = time.monotonic(), time.process_time()
        while time.monotonic() - begin < seconds:
            await report()
            await asyncio.sleep(1.0)
        return (time.process_time() - used) / (time.monotonic() - begin)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await fleet.close()


def measure(fleet: str, workers: int, seconds: float) -> tuple[float, float]:
    """Return the share of a core, and questions a minute."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(fleet, workers, Path(folder) / "state")
        names = [f"{APP}-{number:010x}" for number in range(workers)]
        socket = f"{folder}/engine.sock"
        context = multiprocessing.get_context("spawn")
        asked = context.Value("i", 0)
        server = context.Process(target=StandIn(settings, names, asked).serve, args=(socket,), daemon=True)
        server.start()
        while not Path(socket).exists():
            time.sleep(0.05)
        os.environ["DOCKER_HOST"] = f"unix://{socket}"
        before = time.monotonic()
        used = asyncio.run(share(settings, names, seconds))
        minutes = (time.monotonic() - before) / 60
        server.kill()
        server.join()
        return used, asked.value / minutes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    use_logging()
    for fleet in ("docker", "swarm"):
        used, asked = measure(fleet, given.workers, given.seconds)
        print(f"{fleet:10} {given.workers} workers: {used:6.2%} of a core, {asked:.1f} questions a minute")
    print(f"kubernetes {given.workers} pods:    {idle_share(given.workers):6.2%} of a core, the fleet alone")


if __name__ == "__main__":
    main()
