"""What `upswell status` shows in a terminal, held to golden files."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until
from support.terminal import Terminal, holds_to, normalised
from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import ObservedTotals, Percentiles, Snapshot, Workers
from upswell.journal import Journal, JournalEntry
from upswell.settings import Slo

if TYPE_CHECKING:
    from pathlib import Path

NOT_YET_OLD = 600.0
"""So far in the future the monitor has decided: it must not be old before the test has ended."""

BOTH_HEARD = r"\A(?![\s\S]*held_up)[\s\S]*monitor is working\s+scaler is working"
"""And nobody held the broker up: that would be told above the table."""


def parts(system: System) -> list[str]:
    return [part["state"] for part in json.loads(system.run("status", "--json").stdout)["parts"]]


def decided(app: str, attainment: float, *, alarms: tuple[str, ...] = ()) -> JournalEntry:
    at = time.time() + NOT_YET_OLD
    times = Percentiles(count=900, mean=2.0, p50=1.25, p95=4.5, p99=9.0, maximum=12.0)
    snapshot = Snapshot(
        app_id=app,
        at=at,
        slo=Slo(0.95, 30.0),
        window=60.0,
        slots_per_worker=4,
        workers=Workers(desired=5, ready=5, busy=5),
        messages_ready=240,
        messages_unacknowledged=20,
        response_time=times,
        attainment=attainment,
        totals=ObservedTotals(stored=900),
    )
    why = (
        "{queued:upload} queued, {each:s} each; to start all within {time:s} takes {slots:slot} = {n:worker}"
    )
    inputs = {"queued": 240, "each": 2.1, "time": 6, "slots": 84, "n": 21}
    decision = Decision.of("slo", 5, 21, why, inputs).then(
        "bounds", 12, "limited to max_workers {m}", {"m": 12}
    )
    for alarm in alarms:
        decision = decision.alarmed(alarm)  # type: ignore[arg-type] - one of three words
    bill = Bill(since=at - 3600, at=at, busy=3000.0, idle=600.0, stored=60_000, in_time=50_000)
    return JournalEntry(
        app_id=app, at=at, epoch=1, changed=True, snapshot=snapshot, decision=decision, bill=bill
    )


@pytest.mark.parametrize("width", [80, 140])
def test_status_shows_what_is_wrong_in_words_and_colour(tmp_path: Path, width: int) -> None:
    settings = {"apps": "photos,videos", "price_per_worker_hour": 0.0438, "currency": "EUR"}
    with System(tmp_path / "s", app_id="photos", **settings) as system:
        requests = system.make_requests(3, size=1000)
        for app in ("photos", "videos"):
            system.run("publish", "--app", app, str(requests))
        (system.folder / "bad.json").write_text('{"type": "file", "uri": "file:///etc/passwd", "id": "r1"}')
        system.run("publish", "--app", "videos", "bad.json")
        journal = Journal(system.folder / "state" / "journal.sqlite", 10_000_000)
        journal.record([decided("photos", 0.991), decided("videos", 0.82, alarms=("bottleneck",))], [])
        journal.close()
        # A monitor and a scaler of another application, so that what is recorded here is the newest.
        system.start("up", "--app", "other")
        wait_until(lambda: parts(system) == ["working", "working"], 60, system.logs)
        with Terminal(system.environment, system.folder, width=width) as terminal:
            shown = terminal.run_until("upswell status --app photos --app videos", BOTH_HEARD)
            assert shown.status == 0
            assert terminal.colour_of("82.0%  ") == "red"
            assert terminal.colour_of("target missed") == "red"
            assert terminal.colour_of("99.1%") == "green"
            holds_to(f"status-{width}", shown.text)
            assert max(map(len, shown.lines)) <= width
            plain = terminal.run_until("NO_COLOR=1 upswell status --app photos --app videos", BOTH_HEARD)
            assert terminal.colour_of("target missed") == "default"
            assert normalised("\n".join(plain.lines)) == normalised("\n".join(shown.lines))
            # While the monitor is not heard, the decision is old, and no word about the target.
            terminal.run_until("COLUMNS=80 upswell status > piped; cat piped", "target missed")
            assert max(map(len, (system.folder / "piped").read_text().splitlines())) <= 80


def test_status_of_a_stopped_system_says_so(tmp_path: Path) -> None:
    with System(tmp_path / "s", app_id="photos") as system:
        system.run("publish", "--app", "photos", str(system.make_requests(1, size=1000)))
        with Terminal(system.environment, system.folder) as terminal:
            varying = {r"heard for \d+ s": "heard for N s"}
            # On a machine that is held up it may be two digits, and then a line is longer.
            heard = r"MONITOR: not heard for \d s[\s\S]*SCALER: not heard for \d s"
            holds_to("status-stopped-80", terminal.run_until("upswell status", heard).text, varying)
