"""`upswell logs`, typed beside the real loop."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    settings = {"status_interval": 0.5, "decision_interval": 0.5, "min_workers": 2}
    with System(tmp_path, app_id=f"e{uuid4().hex[:8]}", **settings) as made:
        yield made


def test_logs_shows_each_workers_lines_and_follows_those_that_start_later(system: System) -> None:
    up = system.start("up")
    wait_until(lambda: "state=ready" in system.said(), 60, system.logs)
    wait_until(lambda: len(system.workers()) == 2, 60, system.logs)
    old = sorted(system.workers().values())
    following = system.start("logs", "--follow")
    of_one = system.start("logs", "--worker", old[0], "--follow", "--lines", "0")
    followed = system.folder / "logs.log"

    def shown(worker_id: str, text: str) -> bool:
        lines = followed.read_text().splitlines()
        return any(line.startswith(f"{worker_id} | ") and text in line for line in lines)

    wait_until(lambda: all(shown(worker_id, "worker.started") for worker_id in old), 60, system.logs)
    (pid,) = [pid for pid, worker_id in system.workers().items() if worker_id == old[0]]

    def one_is_followed() -> bool:
        """What its worker prints from now on comes without the worker's name."""
        os.kill(pid, signal.SIGHUP)
        lines = followed.read_text().splitlines()
        return any(line.startswith("at=") and "worker.settings_kept" in line for line in lines)

    wait_until(one_is_followed, 60, system.logs)
    system.run("restart", timeout=120)
    new = sorted(set(system.workers().values()) - set(old))
    wait_until(lambda: all(shown(worker_id, "worker.started") for worker_id in new), 60, system.logs)
    wait_until(lambda: all(shown(worker_id, "worker.stopped") for worker_id in old), 60, system.logs)
    assert of_one.wait(60) == 0  # its worker has ended
    assert following.poll() is None
    following.send_signal(signal.SIGINT)
    assert following.wait(60) == 0
    past = system.run("logs", "--worker", old[0], "--lines", "1").stdout.splitlines()
    assert len(past) == 1
    assert "event=worker.stopped" in past[0]
    up.send_signal(signal.SIGINT)
    up.wait(60)


@pytest.mark.parametrize("worker", ["../../etc/passwd", "a/b", "", "x" * 200])
def test_what_is_no_workers_id_is_refused_before_any_file_is_opened(worker: str, system: System) -> None:
    done = system.run("logs", "--worker", worker, check=False)
    assert done.returncode == 2
    assert "must be a worker's id" in done.stderr


def test_where_no_worker_is_logs_says_where_to_run_it(system: System) -> None:
    for words in ((), ("--worker", "e1-0123456789")):
        done = system.run("logs", *words, check=False)
        assert done.returncode == 1
        assert "found here: run this on the scaler's machine, with its settings" in done.stderr
