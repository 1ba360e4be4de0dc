"""The store stops under load: nothing is lost, nothing dies, nobody is started for nothing; then it is back.

The whole loop runs on either broker: monitor, scaler and worker processes, uploads to a real server of S3
behind a port that can be shut.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from support import rclone, s3_server
from support.system import System, wait_until
from support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BEFORE, FIRST, DURING = 2, 4, 300
MOST_WORKERS = 6
DELIVERY_LIMIT = 1
ROUNDS = DELIVERY_LIMIT + 1
"""How often one upload must have found the store down, so that it would be dead if that counted."""


@pytest.fixture
def store(endpoint: str) -> Iterator[TcpProxy]:
    with TcpProxy(urlsplit(endpoint).port or 0) as proxy:
        yield proxy


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, store: TcpProxy, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    settings = {
        "slo": "95% < 5s",
        "min_workers": 1,
        "max_workers": MOST_WORKERS,
        "slots": 2,
        "window": 15,
        "policy": "celery_autoscale",  # it goes by the backlog alone: what waits here would have it start all
        "decision_interval": 1,
        "delivery_limit": DELIVERY_LIMIT,
        "retry_backoff": 0.1,
        "store_endpoint": f"http://127.0.0.1:{store.port}",
        "app_id": f"o{uuid.uuid4().hex[:12]}",
    }
    with System(tmp_path / "system", broker_url=url, **settings) as running:
        running.environment |= s3_server.environment()
        running.environment["UPSWELL_DESTINATION"] = f"s3://{s3_server.BUCKET}/out"
        yield running


def told(system: System, event: str) -> list[str]:
    """Return the lines of the monitor's log that tell of an event."""
    lines = (system.folder / "monitor.log").read_text("utf-8").splitlines()
    return [line for line in lines if f"event={event} " in line]


def desired(system: System) -> int:
    """Return how many workers the monitor decided on last."""
    return int(re.findall(r" desired=(\d+) ", told(system, "decision.made")[-1])[0])


def alarms(system: System) -> list[str]:
    """Return what is wrong, as of the newest decision."""
    (app,) = json.loads(system.run("status", "--json").stdout)["apps"]
    return app["alarms"]


def explained(system: System) -> str:
    return system.run("explain", str(system.folder / "state")).stdout


def times_tried(system: System) -> int:
    """Return how often the upload that was tried most often found the store down."""
    counts: dict[str, int] = {}
    for path in (system.folder / "state" / "logs").glob("*.log"):
        for one in re.findall(r"event=worker\.upload_failed request_id=(\S+) attempt=1 ", path.read_text()):
            counts[one] = counts.get(one, 0) + 1
    return max(counts.values(), default=0)


def write_requests(system: System, name: str, count: int) -> Path:
    for number in range(count):
        (system.sources / f"{name}-{number}").write_text(f"{name} {number}")
    path = system.folder / f"{name}.jsonl"
    uris = [(system.sources / f"{name}-{number}").as_uri() for number in range(count)]
    path.write_text(json.dumps([{"type": "file", "uri": uri, "key": uri.rpartition("/")[2]} for uri in uris]))
    return path


def test_a_store_that_stops_costs_no_attempts_and_no_workers_and_all_is_stored_when_it_is_back(
    system: System, store: TcpProxy, endpoint: str
) -> None:
    remote = f"{rclone.s3(endpoint)}/out"
    system.start("monitor")
    system.start("scaler", "--fleet", "process")
    wait_until(lambda: bool(system.workers()), 60, system.logs)
    system.run("publish", "--app", system.app_id, "--wait", str(write_requests(system, "before", BEFORE)))
    assert len(rclone.names(remote)) == BEFORE

    store.shut()
    system.publish(write_requests(system, "first", FIRST))
    wait_until(lambda: bool(told(system, "monitor.bottleneck_found")), 60, system.logs)
    assert "nothing gets through" in told(system, "monitor.bottleneck_found")[0]

    workers = desired(system)
    assert workers < MOST_WORKERS
    system.publish(write_requests(system, "during", DURING))
    wait_until(lambda: times_tried(system) >= ROUNDS, 120, system.logs)
    wait_until(
        lambda: f"→ {workers}: nothing gets through" in explained(system), 60, lambda: explained(system)
    )
    assert desired(system) == workers, told(system, "decision.made")
    assert len(system.workers()) <= workers
    assert not told(system, "monitor.bottleneck_gone")
    # For a round in which nobody was heard, the only alarm is that.
    wait_until(lambda: alarms(system) == ["bottleneck"], 60, lambda: f"{alarms(system)}{system.logs()}")
    assert system.dead() == {}

    store.reopen()
    everything = BEFORE + FIRST + DURING
    wait_until(lambda: len(rclone.names(remote)) == everything, 120, system.logs)
    wait_until(lambda: bool(told(system, "monitor.bottleneck_gone")), 60, system.logs)
    assert system.dead() == {}
    assert {rclone.read(remote, f"during-{number}") for number in (0, DURING - 1)} == {
        b"during 0",
        f"during {DURING - 1}".encode(),
    }
