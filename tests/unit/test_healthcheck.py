"""The health check tells a loop that turns from one that stands still."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from upswell import healthcheck

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "heartbeat"
    monkeypatch.setenv(healthcheck.VARIABLE, str(path))
    monkeypatch.setattr(healthcheck.time, "time", lambda: 1000.0)
    return path


@pytest.mark.parametrize(("age", "status"), [(0, 0), (9, 0), (11, 1), (10_000, 1), (-5, 0)])
def test_a_loop_that_turned_lately_is_healthy(heartbeat: Path, age: int, status: int) -> None:
    healthcheck.beat()
    os.utime(heartbeat, (1000.0 - age, 1000.0 - age))
    assert healthcheck.main() == status


def test_a_worker_with_a_long_status_interval_is_given_its_time(
    heartbeat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSWELL_STATUS_INTERVAL", "5")
    healthcheck.beat()
    os.utime(heartbeat, (976.0, 976.0))
    assert healthcheck.main() == 0


@pytest.mark.usefixtures("heartbeat")
def test_without_a_worker_the_check_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main() == 1
    assert "no worker, monitor or scaler runs here" in capsys.readouterr().out


def test_outside_a_container_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(healthcheck.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    healthcheck.beat()
    assert not list(tmp_path.iterdir())


def test_a_heartbeat_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(healthcheck.VARIABLE, "/proc/nowhere/heartbeat")
    healthcheck.beat()


def test_a_process_is_ready_once_when_all_its_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(healthcheck, "_tell_systemd", told.append)
    healthcheck.starts("monitor")
    healthcheck.starts("scaler")
    healthcheck.works("monitor")
    healthcheck.works("monitor")
    assert told == []
    healthcheck.works("scaler")
    healthcheck.works("scaler")
    assert told == ["READY=1"]


def test_a_service_manager_that_is_gone_stops_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    healthcheck.beat()
    healthcheck.stops()


def test_a_worker_is_ready_while_it_takes_uploads(
    heartbeat: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert healthcheck.main("ready") == 1
    assert "takes no uploads" in capsys.readouterr().out
    healthcheck.takes_uploads(ready=True)
    assert healthcheck.main("ready") == 0
    assert heartbeat.with_name("heartbeat.ready").exists()
    healthcheck.takes_uploads(ready=False)
    healthcheck.takes_uploads(ready=False)
    assert healthcheck.main("ready") == 1


def test_a_question_that_the_check_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main("redy") == 1
    assert "got 'redy'" in capsys.readouterr().out
