"""SIGHUP reloads settings and ends nothing; where the terminal is gone, it drains."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path, app_id="e1", fleet="process", decision_interval=0.5, status_interval=0.5) as made:
        yield made


def settings(system: System, text: str) -> None:
    (system.folder / "upswell.toml").write_text(text)


@pytest.mark.slow
def test_up_goes_on_with_new_settings_and_a_bad_file_changes_nothing(system: System) -> None:
    settings(system, 'policy = "constant"\nmin_workers = 1\n')
    up = system.start("up")
    wait_until(lambda: len(system.workers()) == 1, 60, system.logs)
    (worker,) = system.workers()
    os.kill(worker, signal.SIGHUP)  # while it starts
    settings(system, "min_workers = -1\n")
    up.send_signal(signal.SIGHUP)
    wait_until(lambda: "settings.reload_failed" in system.said(), 60, system.logs)
    assert "min_workers must be" in system.said()
    settings(system, 'policy = "constant"\nmin_workers = 2\nwindow = 30\n')
    up.send_signal(signal.SIGHUP)
    wait_until(lambda: len(system.workers()) == 2, 60, system.logs)
    assert "changed=['min_workers'] needs_restart=['window']" in system.said()
    wait_until(lambda: "worker.settings_kept" in system.said(), 60, system.logs)
    os.kill(worker, signal.SIGHUP)
    wait_until(lambda: system.said().count("worker.settings_kept") == 2, 60, system.logs)
    assert worker in system.workers()
    up.terminate()
    assert up.wait(60) == 0
    assert not system.workers()


@pytest.mark.slow
def test_monitor_and_scaler_reload_apart(system: System) -> None:
    settings(system, 'policy = "constant"\nmin_workers = 1\n')
    parts = [system.start("monitor"), system.start("scaler")]
    wait_until(lambda: "monitor.started" in system.said(), 60, system.logs)
    wait_until(lambda: len(system.workers()) == 1, 60, system.logs)
    settings(system, 'policy = "constant"\nmin_workers = 2\n')
    for part in parts:
        part.send_signal(signal.SIGHUP)
    wait_until(lambda: len(system.workers()) == 2, 60, system.logs)
    for part in parts:
        part.terminate()
        assert part.wait(60) == 0


@pytest.mark.slow
def test_up_drains_when_its_terminal_is_gone(system: System) -> None:
    ours, terminal = pty.openpty()
    up = subprocess.Popen(
        [sys.executable, "-m", "upswell", "up"],
        env=system.environment,
        cwd=system.folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - it only makes one system call
    )
    system.commands.append(up)
    os.close(terminal)
    wait_until(lambda: len(system.workers()) == 1, 60, system.logs)
    os.close(ours)
    assert up.wait(60) == 0
    assert not system.workers()


def _take_terminal() -> None:
    import fcntl  # noqa: PLC0415 - in the child
    import termios  # noqa: PLC0415 - as above

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
