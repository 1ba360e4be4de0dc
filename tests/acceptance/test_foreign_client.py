"""A publisher and a worker by someone else, with another AMQP client, who know only the two bare JSON shapes.

The client is amqpstorm; a request is {"type", "uri", "app_id"}, a report {"response_time", "app_id"}.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from support.system import System, foreign_connection, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def system(rabbitmq: str, tmp_path: Path) -> Iterator[System]:
    with System(tmp_path, broker_url=rabbitmq, app_id=f"e{uuid4().hex[:8]}", status_interval=0.5) as made:
        yield made


@pytest.fixture
def channel(rabbitmq: str) -> Iterator[Any]:
    with foreign_connection(rabbitmq) as connection, connection.channel() as opened:
        yield opened


def bare_requests(system: System, count: int) -> list[str]:
    entries = map(json.loads, system.make_requests(count, size=2000).read_text().splitlines())
    return [json.dumps({"type": e["type"], "uri": e["uri"], "app_id": system.app_id}) for e in entries]


def bare_worker(url: str, app_id: str, reports: str, stop: threading.Event) -> None:
    """Take a request, take some time, report, acknowledge: the teaching sample's worker."""
    with foreign_connection(url) as connection, connection.channel() as channel:
        while not stop.is_set():
            message = channel.basic.get(f"{app_id}_upload")
            if message is None:
                time.sleep(0.02)
                continue
            started_at = time.monotonic()
            assert set(json.loads(message.body)) >= {"type", "uri", "app_id"}
            time.sleep(0.05)
            report = {"response_time": time.monotonic() - started_at, "app_id": app_id}
            channel.basic.publish(json.dumps(report), routing_key=reports)
            message.ack()


def test_a_bare_publisher_is_served_by_our_worker_and_a_foreign_consumer_reads_its_reports(
    system: System, channel: Any
) -> None:
    worker = system.start("worker", "--app", system.app_id)
    wait_until(lambda: "worker.started" in system.said(), 60, system.logs)
    for body in bare_requests(system, 20):
        channel.basic.publish(body, routing_key=f"{system.app_id}_upload")
    wait_until(lambda: len(list(system.store.rglob("*.bin"))) == 20, 60, system.logs)
    stored = {path.name: path.read_bytes() for path in system.store.rglob("*.bin")}
    assert stored == {path.name: path.read_bytes() for path in system.sources.iterdir()}
    reports: list[dict[str, Any]] = []

    def all_reported() -> bool:
        """Take what is there; a report follows its object."""
        while (message := channel.basic.get(f"{system.app_id}_report", no_ack=True)) is not None:
            reports.append(json.loads(message.body))
        return len(reports) >= 20

    wait_until(all_reported, 60, lambda: str(reports))
    assert len(reports) == 20
    assert all(report["app_id"] == system.app_id and report["response_time"] >= 0 for report in reports)
    worker.terminate()
    assert worker.wait(60) == 0


def test_a_bare_worker_serves_our_publisher_and_our_monitor_reads_its_reports(
    system: System, rabbitmq: str
) -> None:
    requests = system.make_requests(20, size=2000)
    system.start("monitor", "--decision-interval", "0.5")
    wait_until(lambda: "monitor.started" in system.said(), 60, system.logs)
    system.publish(requests)
    stop = threading.Event()
    thread = threading.Thread(
        target=bare_worker, args=(rabbitmq, system.app_id, f"{system.app_id}_report", stop)
    )
    thread.start()
    try:
        wait_until(lambda: _reported(system) == 20, 60, system.logs)
    finally:
        stop.set()
        thread.join()
    depth = json.loads(system.run("status", "--json").stdout)["apps"][0]["depth"]
    assert depth["messages_ready"] == 0


def _reported(system: System) -> int:
    """Return how many reports the monitor's last snapshot counted."""
    snapshot = json.loads(system.run("status", "--json").stdout)["apps"][0]["snapshot"]
    times = snapshot and snapshot["response_time"]
    return times["count"] if times else 0


def test_queues_declared_classic_and_not_durable_are_used_as_they_are_with_one_warning(
    system: System, channel: Any
) -> None:
    """The sample declared its queues so; they may be there already."""
    for queue in (f"{system.app_id}_upload", f"{system.app_id}_report"):
        channel.queue.declare(queue)
    worker = system.start("worker", "--app", system.app_id)
    wait_until(lambda: "worker.started" in system.said(), 60, system.logs)
    for body in bare_requests(system, 5):
        channel.basic.publish(body, routing_key=f"{system.app_id}_upload")
    wait_until(lambda: len(list(system.store.rglob("*.bin"))) == 5, 60, system.logs)
    warnings = [line for line in system.said().splitlines() if "broker.queue_differs" in line]
    assert len(warnings) == 2
    assert all("messages do not survive a restart" in line for line in warnings)
    worker.terminate()
    assert worker.wait(60) == 0


def test_a_bare_request_that_is_no_request_is_dead_lettered_with_the_rule(
    system: System, channel: Any
) -> None:
    system.start("worker", "--app", system.app_id)
    wait_until(lambda: "worker.started" in system.said(), 60, system.logs)
    bodies = ["not json", "[]", '{"type": "image"}', json.dumps({"type": "x", "uri": "y", "app_id": "../x"})]
    for body in bodies:
        channel.basic.publish(body, routing_key=f"{system.app_id}_upload")

    def dead() -> list[dict[str, Any]]:
        out = system.run("dead", "list", "--app", system.app_id, "--json").stdout
        return [json.loads(line) for line in out.splitlines()]

    wait_until(lambda: len(dead()) == len(bodies), 60, system.logs)
    assert all("not a valid UploadRequest" in letter["reason"] for letter in dead())
