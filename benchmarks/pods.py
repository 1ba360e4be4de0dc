"""What a worker as a pod costs: start-up beside `kubectl run`, 1 -> N -> 1, requests, the fleet's CPU.

- from the decision to start one to its first report, beside `kubectl run` of the same image and arguments;
- N workers started and ended: seconds, and requests to the API server for each;
- the fleet's processor time while 500 pods run and nothing changes: a stand-in for the API server answers.

On a cluster as the tests start it (tests/support/kubernetes_cluster.py), and the tests' RabbitMQ.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx2
import lightkube
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

from side_by_side import arguments, conclude, interleave, median, print_table, rabbitmq
from upswell.broker import open_broker, topology
from upswell.broker.protocol import Message
from upswell.fleets.environment import worker_environment
from upswell.fleets.kubernetes.fleet import KubernetesFleet
from upswell.fleets.protocol import WorkerSpec
from upswell.messages import UploadRequest, encode
from upswell.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.inbox import Inbox  # pyright: ignore[reportMissingImports] - the line above
from support.kubernetes_cluster import (  # pyright: ignore[reportMissingImports] - likewise
    KubernetesCluster,
    absent,
    missing,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from upswell.broker.protocol import Broker

APP = "pods"
OURS, BARE = "upswell", "kubectl run"
GOAL = 1.2
MANY = 500
WATCHED_SECONDS = 20.0


def settings_for(url: str, namespace: str, image: str, folder: Path) -> Settings:
    """Return settings of workers that only pretend to upload, on this machine's network."""
    template = folder / "template.yaml"
    template.write_text(json.dumps({"spec": {"hostNetwork": True}}))
    own = {"image": image, "namespace": namespace, "pod_template": str(template)}
    return Settings(
        broker_url=url,
        state_dir="/var/lib/upswell",
        report_queue="pods_report",
        destination="s3://none",
        handler="simulate",
        handlers={"simulate": {"seconds": "0"}},
        fleet="kubernetes",
        fleets={"kubernetes": own},
        apps={APP: {}},
    )


def spec(settings: Settings) -> WorkerSpec:
    """Return a worker to start, as the scaler asks for one."""
    return WorkerSpec(
        worker_id=f"{APP}-{secrets.token_hex(5)}",
        app_id=APP,
        standby=False,
        requested_at=time.time(),
        environment=worker_environment(settings.for_app(APP), APP),
    )


async def reports_of_one(settings: Settings, start: Callable[[], Any], end: Callable[[], Any]) -> float:
    """Return the seconds from `start` to the first report of a request that was waiting."""
    broker: Broker = open_broker(settings, name="bench")
    await broker.connect()
    try:
        await broker.declare(topology.dead_letter_queue(f"{APP}_upload"))
        await broker.declare(topology.upload_queue(f"{APP}_upload", delivery_limit=settings.delivery_limit))
        await broker.declare(topology.report_queue(settings.report_queue))
        name = secrets.token_hex(4)
        request = UploadRequest(app_id=APP, type="file", uri="file:///nothing", id=name, key=name)
        await broker.publish(Message(body=encode(request), routing_key=f"{APP}_upload", message_id=name))
        inbox = Inbox(acking=broker)
        await broker.consume(settings.report_queue, inbox, prefetch_count=10)
        begin = time.monotonic()
        await start()
        await inbox.wait(1, 120.0)
        seconds = time.monotonic() - begin
        await end()
        return seconds
    finally:
        await broker.close()


def ours_once(settings: Settings) -> float:
    """Start one worker by the fleet, whose reflector runs already."""

    async def scenario() -> float:
        fleet = KubernetesFleet(settings)
        await fleet.list()
        worker = spec(settings)
        try:
            return await reports_of_one(
                settings, lambda: fleet.start(worker), lambda: ended(fleet, {worker.worker_id})
            )
        finally:
            await fleet.close()

    return asyncio.run(scenario())


async def ended(fleet: KubernetesFleet, names: set[str]) -> None:
    """End workers, and wait until their pods are gone."""
    for name in sorted(names):
        await fleet.drain(name)
    while left := [worker for worker in await fleet.list() if worker.worker_id in names]:
        for worker in left:
            if worker.state == "exited":
                await fleet.forget(worker.worker_id)
        await asyncio.sleep(0.05)


def bare_once(settings: Settings, cluster: KubernetesCluster) -> float:
    """Start one worker by `kubectl run`."""
    own = settings.fleets["kubernetes"]
    name = f"bare-{secrets.token_hex(4)}"
    environment = {**worker_environment(settings.for_app(APP), APP)}
    pod = {"spec": {"hostNetwork": True}}
    given = [f"--env={key}={value}" for key, value in environment.items()]
    run = ("run", name, f"--image={own['image']}", "--restart=Never", f"--overrides={json.dumps(pod)}")

    async def start() -> None:
        await asyncio.to_thread(
            cluster.kubectl, "-n", own["namespace"], *run, *given, "--", "worker", "--app", APP
        )

    async def end() -> None:
        await asyncio.to_thread(
            cluster.kubectl, "-n", own["namespace"], "delete", "pod", name, "--grace-period=1"
        )

    return asyncio.run(reports_of_one(settings, start, end))


def out_and_in(settings: Settings, count: int) -> dict[str, float]:
    """Start `count` workers at once, end them; return seconds and requests a worker."""

    async def scenario() -> dict[str, float]:
        fleet = KubernetesFleet(settings)
        await fleet.list()
        workers = [spec(settings) for _ in range(count)]
        begin = time.monotonic()
        await asyncio.gather(*map(fleet.start, workers))
        while any(worker.pending or not worker.node for worker in await fleet.list()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        asked = time.monotonic() - begin
        await ended(fleet, {worker.worker_id for worker in workers})
        whole = time.monotonic() - begin
        calls = sum(fleet.api.calls.values())
        await fleet.close()
        return {"placed_seconds": asked, "whole_seconds": whole, "requests_a_worker": calls / count}

    return asyncio.run(scenario())


def idle_share(count: int) -> float:
    """Return the share of a core that a fleet of `count` pods takes, asked each second as the scaler does."""
    pods = [
        {
            "metadata": {
                "name": f"w{number}",
                "uid": f"u{number}",
                "annotations": {"upswell/worker": f"w{number}", "upswell/app": APP},
                # As large as a real one, about 5 kB, most of it this.
                "managedFields": [{"manager": "m", "fieldsV1": {f"f:field-{n}": {} for n in range(250)}}],
            },
            "spec": {"nodeName": "node0", "containers": [{"name": "worker", "image": "i"}]},
            "status": {"phase": "Running"},
        }
        for number in range(count)
    ]
    listed = json.dumps({"metadata": {"resourceVersion": "1"}, "items": pods}).encode()

    class Silent(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            await asyncio.get_running_loop().create_future()
            yield b""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if "watch" in request.url.params:
            return httpx2.Response(200, stream=Silent())
        return httpx2.Response(200, content=listed)

    async def scenario() -> float:
        fleet = KubernetesFleet(Settings(), watch_seconds=30.0)
        await fleet.list()
        begin, used = time.monotonic(), time.process_time()
        while time.monotonic() - begin < WATCHED_SECONDS:
            await fleet.list()
            await asyncio.sleep(1.0)
        # One list of all pods, which comes each half minute, is measured apart and added in full.
        share = (time.process_time() - used) / (time.monotonic() - begin)
        used = time.process_time()
        await fleet.api.list_pods({})
        await fleet.close()
        return share + (time.process_time() - used) / 30.0

    config = KubeConfig.from_one(cluster=Cluster(server="http://api"), user=User(token="t"))
    real, transport = lightkube.AsyncClient, httpx2.MockTransport(answer)
    with (
        mock.patch.object(KubeConfig, "from_env", return_value=config),
        mock.patch.object(
            lightkube, "AsyncClient", lambda **given: real(**{**given, "transport": transport})
        ),
    ):
        return asyncio.run(scenario())


def main() -> None:
    """Measure, print a table, and with --json one line more."""
    parser = arguments(__doc__ or "", repetitions=5)
    parser.add_argument("--workers", type=int, default=20, help="how many at once (default: 20)")
    options = parser.parse_args()
    if reason := absent() or missing():
        sys.exit(reason)
    with (
        rabbitmq() as url,
        KubernetesCluster() as cluster,
        cluster.namespace() as namespace,
        tempfile.TemporaryDirectory() as folder,
    ):
        settings = settings_for(url, namespace, cluster.worker_image(), Path(folder))
        os.environ["KUBECONFIG"] = cluster.kubeconfig
        ours_once(settings)  # the image is unpacked, the owner is there
        seconds = interleave(
            {OURS: lambda: ours_once(settings), BARE: lambda: bare_once(settings, cluster)},
            options.repetitions,
        )
        scaled = out_and_in(settings, options.workers)
    share = idle_share(MANY)
    ours, bare = median(seconds[OURS]), median(seconds[BARE])
    rows = [
        ["start to first report", f"{ours:.2f} s", f"{bare:.2f} s", f"{ours / bare:.2f}", f"{GOAL}"],
        [f"{options.workers} placed", f"{scaled['placed_seconds']:.1f} s", "", "", ""],
        [f"1 -> {options.workers} -> 1", f"{scaled['whole_seconds']:.1f} s", "", "", ""],
        ["requests a worker", f"{scaled['requests_a_worker']:.2f}", "", "", "3"],
        [f"CPU of the fleet, {MANY} pods", f"{share:.2%}", "", "", "5 %"],
    ]
    print_table(["what", OURS, BARE, "ratio", "goal"], rows)
    conclude(
        {"ours": ours, "bare": bare, "ratio": ours / bare, **scaled, "cpu_share": share},
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
