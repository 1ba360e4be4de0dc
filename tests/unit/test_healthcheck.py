"""The health check tells a loop that wakes from one that is stuck or stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from upswell import healthcheck


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - one line
        return stat.read().rpartition(")")[2].split()[0]


def test_a_stopped_process_does_not_wake() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert healthcheck.wakes(process.pid) is not None
        process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while state_of(process.pid) != "T" and time.monotonic() < deadline:
            pass
        assert healthcheck.wakes(process.pid) is None
    finally:
        process.kill()
        process.wait()


def test_a_process_that_is_gone_does_not_wake() -> None:
    assert healthcheck.wakes(2**22 + 1) is None


def test_without_a_worker_the_check_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(healthcheck, "find_worker", lambda: None)
    assert healthcheck.main() == 1
    assert "no upswell process" in capsys.readouterr().out


@pytest.mark.parametrize(("counts", "status"), [((5, 9), 0), ((5, 5), 1), ((5, None), 1)])
def test_a_loop_that_wakes_is_healthy_and_one_that_does_not_is_not(
    monkeypatch: pytest.MonkeyPatch, counts: tuple[int | None, ...], status: int
) -> None:
    answers = iter(counts)
    monkeypatch.setattr(healthcheck, "find_worker", lambda: 7)
    monkeypatch.setattr(healthcheck, "wakes", lambda _pid: next(answers))
    monkeypatch.setattr(healthcheck.time, "sleep", lambda _seconds: None)
    assert healthcheck.main() == status
