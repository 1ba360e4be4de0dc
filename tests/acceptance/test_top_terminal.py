"""`upswell top` in a real terminal: what it shows, its keys, another size, no colour, and how it leaves."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import System
from support.terminal import CTRL_C, Terminal
from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import ObservedTotals, Percentiles, Snapshot, Workers
from upswell.journal import Journal, JournalEntry
from upswell.settings import Slo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPS = ("music", "photos", "videos")
RIGHT, UP, DOWN = "\x1b[C", "\x1b[A", "\x1b[B"
NOT_YET_OLD = 90.0
"""So far into the future the journal goes: a busy machine may take long to start a command."""


def entry(app: str, at: float, p95: float, workers: int, before: int) -> JournalEntry:
    snapshot = Snapshot(
        app_id=app,
        at=at,
        slo=Slo(0.95, 30.0),
        window=60.0,
        slots_per_worker=4,
        workers=Workers(desired=workers, ready=workers, busy=workers),
        messages_ready=240,
        messages_unacknowledged=20,
        response_time=Percentiles(count=900, mean=2.0, p50=p95 / 3, p95=p95, p99=p95, maximum=p95),
        attainment=0.5 if p95 > 30 else 0.99,
        totals=ObservedTotals(stored=900),
    )
    why = "\x1b[31mred {n:upload} queued"
    decision = Decision.of("slo", before, workers, why, {"n": 240})
    if app == "videos":
        decision = decision.alarmed("bottleneck")
    bill = Bill(since=at - 3600, at=at, busy=3600.0, stored=900, in_time=900)
    return JournalEntry(
        app_id=app, at=at, epoch=1, changed=before != workers, snapshot=snapshot, decision=decision, bill=bill
    )


def showing(*patterns: str) -> str:
    """Return a pattern of a screen that shows all of these: what is drawn arrives in pieces."""
    return r"\A" + "".join(rf"(?=(?s:.*){pattern})" for pattern in patterns)


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[System]:
    """Five minutes of three applications, in which response times rose and workers came."""
    settings = {"apps": ",".join(APPS), "price_per_worker_hour": 3.0, "currency": "EUR"}
    with System(tmp_path / "s", app_id="photos", **settings) as system:
        journal = Journal(system.folder / "state" / "journal.sqlite", 10_000_000)
        now = time.time()
        for second in range(-300, int(NOT_YET_OLD), 5):
            workers, before = (12, 12) if second > -100 else (2, 2)
            if second == -100:
                workers, before = 12, 2
            p95 = 60.0 if second > -150 else 3.0
            journal.record([entry(app, now + second, p95, workers, before) for app in APPS], [])
        journal.close()
        yield system


@pytest.mark.parametrize("width", [80, 120])
def test_a_person_watches_chooses_resizes_and_quits(recorded: System, width: int) -> None:
    with Terminal(recorded.environment, recorded.folder, width=width, height=24) as terminal:
        terminal.type("upswell top")
        first = terminal.wait_for_screen(
            showing(
                r"music \(1 of 3\)(.|\n)*NO MONITOR: not heard(.|\n)*scale out 2 → 12",
                "p50 20.0s, p95 60.0s; target 95% < 30s",
                r"▒+╌*\n",  # above the objective
                "12 decided",
                r"3\.00 EUR",
                re.escape(r"\u001b[31mred 240 uploads queued"),  # text from elsewhere moves no cursor
                r"\nleft/right app[^\n]*\Z",
            )
        )
        assert len(first.splitlines()) == 24
        assert max(map(len, first.splitlines())) <= width
        terminal.press(RIGHT)
        terminal.wait_for_screen(r"photos \(2 of 3\)(.|\n)*scale out 2 → 12")
        terminal.press("-")
        terminal.wait_for_screen("last 60 s")
        terminal.press("p")
        frozen = terminal.wait_for_screen(r"PAUSED \d\d:\d\d:\d\d")
        terminal.resize(60, 18)
        small = terminal.wait_for_screen(r"\Aphotos.{,40}PAUSED [^\n]*\n(.*\n){16}left/right[^\n]*q quit\Z")
        assert max(map(len, small.splitlines())) <= 60
        assert re.findall(r"\d\d:\d\d:\d\d", small)[0] == re.findall(r"\d\d:\d\d:\d\d", frozen)[0]
        terminal.press("p")
        terminal.resize(width, 24)
        terminal.press("a")
        listed = terminal.wait_for_screen(r"3 applications(.|\n)*videos .* bottleneck")
        assert re.search(r"> photos +60\.0s +50\.0% +240 +12", listed)
        terminal.press(DOWN)
        terminal.wait_for_screen("> videos")
        terminal.press("/mus")
        terminal.wait_for_screen(r"1 application  /mus(.|\n)*> music")
        terminal.press("\n")
        terminal.press("\n")
        terminal.wait_for_screen(r"music \(1 of 3\)")
        terminal.press("q")
        assert terminal.finish().status == 0
        modes = terminal.run(
            "stty -a"
        ).text  # as before: what is typed is shown, and a line at a time is read
        assert re.search(r"(?<!-)\bicanon\b", modes)
        assert re.search(r"(?<!-)\becho\b", modes)


def test_without_colour_all_is_said_in_words(recorded: System) -> None:
    with Terminal(recorded.environment, recorded.folder, height=30) as terminal:
        terminal.type("NO_COLOR=1 upswell top --app videos")
        text = terminal.wait_for_screen(
            showing("ALARM bottleneck", r"target missed: 50\.0% within 30 s", r"\nleft/right app[^\n]*\Z")
        )
        assert "\x1b[31m" not in text
        assert terminal.colour_of("videos") == "default"
        assert terminal.colour_of("ALARM") == "default"
        terminal.press(CTRL_C)
        assert terminal.finish().status in (0, 130)
        assert re.search(r"(?<!-)\bicanon\b", terminal.run("stty -a").text)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_beside_the_real_loop_it_follows_workers_queue_and_a_monitor_that_dies(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("rabbitmq") if kind == "rabbitmq" else ""
    app = f"e{uuid4().hex[:8]}"
    settings = {"status_interval": 0.5, "decision_interval": 0.5, "upload_rate_limit": 20_000}
    with System(tmp_path, broker_url=url, app_id=app, min_workers=2, max_workers=2, **settings) as system:
        system.start("scaler")
        monitor = system.start("monitor")
        requests = system.make_requests(12, size=60_000)  # a dozen seconds: they are seen in flight
        with Terminal(system.environment, system.folder, width=100, height=24) as terminal:
            terminal.type("upswell top")
            terminal.wait_for_screen(rf"\A(?!(.|\n)*NO MONITOR){app}(.|\n)*2 decided")
            system.publish(requests)
            terminal.wait_for_screen(r"[1-9]\d* in flight|[1-9]\d* busy")
            terminal.wait_for_screen(r"p50 \d(.|\n)*p95 \d")
            monitor.kill()
            monitor.wait()
            terminal.wait_for_screen("NO MONITOR")
            system.start("monitor")
            terminal.wait_for_screen(rf"\A(?!(.|\n)*NO MONITOR){app}")
            terminal.press("q")
            assert terminal.finish().status == 0


def test_without_a_terminal_it_names_what_to_use_instead(recorded: System) -> None:
    done = recorded.run("top", check=False)
    assert done.returncode == 2
    assert "upswell status --watch" in done.stderr
