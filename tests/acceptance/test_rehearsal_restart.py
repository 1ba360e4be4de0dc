"""The default policy in the real commands: it rehearses what came, a new monitor begins where one died."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from pathlib import Path

REHEARSED = re.compile(r"other settings: the last (\d+) uploads would have cost")

UPLOADS = 300


@pytest.mark.slow
def test_a_monitor_that_was_killed_begins_with_what_the_journal_remembers(tmp_path: Path) -> None:
    """No upload comes after the kill: all that the second monitor rehearses stood in the journal.

    The first choice takes uploads over ten objectives, here 10 s of 30: the publisher may stand still. Over
    ten starts, too, where starts were seen; so the worker is one that nobody asked for.
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
        system.start("worker")
        wait_until(lambda: "state=ready" in system.said(), 60, system.logs)
        requests = system.make_requests(UPLOADS, size=10)
        system.run("publish", "--app", system.app_id, "--rate", "10", str(requests))

        journal = str(tmp_path / "state" / "journal.sqlite")

        def rehearsed(since: float = 0.0) -> int:
            """Return on how many uploads the newest decision's choice of a setting rests."""
            told = system.run("explain", journal, "--app", system.app_id, "--json", check=False)
            if told.returncode:  # the monitor may not have decided yet
                return 0
            newest = json.loads(told.stdout)
            explained = system.run("explain", journal, "--app", system.app_id).stdout
            found = REHEARSED.search(" ".join(explained.split()))
            return int(found[1]) if found and newest["at"] > since else 0

        wait_until(lambda: rehearsed() >= 60, 60, system.logs)
        wait_until(lambda: recorded(system) == UPLOADS, 100, system.logs)
        monitor.send_signal(signal.SIGKILL)
        monitor.wait(60)
        # Without the choices that the first one kept, there is nothing but the journal.
        (tmp_path / "state" / "monitor.choices.json").unlink(missing_ok=True)
        killed_at = time.time()
        system.start("monitor")
        wait_until(lambda: rehearsed(since=killed_at) >= 60, 60, system.logs)


def recorded(system: System) -> int:
    """Return the uploads that the newest snapshot of the journal has seen end."""
    (app,) = json.loads(system.run("status", "--json").stdout)["apps"]
    return app["snapshot"]["totals"]["stored"] if app.get("snapshot") else 0
