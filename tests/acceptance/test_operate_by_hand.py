"""`upswell scale`, `pause` and `resume`, typed beside the real loop, on both brokers."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    settings = {"status_interval": 0.5, "decision_interval": 0.5, "max_workers": 4}
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", **settings) as made:
        yield made


def by_hand(system: System) -> dict[str, Any] | None:
    return json.loads(system.run("status", "--json").stdout)["apps"][0]["by_hand"]


def newest(system: System) -> float:
    """Return when the newest decision was made."""
    told = json.loads(system.run("explain", str(system.folder / "state"), "--json").stdout.splitlines()[-1])
    return told["at"]


def listening(system: System) -> bool:
    return system.run("resume", system.app_id, check=False).returncode == 0


def test_workers_are_set_by_hand_for_a_while_and_then_the_policy_decides_again(system: System) -> None:
    system.start("up")
    wait_until(lambda: listening(system), 60, system.logs)
    said = system.run("scale", system.app_id, "3", "--for", "1h").stdout
    assert said.startswith(f"{system.app_id} is set to 3 by hand, until 20")
    wait_until(lambda: len(system.workers()) == 3, 60, system.logs)
    # The scaler is told first, then the journal.
    wait_until(lambda: (by_hand(system) or {}).get("workers") == 3, 60, system.logs)
    assert "set by hand to 3 workers until" in system.run("status").stdout
    # One that is over soon comes afterwards, so that the machine may take its time to show the first.
    soon = ("scale", system.app_id, "3", "--for", "20s")
    wait_until(lambda: system.run(*soon, check=False).returncode == 0, 60, system.logs)
    wait_until(lambda: by_hand(system) is None, 150, system.logs)
    over = system.run("scale", system.app_id, "5", check=False)
    assert over.returncode == 1
    # Before it the log may say that the broker was held up.
    last = over.stderr.splitlines()[-1]
    assert last == f"error: workers must be <= max_workers of {system.app_id} (4), got 5"


def test_a_paused_application_consumes_nothing_and_keeps_all_over_a_restart_until_resumed(
    system: System,
) -> None:
    requests = system.make_requests(20, size=2_000)
    up = system.start("up")
    wait_until(lambda: len(system.workers()) >= 1 and listening(system), 60, system.logs)
    said = system.run("pause", system.app_id).stdout
    assert said == f"{system.app_id} is paused: nothing consumes, all is kept, until `upswell resume`\n"
    wait_until(lambda: not system.workers(), 60, system.logs)
    system.publish(requests)
    up.send_signal(signal.SIGKILL)
    up.wait()
    system.start("up")
    # Until the new monitor decides, `status` shows what the one before has decided.
    log = system.folder / "up.log"
    wait_until(lambda: log.read_text().count("event=monitor.started") == 2, 60, system.logs)
    began = newest(system)
    wait_until(lambda: newest(system) > began, 60, system.logs)
    wait_until(lambda: (by_hand(system) or {}).get("workers") == 0, 60, system.logs)
    depth = json.loads(system.run("status", "--json").stdout)["apps"][0]["depth"]
    assert depth["messages_ready"] == 20
    assert (
        "scaler.worker_started" not in (system.folder / "up.log").read_text().rpartition("monitor.started")[2]
    )
    assert "paused by hand by " in system.run("explain", str(system.folder / "state")).stdout
    assert "the policy decides again" in system.run("resume", system.app_id).stdout
    wait_until(lambda: system.stored_count() == 20, 60, system.logs)


def test_without_a_monitor_an_order_is_refused_and_says_what_to_start(system: System) -> None:
    for words in (("scale", system.app_id, "2"), ("pause", system.app_id), ("resume", system.app_id)):
        done = system.run(*words, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("error: no monitor is connected to this broker")
        assert done.stderr.endswith("so nothing has changed: start `upswell monitor`, or `upswell up`\n")
