"""The bill that `upswell status` shows, held against processes seen from outside; the limit over all."""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from support.system import System, wait_until
from upswell.journal import JournalReader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UPLOADS = 300
INTERVAL = 1.0


def shown(system: System) -> dict[str, Any]:
    (app,) = json.loads(system.run("status", "--json").stdout)["apps"]
    return app


def cost(system: System) -> dict[str, Any]:
    return shown(system)["cost"] or {}


def longest_round(system: System, until: float) -> float:
    """Return the longest time between two rounds, which are further apart where the machine is held up."""
    entries = JournalReader(system.folder / "state" / "journal.sqlite").decisions(limit=10_000, until=until)
    return max([INTERVAL, *(later.at - one.at for one, later in pairwise(entries))])


def age(pid: int) -> float:
    """Return for how many seconds a process has run."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return float(Path("/proc/uptime").read_text().split()[0]) - started / os.sysconf("SC_CLK_TCK")


def held_up(pid: int) -> float:
    """Return how long after it was asked for, and billed, a worker's process began."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (asked,) = [item for item in environment if item.startswith(b"UPSWELL_REQUESTED_AT=")]
    return max(0.0, time.time() - age(pid) - float(asked.split(b"=")[1]))


def test_status_tells_what_the_uploads_cost_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    settings = {
        "decision_interval": INTERVAL, "upload_rate_limit": 100_000, "max_workers": 4, "max_workers_total": 2,
        "price_per_worker_hour": 3.6, "bottleneck_check": True,
        "slo": "95% < 120s",  # so long that a busy machine has all in time
        "stabilization_window": 600,  # nobody is drained before the end: the ages are the bill
    }  # fmt: skip
    with System(tmp_path / "s", app_id="e7", **settings) as system:
        requests = system.make_requests(UPLOADS, size=4000)
        up = system.start("up", "--app", "e7")
        system.publish(requests)
        most = 0
        while cost(system).get("uploads", {}).get("stored", 0) < UPLOADS:
            most = max(most, len(system.workers()))
        most = max(most, len(system.workers()))  # a busy machine may have looked before it began
        app = shown(system)
        told, billed_at = app["cost"], app["decided_at"]
        ages = sum(billed_at - time.time() + age(pid) for pid in system.workers())
        assert told["uploads"] == {"stored": UPLOADS, "in_time": UPLOADS, "dead": 0}
        total = told["worker_seconds"]["total"]
        error = most * 3 * longest_round(system, billed_at)
        assert ages - error <= total <= ages + sum(map(held_up, system.workers())) + error
        assert told["price"] == pytest.approx(total * 0.001)
        assert told["price_per_upload_in_time"] == pytest.approx(told["price"] / UPLOADS)
        assert 1 <= most <= 2
        assert "each" in system.run("status").stdout
        up.terminate()
        up.wait()
        system.start("monitor", "--app", "e7")
        wait_until(lambda: cost(system)["unobserved_seconds"] > 0, 60, lambda: str(cost(system)))
        assert cost(system)["uploads"]["in_time"] == UPLOADS
        assert cost(system)["since"] == told["since"]
