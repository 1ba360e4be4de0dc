"""One round of decisions for 10,000 applications under one limit, and what the wrappers add to a decision.

A broker that does nothing, windows that hold a minute of reports, a third of the applications busy; every
application is decided for by `slo` in all its wrappers, then 500 workers are shared out, billed, journalled.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from monitor import NoBroker, report
from side_by_side import median
from upswell import events
from upswell.analysis.snapshot import Percentiles, Snapshot, Totals, Workers
from upswell.journal import Journal
from upswell.monitor import Monitor
from upswell.policies.global_limit import Bid, limited
from upswell.policies.slo import SloPolicy
from upswell.policies.table import policy_for
from upswell.settings import Settings

REPORTS_A_ROUND = 2


def rounds(applications: int, total: int, count: int) -> list[float]:
    """Return the seconds of thread time of each round, after one whole window of them."""
    now = [time.time()]
    apps: dict[str, dict[str, Any]] = {f"app{number}": {} for number in range(applications)}
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings(state_dir=folder, apps=apps, max_workers_total=total)
        journal = Journal(Path(folder) / "journal.sqlite", settings.journal_max_bytes)
        monitor = Monitor(
            broker=NoBroker(),  # type: ignore[arg-type]
            settings=settings,
            journal=journal,
            epoch=1,
            name="benchmark",
            clock=lambda: now[0],
        )
        taken: list[float] = []
        for _ in range(31 + count):
            now[0] += settings.decision_interval
            for number, (app_id, watched) in enumerate(monitor.applications):
                busy = number % 3 == 0
                if busy:
                    for _ in range(REPORTS_A_ROUND):
                        watched.seen.report(report(rng.getrandbits(64), app_id, rng, now[0]), now[0])
                watched.seen.depth(rng.randrange(200) if busy else 0, 4 if busy else 0, 1, now[0])
            begun = time.thread_time()
            monitor.decide(now[0])
            taken.append(time.thread_time() - begun)
            journal.flush()
        journal.close()
    return taken[31:]


def sharing_out(applications: int, total: int, repetitions: int) -> float:
    """Return the seconds in which the limit alone shares out `total` workers."""
    rng = random.Random(1)
    policy = SloPolicy()
    bids = []
    for number in range(applications):
        snapshot = busy_snapshot(1000.0, rng.randrange(500), f"app{number}")
        bids.append(Bid(snapshot, policy.decide(snapshot), 1, 0))
    taken = []
    for _ in range(repetitions):
        begun = time.thread_time()
        limited(bids, total)
        taken.append(time.thread_time() - begun)
    return median(taken)


def decisions(wrapped: bool, count: int) -> float:
    """Return the seconds of one `slo` decision, bare or in its wrappers."""
    settings = Settings(max_workers=1000)
    policy = policy_for(settings, "e1") if wrapped else SloPolicy()
    rng = random.Random(1)
    seen = [busy_snapshot(1000.0 + 2 * n, rng.randrange(500), "e1") for n in range(count)]
    taken = []
    for snapshot in seen:
        begun = time.perf_counter()
        policy.decide(snapshot)
        taken.append(time.perf_counter() - begun)
    return median(taken)


def busy_snapshot(at: float, waiting: int, app_id: str) -> Snapshot:
    times = Percentiles(count=500, mean=2.0, p50=1.4, p95=6.0, p99=9.0, maximum=14.0)
    return Snapshot(
        app_id=app_id,
        at=at,
        slo=Settings().objective,
        window=60.0,
        slots_per_worker=4,
        workers=Workers(desired=10, requested=10, ready=10, busy=10),
        start_delay=2.0,
        arrival_rate=20.0,
        throughput=20.0,
        messages_ready=waiting,
        messages_unacknowledged=40,
        depth_age=0.0,
        oldest_age=waiting / 20,
        service_time=times,
        response_time=times,
        attainment=0.97,
        totals=Totals(stored=int(20 * at)),
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--applications", type=int, default=10_000)
    options.add_argument("--total", type=int, default=500)
    options.add_argument("--rounds", type=int, default=10)
    chosen = options.parse_args()
    events.configure(level="error")
    bare, wrapped = decisions(wrapped=False, count=5000), decisions(wrapped=True, count=5000)
    print(f"one slo decision, median: bare {bare * 1e6:.0f} us, in its wrappers {wrapped * 1e6:.0f} us")
    for total in (chosen.total, 20 * chosen.total):
        seconds = sharing_out(chosen.applications, total, 5)
        print(
            f"{total:,} workers shared out among {chosen.applications:,} applications: {seconds * 1e3:.0f} ms"
        )
    for total in (0, chosen.total):
        taken = rounds(chosen.applications, total, chosen.rounds)
        print(
            f"a round of {chosen.applications:,} applications, max_workers_total {total}: "
            f"median {median(taken) * 1e3:.0f} ms, worst {max(taken) * 1e3:.0f} ms of CPU (goal: below 1,000)"
        )


if __name__ == "__main__":
    main()
