"""Under load, whatever can end in mid-work is ended; then each upload is stored, or dead with a reason.

Each test publishes 500 requests, breaks one thing while they are being uploaded, and counts from outside.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from conftest import skip_or_fail
from support import rabbitmq_node
from support.rabbitmq_node import RabbitNode
from support.system import System, wait_until
from support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UPLOADS = 500
SIZE = 4_000
BUSY = {
    "min_workers": 2,
    "max_workers": 3,
    "slots": 4,
    # Bytes per second and worker: 500 uploads take twenty seconds, so that a busy machine is in time.
    "upload_rate_limit": 40_000,
    "retry_backoff": 0.2,
    "decision_interval": 1,
}


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    """A monitor, a scaler and its workers, running, on either broker."""
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"a{uuid.uuid4().hex[:12]}", **BUSY) as running:
        start_loop(running)
        yield running


def start_loop(system: System) -> None:
    system.start("monitor")
    system.start("scaler", "--fleet", "process")
    wait_until(lambda: len(system.workers()) >= 2, 60, system.logs)


def wait_for_some(system: System) -> None:
    """Return in the thick of it: some uploads are stored and others are not."""
    wait_until(lambda: system.stored_count() >= 50, 60, system.logs)
    assert system.stored_count() < UPLOADS, "the fault came too late: slow the uploads down"


def begin(system: System) -> subprocess.Popen[bytes]:
    """Publish, and return in the thick of the uploads, which do not wait for the publisher's end."""
    requests = system.make_requests(UPLOADS, size=SIZE)
    publisher = system.start("publish", "--app", system.app_id, str(requests))
    wait_for_some(system)
    return publisher


def assert_nothing_lost(system: System, timeout: float = 90) -> None:
    """Every published upload is in the store with the right bytes; none died of any of these faults."""
    wait_until(
        lambda: system.stored_count() == UPLOADS,
        timeout,
        lambda: f"{system.stored_count()} of {UPLOADS} stored, dead: {system.dead()}{system.logs()}",
    )
    assert len(system.stored()) == UPLOADS
    assert system.dead() == {}


def test_no_upload_is_lost_when_all_workers_are_killed_in_mid_upload(system: System) -> None:
    publisher = begin(system)
    victims = set(system.workers())
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert_nothing_lost(system)
    assert publisher.wait(60) == 0
    assert system.workers().keys() - victims, "the scaler replaces crashed workers"


@pytest.mark.parametrize("command", ["monitor", "scaler"])
def test_no_upload_is_lost_when_a_part_of_the_loop_is_killed(system: System, command: str) -> None:
    """Workers go on without it, and the new one finds them."""
    publisher = begin(system)
    before = set(system.workers())
    victim = next(c for c in system.commands if c.args[3] == command)
    victim.kill()
    victim.wait()
    assert set(system.workers()) >= before, "workers outlive the loop"
    system.start(*victim.args[3:])
    assert_nothing_lost(system)
    assert set(system.workers()) & before, "the new one adopted the running workers"
    assert publisher.wait(60) == 0


def test_no_upload_is_lost_or_doubled_when_the_publisher_is_killed_and_run_again(system: System) -> None:
    requests = system.make_requests(UPLOADS, size=SIZE)
    publisher = system.start("publish", "--app", system.app_id, "--rate", "40", str(requests))
    wait_until(lambda: system.stored_count() >= 50, 60, system.logs)
    publisher.kill()
    publisher.wait()
    assert system.stored_count() < UPLOADS
    system.publish(requests)
    assert_nothing_lost(system)


@pytest.mark.rabbitmq
def test_no_upload_is_lost_when_rabbitmq_stops_and_starts(tmp_path: Path) -> None:
    node = own_node(tmp_path)
    with node, System(tmp_path / "system", broker_url=node.url, app_id="e123456", **BUSY) as system:
        start_loop(system)
        publisher = system.start(
            "publish", "--app", "e123456", "--rate", "100", str(system.make_requests(UPLOADS, size=SIZE))
        )
        wait_for_some(system)
        node.restart()
        assert_nothing_lost(system)
        assert publisher.wait(60) == 0, "the publisher goes on by itself"


@pytest.mark.rabbitmq
def test_no_upload_is_lost_when_rabbitmq_is_killed(tmp_path: Path) -> None:
    node = own_node(tmp_path)
    with node, System(tmp_path / "system", broker_url=node.url, app_id="e123456", **BUSY) as system:
        start_loop(system)
        # RabbitMQ itself can lose a queue, with all that was confirmed to it, that was declared less than
        # about three seconds before a kill -9: a known limit, and no fault of ours.
        wait_until(lambda: system.said().count("event=worker.started") >= 2, 60, system.logs)
        node.sync()
        publisher = begin(system)
        node.kill()
        node.start()
        assert_nothing_lost(system)
        assert publisher.wait(60) == 0


def own_node(folder: Path) -> RabbitNode:
    """A node that a test may stop."""
    reason = rabbitmq_node.missing()
    if reason:
        skip_or_fail(reason)
    (folder / "node").mkdir()
    return RabbitNode(folder / "node")


def cut(proxy: TcpProxy) -> None:
    for _ in range(3):
        proxy.cut()
        time.sleep(1)


def stall(proxy: TcpProxy) -> None:
    """Nothing passes for a while and no connection ends: only heartbeats notice."""
    proxy.stall()
    time.sleep(8)
    proxy.resume()


@pytest.mark.rabbitmq
@pytest.mark.parametrize("fault", [cut, stall])
def test_no_upload_is_lost_when_connections_break(
    rabbitmq: str, tmp_path: Path, fault: Callable[[TcpProxy], None]
) -> None:
    with TcpProxy(urlsplit(rabbitmq).port or 5672) as proxy:
        url = f"amqp://guest:guest@127.0.0.1:{proxy.port}/%2F?heartbeat=4"
        with System(tmp_path, broker_url=url, app_id=f"a{uuid.uuid4().hex[:12]}", **BUSY) as system:
            start_loop(system)
            publisher = begin(system)
            fault(proxy)
            assert_nothing_lost(system)
            assert publisher.wait(60) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A store on a disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        skip_or_fail(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("broker", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_a_full_disk_costs_no_upload_and_all_go_on_when_there_is_room(
    request: pytest.FixtureRequest, tmp_path: Path, small_disk: Path, broker: str
) -> None:
    url = request.getfixturevalue("rabbitmq") if broker == "rabbitmq" else ""
    # Were an attempt counted, it would be the last.
    settings = {**BUSY, "destination": small_disk / "store", "delivery_limit": 1, "upload_rate_limit": 0}
    with System(tmp_path, broker_url=url, app_id=f"a{uuid.uuid4().hex[:12]}", **settings) as system:
        start_loop(system)
        system.publish(system.make_requests(UPLOADS, size=SIZE))
        wait_until(lambda: system.said().count("bytes are free") > 4, 90, system.logs)
        assert system.dead_count() == 0
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        assert_nothing_lost(system)
