"""One worker, then many, then one again, while uploads flow: how long, what was asked, what was lost.

A Scaler is asked for `--workers` at once, and when all of them are busy, for one. Uploads are published all
the while, so that each worker that leaves has one in hand. Printed for each fleet: seconds until all consume,
seconds until one is left, requests to the platform's API for each worker (Docker's own log, and the fleet's
count for pods), workers that did not end by themselves with 0, and uploads that were delivered twice.

    PYTHONPATH=tests .venv/bin/python benchmarks/out_and_in.py [--workers 100] [--only process,docker]

Docker: root and Debian's dockerd. Kubernetes: tests/support/kubernetes_cluster.py, with `--pods` workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reaction import IMAGE, Bench, pods_for
from side_by_side import conclude, print_table
from support import (  # pyright: ignore[reportMissingImports]
    docker_engine,
    kubernetes_cluster,
    rabbitmq_node,
)
from upswell.events import capture
from upswell.fleets.kubernetes.fleet import KubernetesFleet
from upswell.messages import UploadReport, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UPLOAD_SECONDS = 3.0
QUEUED = 50
"""So many uploads wait at least, beyond those in hand."""
PATIENCE = 900.0
GOAL = 3.0


class Flow(Bench):
    """Publishes as fast as the workers take, and counts what is reported."""

    def __init__(self, fleet: str, url: str, folder: Path, own: dict[str, Any], most: int) -> None:
        super().__init__(fleet, url, folder, own, most=most, seconds=UPLOAD_SECONDS, slots=1)
        self.stored = 0
        self.again = 0
        self.killed = 0
        kill = self.fleet.kill

        async def counted(worker_id: str) -> None:
            self.killed += 1
            await kill(worker_id)

        self.fleet.kill = counted  # type: ignore[method-assign]

    def _on_report(self, delivery: Any) -> None:
        super()._on_report(delivery)
        report = decode(UploadReport, delivery.body)
        self.stored += report.outcome == "stored"
        self.again += (report.attempt or 1) > 1

    async def flow(self) -> None:
        """Keep uploads waiting."""
        queue = self.settings.upload_queue_of(self.app_id)
        while True:
            depth = await self.broker.depth(queue, in_flight=False)
            missing = QUEUED if depth is None else QUEUED - depth.messages_ready
            await asyncio.gather(*(self.publish() for _ in range(missing)))
            await asyncio.sleep(0.2)

    async def until_ready(self, count: int, *, busy: bool = False) -> float:
        """Return the seconds until so many workers consume, and no others are there."""
        begun = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            while True:
                workers = self.scaler.workers()
                fit = [w for w in workers if w.phase == "ready" and (w.busy or not busy)]
                if len(fit) == len(workers) == count:
                    return time.monotonic() - begun
                await asyncio.sleep(0.02)

    async def waiting_again(self) -> int:
        """Return how many of the uploads that wait were delivered before."""
        found = await self.broker.look(self.settings.upload_queue_of(self.app_id))
        return sum(delivery.attempt > 1 for delivery in found)


async def out_and_in(
    fleet: str, url: str, most: int, own: dict[str, Any], calls: Callable[[Flow], int | None]
) -> dict[str, Any]:
    """Return the figures of one fleet."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, capture() as logs:
        bench = Flow(fleet, url, Path(folder), own, most)
        await bench.open()
        flowing = asyncio.create_task(bench.flow())
        try:
            await bench.ask_for(1)
            await bench.until_ready(1)
            before = calls(bench)
            await bench.ask_for(most)
            out = await bench.until_ready(most)
            await bench.until_ready(most, busy=True)
            await bench.ask_for(1)
            back = await bench.until_ready(1)
            await asyncio.sleep(UPLOAD_SECONDS)  # the last reports, and a round that forgets what has ended
            after = calls(bench)
            flowing.cancel()
            again = bench.again + await bench.waiting_again()
            await bench.broker.purge(bench.settings.upload_queue_of(bench.app_id))
        finally:
            flowing.cancel()
            await bench.close()
    crashed = [log for log in logs if log["event"] in ("scaler.worker_crashed", "scaler.worker_silent")]
    for log in crashed:
        print(f"  {fleet}: {log}", file=sys.stderr)
    ends = [log["exit_code"] for log in logs if log["event"] == "scaler.worker_left"]
    if odd := [code for code in ends if code != 0]:
        print(f"  {fleet}: told to leave, and ended with {odd}", file=sys.stderr)
    return {
        "workers": most,
        "out_seconds": out,
        "in_seconds": back,
        "calls_a_worker": None if before is None or after is None else (after - before) / (most - 1),
        "ended_with_0": ends.count(0),
        "ended_otherwise": len(crashed) + sum(code != 0 for code in ends) + bench.killed,
        "redelivered": again,
        "stored": bench.stored,
    }


@contextlib.contextmanager
def docker_place() -> Iterator[tuple[dict[str, Any], Callable[[Flow], int | None]]]:
    """Yield settings, and what counts the engine's own log: one line a request."""
    with docker_engine.DockerEngine(private=True, flags=("--debug",)) as engine:
        engine.worker_image(IMAGE)
        os.environ["DOCKER_HOST"] = engine.host or ""
        secrets = tempfile.mkdtemp(prefix="upswell-bench.", dir="/dev/shm")
        try:
            yield {"image": IMAGE, "tmpfs_dir": secrets}, lambda _: engine.calls()
        finally:
            Path(secrets).rmdir()


def calls_of_pods(bench: Flow) -> int:
    """Return how many requests the fleet has made."""
    assert isinstance(bench.fleet, KubernetesFleet)
    return sum(bench.fleet.api.calls.values())


def row(fleet: str, found: dict[str, Any]) -> list[str]:
    """Return a fleet's line."""
    calls = found["calls_a_worker"]
    return [
        fleet,
        str(found["workers"]),
        f"{found['out_seconds']:.1f}",
        f"{found['in_seconds']:.1f}",
        "" if calls is None else f"{calls:.2f}",
        str(found["ended_with_0"]),
        str(found["ended_otherwise"]),
        str(found["redelivered"]),
        str(found["stored"]),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--pods", type=int, default=40)
    parser.add_argument("--only", default="process,docker,kubernetes", help="comma-separated")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    only = given.only.split(",")
    results: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        (home := Path(folder) / "rabbitmq").mkdir()
        url = stack.enter_context(rabbitmq_node.RabbitNode(home)).url
        if "process" in only:
            results["process"] = asyncio.run(out_and_in("process", url, given.workers, {}, lambda _: None))
        if "docker" in only and not docker_engine.missing():
            with docker_place() as (own, calls):
                results["docker"] = asyncio.run(out_and_in("docker", url, given.workers, own, calls))
        if "kubernetes" in only and not (kubernetes_cluster.absent() or kubernetes_cluster.missing()):
            with pods_for(Path(folder)) as (_, own):
                results["kubernetes"] = asyncio.run(
                    out_and_in("kubernetes", url, given.pods, own, calls_of_pods)
                )
    head = ["1 -> N -> 1", "N", "out s", "in s", "calls", "ended 0", "otherwise", "redelivered", "stored"]
    print_table(head, [row(fleet, found) for fleet, found in results.items()])
    print(f"calls: for each worker, goal at most {GOAL:g}; an upload takes {UPLOAD_SECONDS:g} s")
    conclude(results, as_json=given.json)


if __name__ == "__main__":
    main()
