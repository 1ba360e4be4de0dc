"""Ways to carry workers on Swarm, side by side: what becomes of those that work when others come and go.

    .venv/bin/python benchmarks/swarm_variants.py [--workers 8]

A real Swarm of one engine (root and Debian's dockerd). Each way starts workers, takes half as many more, has
one leave that we chose (it drains and ends with 0, as by message), and lowers the number to what is left.
Then the node's operator drains it (its tasks get the signal that a stop sends, no grace here).
Killed: workers that ran, were not told to leave, and are gone. Commands: of `docker`, to start the first.
docs/decisions/0024-one-swarm-job-a-worker.md has what was chosen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support import docker_engine  # pyright: ignore[reportMissingImports] - put on the path above

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = "upswell-variants:test"
SETTLE_SECONDS = 10.0
"""After each change, so that what Swarm does about it is seen; it acts within two."""
WORKER = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))  # told to leave: it drains and ends
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))  # killed
while True:
    signal.pause()
"""


class Way:
    """One way on one engine: what `docker` is told; counts the commands."""

    def __init__(self, engine: docker_engine.DockerEngine) -> None:
        self._engine = engine
        self.commands = 0
        self.services: list[str] = []

    def service(self, count: int, *flags: str) -> None:
        """Create a service of so many tasks."""
        name = f"variant-{len(self.services)}"
        self.services.append(name)
        self.docker("service", "create", "--detach", "--name", name, "--replicas", str(count), *flags, IMAGE)

    def job(self, count: int) -> None:
        """Create a job of so many tasks."""
        # By default as many as the first ones run at once: no more could come to them.
        at_once = ("--max-concurrent", "1000")
        self.service(count, "--mode", "replicated-job", "--restart-condition", "none", *at_once)

    def one_each(self, count: int) -> None:
        """Create a job a worker, four at a time."""
        with ThreadPoolExecutor(4) as pool:
            for made in [pool.submit(self.job, 1) for _ in range(count)]:
                made.result()

    def scale(self, count: int) -> None:
        """Change the number of the one service's tasks."""
        self.docker("service", "scale", "--detach", f"{self.services[0]}={count}")

    def remove_ended(self) -> None:
        """Remove the services of which nothing runs."""
        running = self.docker("ps", "--format", '{{.Label "com.docker.swarm.service.name"}}').split()
        for name in set(self.services) - set(running):
            self.services.remove(name)
            self.docker("service", "rm", name)

    def remove_all(self) -> None:
        """Leave nothing behind."""
        for name in self.services:
            self.docker("service", "rm", name)
        while self.running():
            time.sleep(0.2)

    def docker(self, *arguments: str) -> str:
        """Run a command."""
        self.commands += 1
        return self._engine.docker(*arguments)

    def running(self) -> set[str]:
        """Return the containers that run."""
        return set(self._engine.docker("ps", "--quiet", "--filter", "name=variant-").split())


class Variant(NamedTuple):
    """How so many start, how more come to those, and how the number comes down to what is left."""

    name: str
    start: Callable[[Way, int], None]
    add: Callable[[Way, int, int], None]
    lower: Callable[[Way, int], None]


def _remove_ended(way: Way, _: int) -> None:
    way.remove_ended()


def _scale_out(way: Way, count: int, more: int) -> None:
    way.scale(count + more)


def _never_restarted(way: Way, count: int) -> None:
    way.service(count, "--restart-condition", "none")


VARIANTS = (
    Variant("a job a worker", Way.one_each, lambda way, _, more: way.one_each(more), _remove_ended),
    Variant("a job a scale-out", Way.job, lambda way, _, more: way.job(more), _remove_ended),
    Variant("one job, resized", Way.job, _scale_out, Way.scale),
    Variant("one service", Way.service, _scale_out, Way.scale),
    Variant("one service, no restarts", _never_restarted, _scale_out, Way.scale),
)


def until(count: int, way: Way) -> None:
    """Return when so many run."""
    begun = time.monotonic()
    while len(way.running()) < count:
        if time.monotonic() - begun > 120:
            raise RuntimeError(f"{len(way.running())} of {count} run")
        time.sleep(0.1)


def measure(variant: Variant, engine: docker_engine.DockerEngine, count: int) -> str:
    """Return one variant's row."""
    way = Way(engine)
    begun = time.monotonic()
    variant.start(way, count)
    commands = way.commands
    until(count, way)
    seconds = time.monotonic() - begun
    before = way.running()
    variant.add(way, count, count // 2)
    until(count + count // 2, way)
    time.sleep(SETTLE_SECONDS)
    lost_out = len(before - way.running())
    before = way.running()
    leaves = min(before)
    way.docker("kill", "--signal", "USR1", leaves)
    time.sleep(SETTLE_SECONDS)
    again = len(way.running() - before)
    before = way.running()
    variant.lower(way, count + count // 2 - 1)
    time.sleep(SETTLE_SECONDS)
    after = way.running()
    lost_in, started = len(before - after), again + len(after - before)
    node = way.docker("info", "--format", "{{.Swarm.NodeID}}").strip()
    way.docker("node", "update", "--availability", "drain", node)
    time.sleep(SETTLE_SECONDS)
    lost_drained = len(after - way.running())
    way.docker("node", "update", "--availability", "active", node)
    way.remove_all()
    return f"{seconds:6.1f} s {commands:10} {lost_out:11} {lost_in:9} {lost_drained:14} {started:17}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    given = parser.parse_args()
    if reason := docker_engine.missing():
        print(reason, file=sys.stderr)
        return 1
    with docker_engine.DockerEngine(private=True) as engine, tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "worker.py"
        script.write_text(WORKER)
        engine.script_image(IMAGE, script)
        engine.init_swarm()
        print(f"{given.workers} workers, then half as many more, one leaves, the node is drained")
        print(f"{'':26}{'':20}{'killed':>11} {'killed':>9} {'killed with':>14} {'started':>17}")
        heads = f"{'start':>8} {'commands':>10} {'going out':>11} {'going in':>9} {'the node':>14}"
        print(f"{'':26}{heads} {'unwanted':>17}")
        for variant in VARIANTS:
            print(f"{variant.name:26}{measure(variant, engine, given.workers)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
