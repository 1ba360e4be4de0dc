"""A monitor or a scaler that died or hangs is seen in `status` within five seconds, on both brokers."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.stopping import stop_between_writes
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", decision_interval=0.5) as made:
        yield made


def states(system: System) -> dict[str, str | None]:
    parts = json.loads(system.run("status", "--json").stdout)["parts"]
    return {part["part"]: part["state"] for part in parts}


@pytest.mark.slow
def test_a_dead_monitor_and_a_scaler_that_hangs_are_seen(system: System) -> None:
    assert states(system) == {"monitor": None, "scaler": None}
    monitor, scaler = system.start("monitor"), system.start("scaler")
    alive = {"monitor": "working", "scaler": "working"}
    wait_until(lambda: states(system) == alive, 60, system.logs)
    # Once more, for people: one that the machine holds up beats later.
    wait_until(lambda: "monitor is working" in system.run("status").stdout, 60, system.logs)
    monitor.kill()
    stop_between_writes(scaler.pid, system.folder / "state" / "broker.sqlite")
    # `status` itself listens for three seconds: the first look, if the machine is not busy, shows it.
    wait_until(lambda: states(system) == {"monitor": None, "scaler": None}, 60, system.logs)
    shown = system.run("status").stdout
    assert "NO MONITOR: not heard for" in shown
    assert "start `upswell scaler`, or `upswell up`" in shown
    assert "the last decision is" in " ".join(shown.split()), shown
    scaler.send_signal(signal.SIGCONT)
    wait_until(lambda: states(system)["scaler"] == "working", 60, system.logs)
    scaler.terminate()
    scaler.wait(60)
    monitor = system.start("monitor")
    wait_until(lambda: states(system)["monitor"] == "working", 60, system.logs)
