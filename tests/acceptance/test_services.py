"""The systemd units, as far as they can be tried without a service manager: it is played by a socket."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = Path(__file__).parents[2] / "deploy/systemd"
COMMANDS = {
    "upswell.service": "upswell up",
    "upswell-monitor.service": "upswell monitor",
    "upswell-scaler.service": "upswell scaler",
    "upswell-worker@.service": "upswell worker --app %i",
}


class Manager:
    """What systemd's side of sd_notify hears."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(60)
        self.heard: list[str] = []

    def wait_for(self, message: str) -> None:
        """Return when a message comes; fail after a minute of silence, or two of others."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            self.heard.append(self._socket.recv(4096).decode())
            if self.heard[-1] == message:
                return
        raise AssertionError(f"{message} did not come: {self.heard}")

    def falls_silent(self) -> bool:
        """Return whether, after what was sent already, nothing more comes for some seconds."""
        self._socket.settimeout(5)
        with suppress(TimeoutError):
            for _ in range(10_000):
                self._socket.recv(4096)
            return False
        self._socket.settimeout(60)
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Give a socket's address for Python and for NOTIFY_SOCKET; a path must be short."""
    with tempfile.TemporaryDirectory(prefix="upswell-") as folder:
        name = f"{folder}/socket"
        yield (f"\0{name}", f"@{name}") if request.param == "abstract" else (name, name)


@pytest.fixture
def manager(address: tuple[str, str]) -> Iterator[Manager]:
    made = Manager(address[0])
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("unit", COMMANDS)
def test_each_part_says_when_it_is_ready_alive_and_stopping(
    unit: str, manager: Manager, address: tuple[str, str], tmp_path: Path
) -> None:
    command = re.findall(r"(?m)^ExecStart=/opt/upswell/bin/(.*)$", (UNITS / unit).read_text())
    assert command == [COMMANDS[unit]]
    with System(tmp_path / "system", app_id="served") as system:
        system.environment["NOTIFY_SOCKET"] = address[1]
        started = system.start(*command[0].replace("%i", "served").split()[1:])
        manager.wait_for("READY=1")
        assert manager.heard.count("READY=1") == 1
        manager.wait_for("WATCHDOG=1")
        manager.wait_for("WATCHDOG=1")
        started.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert started.wait(60) == 0, system.logs()
        assert "READY=1" not in manager.heard[manager.heard.index("READY=1") + 1 :]


@pytest.mark.slow
def test_a_loop_that_stands_still_does_not_beat_and_its_workers_beat_for_nobody(
    manager: Manager, address: tuple[str, str], tmp_path: Path
) -> None:
    """The watchdog must hear the main process, never a worker that this process started."""
    with System(tmp_path / "system", app_id="still") as system:
        system.environment["NOTIFY_SOCKET"] = address[1]
        started = system.start("up")
        manager.wait_for("READY=1")
        log = system.folder / "up.log"
        wait_until(lambda: "scaler.worker_started" in log.read_text(), 60, log.read_text)
        wait_until(lambda: bool(system.workers()), 60, log.read_text)
        for worker in system.workers():
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{worker}/environ").read_bytes()
        os.kill(started.pid, signal.SIGSTOP)
        assert manager.falls_silent()
        os.kill(started.pid, signal.SIGCONT)
        manager.wait_for("WATCHDOG=1")


@pytest.mark.parametrize("unit", COMMANDS)
def test_systemd_finds_nothing_wrong_in_the_units(unit: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (UNITS / unit).read_text().replace("/opt/upswell/bin/", f"{Path(sys.executable).parent}/")
    path = tmp_path / unit.replace("@", "@e123456")
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_the_units_give_a_drain_its_time_and_are_restarted_only_on_failure() -> None:
    assert {path.name for path in UNITS.iterdir()} == set(COMMANDS)
    for unit in COMMANDS:
        text = (UNITS / unit).read_text()
        assert {"Type=notify", "WatchdogSec=60", "Restart=on-failure", "NoNewPrivileges=yes"} <= set(
            text.split()
        )
    for unit in ("upswell.service", "upswell-worker@.service"):
        assert {"KillMode=mixed", "TimeoutStopSec=1h"} <= set((UNITS / unit).read_text().split())
    assert "KillMode=process" in (UNITS / "upswell-scaler.service").read_text()
