"""How fast the page is, and what its server costs: first paint, update, CPU with ten pages, memory.

    .venv/bin/python benchmarks/dashboard.py [--minutes 2] [--hours 0] [--applications 200] [--many 10000]
        [--json]

A week's journal of 200 applications is written (benchmarks/dashboard_journal.py) and goes on being written, a
round every two seconds, as by a monitor. The page is looked at by a real Chromium; ten event streams are open
while the server's CPU time is read from /proc. Whatever else runs on the machine is in the figures.
`--hours 24` gives a page that is left open the updates of a day in some minutes (dashboard_day.js).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from dashboard_journal import entry, name_of, write_past, write_rounds
from support.dashboard_page import (  # pyright: ignore[reportMissingImports] - put on the path above
    ServedPage,
    browser,
    missing,
    served_page,
)
from upswell.journal import Journal

ROUND_SECONDS = 2.0
PAGES = 10
DAY = Path(__file__).with_name("dashboard_day.js")
_FIRST = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


class LiveMonitor:
    """Writes a round of all applications every two seconds, as a monitor does."""

    def __init__(self, path: Path, applications: int) -> None:
        self._journal = Journal(path, 1_000_000_000)
        self._applications = applications
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._journal.close()

    def _run(self) -> None:
        while not self._over.wait(ROUND_SECONDS):
            now = time.time()
            self._journal.record([entry(number, now) for number in range(self._applications)], [])


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the memory that a process occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def server_pid() -> int:
    """Return the process that serves the page: our child of that command."""
    mine = os.getpid()
    for found in Path("/proc").iterdir():
        if found.name.isdigit():
            try:
                stat = (found / "stat").read_text().rpartition(")")[2].split()
                command = (found / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == mine and b"dashboard" in command:
                return int(found.name)
    raise RuntimeError("the server is gone")


class Streams:
    """Event streams that read all they get, as pages do."""

    def __init__(self, page: ServedPage, paths: list[str]) -> None:
        self._host = page.url.split("/")[2]
        self.bytes = 0
        self.events = 0
        self._over = False
        self._threads = [threading.Thread(target=self._read, args=[path], daemon=True) for path in paths]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True

    def _read(self, path: str) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        while not self._over and (line := answer.readline()):
            self.bytes += len(line)
            self.events += line.startswith(b"event:")
        connection.close()


def look(page: Any, address: str, ready: str) -> dict[str, float]:
    """Return the milliseconds until the first paint, and until the data is drawn."""
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(ready, timeout=120_000)
    drawn = 1000 * (time.perf_counter() - begun)
    return {"first_paint_ms": round(page.evaluate(_FIRST) or 0), "data_drawn_ms": round(drawn)}


def updates(page: Any, seconds: float) -> dict[str, float]:
    """Return the milliseconds of the main thread for each update, and the longest single task."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def metrics() -> dict[str, float]:
        return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}

    page.evaluate(
        "() => { window.longest = 0; new PerformanceObserver((all) => all.getEntries().forEach("
        "(one) => { window.longest = Math.max(window.longest, one.duration); }))"
        ".observe({type: 'longtask'}); }"
    )
    before = metrics()
    page.wait_for_timeout(1000 * seconds)
    after = metrics()
    return {
        "update_ms": round(1000 * (after["TaskDuration"] - before["TaskDuration"]) / seconds, 1),
        "longest_task_ms": round(page.evaluate("() => window.longest")),
        "heap_mb": round(after["JSHeapUsedSize"] / 1e6, 1),
        "nodes": round(after["Nodes"]),
        "listeners": round(after["JSEventListeners"]),
    }


def left_open(visitor: Any, hours: int) -> dict[str, Any]:
    """Return what a page occupies that was given the updates of so many hours, from the first hour on."""
    found: dict[str, Any] = {}
    rounds = round(3600 / ROUND_SECONDS)
    for hour in sorted({1, max(1, hours // 2), hours}):
        begun, given = time.monotonic(), visitor.evaluate("() => lapse.given")
        visitor.evaluate("(wanted) => { lapse.wanted = wanted; }", hour * rounds)
        visitor.wait_for_function("() => lapse.given >= lapse.wanted", timeout=0, polling=1000)
        milliseconds = 1000 * (time.monotonic() - begun) / (hour * rounds - given)
        visitor.request_gc()
        told = {**updates(visitor, 1), "milliseconds_an_update": round(milliseconds, 1)}
        found[f"hour {hour}"] = {
            name: told[name] for name in ("heap_mb", "nodes", "listeners", "milliseconds_an_update")
        }
    return found


def measure(applications: int, many: int, minutes: float, hours: int) -> dict[str, Any]:
    """Return all figures."""
    found: dict[str, Any] = {}
    for count, label in ((applications, "some"), (many, "many")):
        if not count:
            continue
        with tempfile.TemporaryDirectory(prefix="upswell-page-") as name:
            state = Path(name) / "state"
            path, now = state / "journal.sqlite", time.time()
            write_past(path, count, now, days=7.0 if label == "some" else 0.02)
            write_rounds(path, count, now)
            environment = {
                **{k: v for k, v in os.environ.items() if not k.startswith(("UPSWELL_", "AMQPURL"))},
                "UPSWELL_STATE_DIR": str(state),
                "UPSWELL_CONFIG": "/dev/null",
            }
            with (
                served_page(environment, Path(name) / "dashboard.log") as page,
                LiveMonitor(path, count),
                browser() as chromium,
            ):
                size = {"applications": count, "journal_mb": round(path.stat().st_size / 1e6)}
                one = some(page, chromium, minutes, hours) if label == "some" else several(page, chromium)
                found[label] = {**size, **one}
    return found


def some(page: ServedPage, chromium: Any, minutes: float, hours: int) -> dict[str, Any]:
    """Return what a usual installation sees."""
    pid = server_pid()
    visitor = chromium.new_page(viewport={"width": 1280, "height": 900})
    app = f"{page.url}?app={name_of(3)}"
    found: dict[str, Any] = {"overview": look(visitor, page.url, ".list tbody tr:nth-child(100)")}
    found["overview"] |= updates(visitor, 15)
    for label, span in (("30 min", 1800), ("7 d", 604_800)):
        shown = look(visitor, f"{app}&span={span}", ".lane + .chart .plot canvas")
        found[label] = shown | updates(visitor, 15)
    visitor.close()
    paths = ["/api/events"] * (PAGES // 2) + [
        f"/api/events?app={name_of(n)}" for n in range(PAGES - PAGES // 2)
    ]
    with Streams(page, paths) as streams:
        time.sleep(5)
        before, at, sent = cpu_seconds(pid), time.monotonic(), streams.bytes
        time.sleep(30)
        gone = time.monotonic() - at
        found["server_cpu_percent"] = round(100 * (cpu_seconds(pid) - before) / gone, 1)
        found["server_kb_a_second"] = round((streams.bytes - sent) / gone / 1000)
    visitor = chromium.new_page(viewport={"width": 1280, "height": 900})
    look(visitor, f"{app}&span=600", ".lane + .chart .plot canvas")
    first = {**updates(visitor, 10), "server_mb": round(resident_bytes(pid) / 1e6)}
    visitor.wait_for_timeout(60_000 * minutes)
    visitor.request_gc()
    last = {**updates(visitor, 10), "server_mb": round(resident_bytes(pid) / 1e6)}
    found["memory"] = {"minutes": minutes, "first": first, "last": last}
    if hours:
        visitor = chromium.new_page(viewport={"width": 1280, "height": 900})
        visitor.add_init_script(path=DAY)
        look(visitor, f"{app}&span=600", ".lane + .chart .plot canvas")
        found["left open"] = left_open(visitor, hours)
    return found


def several(page: ServedPage, chromium: Any) -> dict[str, Any]:
    """Return what an installation with very many applications sees."""
    visitor = chromium.new_page(viewport={"width": 1280, "height": 900})
    found: dict[str, Any] = {"overview": look(visitor, page.url, ".list tbody tr:nth-child(100)")}
    begun = time.perf_counter()
    visitor.get_by_role("searchbox").fill(name_of(4321))
    visitor.wait_for_function(
        "() => document.querySelectorAll('.list tbody tr').length === 1", timeout=60_000
    )
    found["search_ms"] = round(1000 * (time.perf_counter() - begun))
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=2.0, help="how long the page is left open for its memory"
    )
    parser.add_argument("--hours", type=int, default=0, help="give a page the updates of so many hours, too")
    parser.add_argument("--applications", type=int, default=200)
    parser.add_argument("--many", type=int, default=10_000, help="0: leave out")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    reason = missing()
    if reason:
        print(reason, file=sys.stderr)
        return 1
    found = measure(asked.applications, asked.many, asked.minutes, asked.hours)
    if asked.json:
        print(json.dumps(found))
        return 0
    for label, figures in found.items():
        print(f"{figures['applications']:,} applications ({label}), a journal of {figures['journal_mb']} MB")
        for name, value in figures.items():
            print(f"  {name:22}{value}")
    print(f"load average of the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
