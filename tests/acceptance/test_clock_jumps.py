"""The machine's clock is set an hour ahead and back under load: no worker is killed, none started twice."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import System, wait_until
from support.wall_clock import WallClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3600.0
WORKERS, UPLOADS = 3, 600
START_TIMEOUT = 16
"""So long a worker may be silent: a machine that holds it up must not make it count as lost."""
QUIET_SECONDS = START_TIMEOUT + 2.0
"""Longer than a scaler lets a worker or a command go unheard, and than the two longest silences of a part."""

LONG_TERM = """
import upswell.broker.leadership

upswell.broker.leadership.TERM_SECONDS = 60.0
"""
"""Run first by every command: a leader that the machine holds up for two seconds would have to go, too. An
hour is longer than either term."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    made = WallClock(tmp_path / "clock")
    with (tmp_path / "clock" / "sitecustomize.py").open("a") as file:
        file.write(LONG_TERM)
    return made


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path, clock: WallClock) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(
        tmp_path / "system",
        broker_url=url,
        app_id=f"e{uuid4().hex[:8]}",
        fleet="process",
        policy="constant",
        min_workers=WORKERS,
        max_workers=2 * WORKERS,
        decision_interval=0.5,
        status_interval=3.0,  # so that a round comes before any status after the clock was set
        upload_rate_limit=20_000,
        start_timeout=START_TIMEOUT,
    ) as made:
        made.environment |= clock.environment
        yield made


def count(system: System, event: str) -> int:
    return sum(path.read_text().count(f"event={event} ") for path in system.folder.glob("*.log"))


def test_a_clock_that_is_set_kills_nobody_starts_nobody_twice_and_changes_no_leader(
    system: System, clock: WallClock
) -> None:
    system.publish(system.make_requests(UPLOADS, size=10_000))
    for part in ("monitor", "scaler"):
        system.start(part)
        wait_until(
            lambda part=part: f"role={part}." in (system.folder / f"{part}.log").read_text(), 60, system.logs
        )
        system.start(part)  # one that waits, for whom the leader's lease might look over
    wait_until(lambda: len(system.workers()) == WORKERS, 60, system.logs)
    wait_until(lambda: system.stored_count() > 0, 60, system.logs)
    for ahead in (HOUR, 0.0, -HOUR):
        before, terms = set(system.workers()), count(system, "leadership.gained")
        stored = system.stored_count()
        clock.set(ahead)
        begun = time.monotonic()
        while time.monotonic() - begun < QUIET_SECONDS:
            assert set(system.workers()) == before, system.logs()
            time.sleep(0.1)
        assert count(system, "leadership.gained") == terms, system.logs()
        wait_until(lambda stored=stored: system.stored_count() > stored, 60, system.logs)
    # And the scaler still acts: one that is killed is replaced, once.
    before = set(system.workers())
    victim = min(before)
    signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGKILL)
    wait_until(lambda: len(system.workers()) == WORKERS and victim not in system.workers(), 60, system.logs)
    assert len(set(system.workers()) - before) == 1
    wait_until(lambda: system.stored_count() == UPLOADS, 200, system.logs)
    assert len(system.stored()) == UPLOADS
    assert system.dead() == {}
    assert count(system, "scaler.worker_started") == WORKERS + 1
    assert count(system, "scaler.clock_jumped") >= 3
