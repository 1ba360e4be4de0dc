"""`upswell restart` and `upswell down`, typed beside the real loop under load, on both brokers."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WORKERS = 3


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    settings = {"status_interval": 0.5, "decision_interval": 0.5, "slots": 2, "upload_rate_limit": 20_000}
    bounds = {"min_workers": WORKERS, "max_workers": WORKERS}
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", **settings, **bounds) as made:
        yield made


def states(system: System) -> dict[str, int]:
    return json.loads(system.run("status", "--json").stdout)["apps"][0]["workers"]


def all_work(system: System) -> None:
    wait_until(lambda: states(system) == {"ready": WORKERS}, 90, system.logs)


class Watcher:
    """Finds how few processes run while a command does; those of a worker that drains are there too."""

    def __init__(self, system: System) -> None:
        self.fewest = 1000
        self._system = system
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        """Take two looks together: one takes its time, and misses who starts meanwhile, and who leaves."""
        before = self._system.workers().keys()
        while not self._done.is_set():
            now = self._system.workers().keys()
            self.fewest = min(self.fewest, len(before | now))
            before = now
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def test_restart_at_max_workers_replaces_each_worker_and_never_runs_fewer(system: System) -> None:
    requests = system.make_requests(60, size=20_000)
    system.start("up")
    all_work(system)
    old = set(system.workers().values())
    system.publish(requests)
    with Watcher(system) as seen:
        said = system.run("restart", "--app", system.app_id, timeout=200).stdout
    assert said.startswith(f"restarting {WORKERS} workers\n")
    assert said.endswith(f"restarted {WORKERS} workers\n")
    assert " to go" in said
    assert seen.fewest >= WORKERS
    all_work(system)
    assert not old & set(system.workers().values())
    wait_until(lambda: system.stored_count() == 60, 90, system.logs)
    assert len(system.stored()) == 60
    assert system.dead_count() == 0


def test_down_lets_every_upload_end_and_leaves_nothing_running_and_nothing_lost(system: System) -> None:
    requests = system.make_requests(80, size=60_000)  # a minute of work: a busy machine is in time
    monitor, scaler = system.start("monitor"), system.start("scaler")
    by_hand = system.start("worker")
    system.publish(requests)
    wait_until(lambda: states(system).get("ready") == WORKERS + 1, 90, system.logs)
    hurried = system.run("down", "--timeout", "1s", check=False)
    assert hurried.returncode == 1
    assert "; they go on draining, nothing is lost (`upswell down` waits again" in hurried.stderr
    said = system.run("down", timeout=120).stdout
    assert said.splitlines()[-1].startswith("down: all workers have finished, ")
    assert "monitor" in said.splitlines()[-1]
    assert (monitor.wait(60), scaler.wait(60), by_hand.wait(60)) == (0, 0, 0)
    assert not system.workers()
    done = len(system.stored())

    def ready() -> int:
        """RabbitMQ puts back what a closed connection had, a moment later."""
        return json.loads(system.run("status", "--json").stdout)["apps"][0]["depth"]["messages_ready"]

    wait_until(lambda: ready() + done == 80, 60, lambda: f"{ready()} ready, {done} stored")
    assert system.dead_count() == 0
    assert "requeued" not in system.said()
    assert "worker.uploads_released" not in system.said()


def test_down_ends_up_as_ctrl_c_does(system: System) -> None:
    up = system.start("up")
    all_work(system)
    assert system.run("down").stdout.splitlines()[-1].startswith("down: all workers have finished, scaler")
    assert up.wait(60) == 0
    assert not system.workers()
    assert system.run("down").stdout == "no scaler and no monitor runs, and no worker is heard\n"


def test_without_a_scaler_restart_says_what_to_start(system: System) -> None:
    done = system.run("restart", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no scaler is connected to this broker")


def checked(system: System) -> str:
    """Return the warnings of `config check`, once the broker has answered it in time."""
    told = ""

    def is_answered() -> bool:
        nonlocal told
        told = system.run("config", "check").stderr
        return "is unknown" not in told

    wait_until(is_answered, 60, lambda: told)
    return told


def test_config_check_names_the_workers_that_need_a_restart_and_why(system: System) -> None:
    system.start("up")
    all_work(system)
    assert "warning" not in checked(system)
    system.environment["UPSWELL_SLOTS"] = "8"
    warning = (
        f"warning: {WORKERS} workers of {system.app_id} run other settings (slots 2 → 8): "
        f"reload the scaler, then `upswell restart --app {system.app_id}`\n"
    )

    # It tells of those workers that it has heard.
    wait_until(lambda: checked(system) == warning, 60, lambda: checked(system))
    assert system.run("config", "check", "--offline").stderr == ""
