"""Uploads through containers, over RabbitMQ, while everything around the containers breaks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import docker_engine
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.docker_engine import DockerEngine

pytestmark = [pytest.mark.docker, pytest.mark.rabbitmq, pytest.mark.slow, pytest.mark.timeout(3600)]

APP = f"faults-{os.getpid()}"
IMAGE, KEPT = "upswell-faults:test", "upswell-faults:kept"
UPLOADS = int(os.environ.get("UPSWELL_FAULT_UPLOADS", "120"))
"""Uploads while everything breaks: a fifth of them before each fault."""
SIZE = 20_000
SECONDS = 240.0
"""How long one step may take on a busy machine; it takes some seconds."""


@pytest.fixture
def own_engine(engine: DockerEngine) -> Iterator[DockerEngine]:
    """An engine that can be stopped, with the worker's image under two names."""
    engine.base_image()  # into the cache, if it is not there yet
    with docker_engine.DockerEngine(private=True) as own:
        own.worker_image(IMAGE)
        own.docker("tag", IMAGE, KEPT)
        yield own


@pytest.fixture
def system(own_engine: DockerEngine, rabbitmq: str) -> Iterator[System]:
    """One application, its workers containers of that engine."""
    folder = Path(tempfile.mkdtemp(prefix="upswell-faults.", dir="/var/tmp"))
    secrets = Path(tempfile.mkdtemp(prefix="upswell-faults.", dir="/dev/shm"))
    try:
        with System(
            folder, broker_url=rabbitmq, app_id=APP, fleet="docker", fleets_docker_image=IMAGE,
            fleets_docker_tmpfs_dir=str(secrets), slots=1, max_workers=4,
            upload_rate_limit=2 * SIZE, start_timeout=120, log_format="json",
        ) as made:  # fmt: skip
            made.environment["DOCKER_HOST"] = own_engine.host or ""
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(secrets, ignore_errors=True)


class Story:
    """What breaks, and what is seen of it from outside."""

    def __init__(self, system: System, engine: DockerEngine) -> None:
        self.system = system
        self.engine = engine

    def containers(self, *flags: str) -> set[str]:
        """Return the ids of the workers that run, or with `--all` of those that are there."""
        listed = self.engine.docker("ps", *flags, "--format", "{{.Names}}")
        return {name.removeprefix("upswell-") for name in listed.split()}

    def until(self, count: int) -> set[str]:
        """Return those that run, once they are so many and no others are there."""

        def settled() -> bool:
            return len(self.containers()) == len(self.containers("--all")) == count

        wait_until(settled, SECONDS, lambda: f"{self.containers('--all')}{self.system.logs()}")
        return self.containers()

    def until_started(self, worker_ids: set[str]) -> None:
        """Wait until workers have said that they work; before that, a signal ends them as any process."""
        wait_until(
            lambda: all("worker.started" in self.printed(worker_id) for worker_id in worker_ids),
            SECONDS,
            self.system.logs,
        )

    def printed(self, worker_id: str) -> str:
        """Return what a worker has printed."""
        return self.engine.docker("logs", f"upswell-{worker_id}", both_streams=True)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the scaler's events of a name."""
        return self.system.events("scaler", name)

    def until_event(self, name: str, count: int = 1) -> None:
        """Wait until the scaler has logged an event so often."""
        wait_until(lambda: len(self.events(name)) >= count, SECONDS, self.system.logs)

    def flows(self, before: int) -> None:
        """Wait until more uploads are stored than before."""
        wait_until(lambda: self.system.stored_count() > before + 3, SECONDS, self.system.logs)


def test_nothing_is_lost_and_nothing_is_left_while_everything_around_the_containers_breaks(  # noqa: PLR0915 - a story
    system: System, own_engine: DockerEngine
) -> None:
    story = Story(system, own_engine)
    parts = system.split(system.make_requests(UPLOADS, size=SIZE), 5)
    system.start("monitor")
    scaler = system.start("scaler")
    wait_until(lambda: "scaler.started" in system.said(), SECONDS, system.logs)
    system.set_by_hand(1, SECONDS)
    before = system.stored_count()
    system.publish(next(parts))
    story.until(1)
    story.flows(before)

    # The scaler is killed in the middle of a scale-out; the next one adopts what was started.
    system.run("scale", APP, "3", "--for", "1h")
    wait_until(lambda: len(story.containers("--all")) > 1, SECONDS, system.logs)
    scaler.send_signal(signal.SIGKILL)
    scaler.wait()
    system.start("scaler")
    story.until(3)

    # The engine is stopped, and its containers with it; they are replaced when it is back.
    system.publish(next(parts))
    own_engine.halt()
    story.until_event("scaler.fleet_unreachable")
    own_engine.resume()
    story.until_event("scaler.fleet_reachable")
    three = story.until(3)

    # A worker is killed in the midst of uploads: a crash, its last lines are kept, and it is replaced.
    system.publish(next(parts))
    crashed = len(story.events("scaler.worker_crashed"))
    victim = min(three)
    story.until_started({victim})
    own_engine.docker("kill", f"upswell-{victim}")
    story.until_event("scaler.worker_crashed", crashed + 1)
    crash = story.events("scaler.worker_crashed")[-1]
    assert (crash["worker_id"], crash["exit_code"]) == (victim, 137)
    story.until(3)
    wait_until(lambda: "crashed" in kept(system, victim), SECONDS, lambda: kept(system, victim))
    assert "exit code 137:" in kept(system, victim)
    assert re.search(r'"event": ?"worker\.', kept(system, victim))

    # The image is removed: no worker can be replaced until it is back, and decisions say so.
    system.publish(next(parts))
    failed = len(story.events("scaler.start_failed"))
    own_engine.docker("rmi", "--force", IMAGE)
    own_engine.docker("kill", f"upswell-{min(story.until(3))}")
    story.until_event("scaler.start_failed", failed + 1)
    assert "not found on the Docker engine" in story.events("scaler.start_failed")[-1]["error"]
    wait_until(lambda: "the platform refuses more (image" in explained(system), SECONDS, system.logs)
    own_engine.docker("tag", KEPT, IMAGE)
    system.publish(next(parts))
    story.until(3)
    wait_until(lambda: "the platform refuses" not in explained(system), SECONDS, system.logs)

    wait_until(lambda: system.stored_count() == UPLOADS, UPLOADS + SECONDS, system.logs)
    assert system.stored() == set(system.checksums)
    assert system.dead() == {}

    # And back to none: by message, each with exit code 0; neither a container nor a secret is left.
    story.until_started(story.until(3))
    left = len(story.events("scaler.worker_left"))
    system.run("down", timeout=SECONDS)
    story.until(0)
    ends = story.events("scaler.worker_left")[left:]
    assert [end["exit_code"] for end in ends] == [0, 0, 0]
    secrets = Path(system.environment["UPSWELL_FLEETS_DOCKER_TMPFS_DIR"])
    assert [path for path in secrets.rglob("*") if path.is_file()] == []


def kept(system: System, worker_id: str) -> str:
    """Return what `upswell logs` knows of a worker whose container is gone."""
    return system.run("logs", "--worker", worker_id, check=False).stdout


def explained(system: System) -> str:
    """Return the newest decision's explanation, on one line."""
    return " ".join(system.run("explain", "--app", APP).stdout.split())
