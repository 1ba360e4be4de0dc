"""Two monitors, two scalers, one of each active: killed, stopped or cut off under load, on both brokers.

Workers are counted in /proc and objects in the store's folder, the whole time.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import pytest

from support.stopping import stop_between_writes
from support.system import System, wait_until
from support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

WORKERS, UPLOADS = 4, 250
MOST_AT_ONCE = 2 * WORKERS - 1
"""One that wakes in the midst of a start may finish those that it had begun; twice as many never run."""


class Census:
    """Counts a system's workers twenty times a second: the most, and the fewest since `settle`."""

    def __init__(self, system: System) -> None:
        self.most, self.fewest = 0, WORKERS
        self._system = system
        self._settled = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)

    def settle(self) -> None:
        """From now on there must be workers all the time."""
        self._settled = True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._over.wait(0.05):
            settled = self._settled  # before it counts: that takes a while
            count = len(self._system.workers())
            self.most = max(self.most, count)
            if settled:
                self.fewest = min(self.fewest, count)


class Parts:
    """Two processes of one part: one leads, the other waits. Who does may change on a busy machine."""

    def __init__(self, system: System, part: str) -> None:
        self.system, self.part = system, part
        self.takeovers: list[float] = []
        self._standing: list[tuple[subprocess.Popen[bytes], Path]] = []  # with the log of each
        self._started = 0
        self._role = f"role={part}.{system.app_id}_report"
        self.start()
        self._leader()
        self.start()
        stands = re.compile(rf"event=({part}\.waiting|leadership\.gained)\b")
        _, log = self._standing[-1]
        wait_until(lambda: stands.search(log.read_text()) is not None, 60, system.logs)

    def start(self) -> None:
        """Start another one."""
        self._started += 1
        name = f"{self.part}-{self._started}"
        self._standing.append((self.system.start(self.part, log=name), self.system.folder / f"{name}.log"))

    @contextmanager
    def taken_over(self) -> Iterator[subprocess.Popen[bytes]]:
        """Give the leader to the body, which takes it away; wait until another one leads."""
        leader = self._leader()
        self._standing.remove(leader)
        begun = time.monotonic()
        yield leader[0]
        self._leader()
        self.takeovers.append(time.monotonic() - begun)

    def _leader(self) -> tuple[subprocess.Popen[bytes], Path]:
        """Return the one that leads; a leader that the machine holds up finds out late that it does not."""
        found: list[tuple[subprocess.Popen[bytes], Path]] = []

        def is_one() -> bool:
            found[:] = [one for one in self._standing if self._leads(one[1])]
            return len(found) == 1

        wait_until(is_one, 60, self.system.logs)
        return found[0]

    def _leads(self, log: Path) -> bool:
        changes = re.findall(rf"event=leadership\.(\w+) {self._role}\b", log.read_text())
        return changes[-1:] == ["gained"]


def settings() -> dict[str, object]:
    return {
        "app_id": f"e{uuid4().hex[:8]}",
        "fleet": "process",
        "policy": "constant",
        "min_workers": WORKERS,
        "max_workers": 2 * WORKERS,
        "decision_interval": 0.5,
        "status_interval": 0.5,
        "upload_rate_limit": 50_000,
    }


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, **settings()) as made:  # type: ignore[arg-type]
        yield made


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_monitor_and_scaler_are_killed_and_stopped_under_load(system: System) -> None:
    requests = system.make_requests(UPLOADS, size=10_000)
    system.publish(requests)
    monitor = Parts(system, "monitor")
    with Census(system) as census:
        scaler = Parts(system, "scaler")
        wait_until(lambda: len(system.workers()) > 0, 60, system.logs)
        with scaler.taken_over() as leader:  # in the midst of the first scale-out, or just after it
            leader.kill()
        wait_until(lambda: len(system.workers()) == WORKERS, 60, system.logs)
        census.settle()
        scaler.start()
        with monitor.taken_over() as leader:
            leader.kill()
        monitor.start()
        with monitor.taken_over() as stopped_monitor:
            stop_between_writes(stopped_monitor.pid, system.folder / "state" / "broker.sqlite")
        for pid in list(system.workers())[: WORKERS // 2]:  # so that the next leader has something to do
            signal.pidfd_send_signal(pidfd(pid), signal.SIGKILL)
        with scaler.taken_over() as stopped_scaler:
            stop_between_writes(stopped_scaler.pid, system.folder / "state" / "broker.sqlite")
        wait_until(lambda: len(system.workers()) == WORKERS, 60, system.logs)
        stopped_monitor.send_signal(signal.SIGCONT)
        stopped_scaler.send_signal(signal.SIGCONT)
        wait_until(lambda: system.stored_count() == UPLOADS, 200, system.logs)
        wait_until(lambda: len(system.workers()) == WORKERS, 60, system.logs)
    print(f"monitor: {monitor.takeovers}, scaler: {scaler.takeovers}, most {census.most}")  # noqa: T201 - for -s
    assert len(system.stored()) == UPLOADS
    assert system.dead() == {}
    assert census.most <= MOST_AT_ONCE
    assert census.fewest >= WORKERS // 2
    # Those that were stopped need a while to find out that they lead no more, and wait from then on.
    both = {"monitor": ("working", 1), "scaler": ("working", 1)}
    wait_until(lambda: roles(system) == both, 90, lambda: f"{roles(system)}{system.logs()}")

    def shown() -> str:
        return " ".join(system.run("status").stdout.split())

    wait_until(lambda: "1 more waits to take over" in shown(), 60, shown)


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.timeout(900)
def test_monitor_and_scaler_are_cut_off_under_load(rabbitmq: str, tmp_path: Path) -> None:
    """Nothing passes between them and the broker any more, on connections that stay open."""
    port = int(rabbitmq.rpartition(":")[2].partition("/")[0])
    with ExitStack() as stack:
        proxy = stack.enter_context(TcpProxy(port))
        system = stack.enter_context(System(tmp_path, broker_url=rabbitmq, **settings()))  # type: ignore[arg-type]
        system.publish(system.make_requests(UPLOADS, size=10_000))
        direct = system.environment["AMQPURL"]
        system.environment["AMQPURL"] = direct.replace(f":{port}", f":{proxy.port}")
        cut_off = [system.start("monitor"), system.start("scaler")]
        wait_until(lambda: len(system.workers()) == WORKERS, 60, system.logs)
        system.environment["AMQPURL"] = direct
        cut_off += [system.start("monitor"), system.start("scaler")]
        wait_until(lambda: "event=scaler.waiting" in system.said(), 60, system.logs)
        wait_until(lambda: "event=monitor.waiting" in system.said(), 60, system.logs)
        with Census(system) as census:
            census.settle()
            proxy.stall()
            begun = time.monotonic()
            wait_until(
                lambda: states(system) == {"monitor": "working", "scaler": "working"}, 120, system.logs
            )
            seen_after = time.monotonic() - begun
            proxy.resume()
            wait_until(lambda: system.stored_count() == UPLOADS, 200, system.logs)
        print(f"seen working after {seen_after:.1f} s")  # noqa: T201 - for -s
        assert len(system.stored()) == UPLOADS
        assert census.most <= MOST_AT_ONCE
        assert census.fewest >= WORKERS // 2


def parts_of(system: System) -> list[dict[str, object]]:
    return json.loads(system.run("status", "--json").stdout)["parts"]


def roles(system: System) -> dict[object, object]:
    return {part["part"]: (part["state"], part["standbys"]) for part in parts_of(system)}


def states(system: System) -> dict[object, object]:
    return {part["part"]: part["state"] for part in parts_of(system)}


def pidfd(pid: int) -> int:
    return os.pidfd_open(pid)
