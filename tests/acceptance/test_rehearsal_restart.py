"""The default policy in the real commands: it rehearses what came, a new monitor begins where one died."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from pathlib import Path

CHOSEN = re.compile(r"rehearsal\.chosen.*in the last (\d+) uploads this setting")


@pytest.mark.slow
def test_a_monitor_that_was_killed_begins_with_what_the_journal_remembers(tmp_path: Path) -> None:
    """No upload comes after the kill: all that the second monitor rehearses stood in the journal.

    The first choice takes uploads over ten objectives, here 10 s of 15.
    """
    with System(
        tmp_path,
        app_id=f"e{uuid4().hex[:8]}",
        slo="95% < 1s",
        handler="simulate",
        handlers_simulate_seconds="0.05",
        decision_interval=0.5,
        status_interval=0.5,
    ) as system:
        monitor = system.start("monitor")
        system.start("scaler")
        requests = system.make_requests(150, size=10)
        system.run("publish", "--app", system.app_id, "--rate", "10", str(requests))

        def chosen() -> list[int]:
            return [int(count) for count in CHOSEN.findall((tmp_path / "monitor.log").read_text())]

        wait_until(lambda: max(chosen(), default=0) >= 60, 60, system.logs)
        wait_until(lambda: recorded(system) == 150, 60, system.logs)
        monitor.send_signal(signal.SIGKILL)
        monitor.wait(60)
        (tmp_path / "monitor.log").write_text("")
        system.start("monitor")
        wait_until(lambda: max(chosen(), default=0) >= 60, 60, system.logs)
        explained = system.run("explain", str(tmp_path / "state" / "journal.sqlite"), "--app", system.app_id)
        assert "other settings: in the last" in " ".join(explained.stdout.split())


def recorded(system: System) -> int:
    """Return the uploads that the newest snapshot of the journal has seen end."""
    (app,) = json.loads(system.run("status", "--json").stdout)["apps"]
    return app["snapshot"]["totals"]["stored"] if app.get("snapshot") else 0
