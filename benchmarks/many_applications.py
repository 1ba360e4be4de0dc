"""A round of decisions for 10,000 applications by the default policy, and one decision with full windows.

    python benchmarks/many_applications.py [--applications 10000] [--reports 4000] [--rounds 10]

A broker that does nothing; every application is decided for by `policy_for(Settings())`, noted for rehearsal,
billed, journalled. Traffic is nothing at all, or so many reports a round spread by Zipf's law (the n-th
application has 1/n of the first one's), with and without a limit of workers over all. After one whole window
the rounds are made in real time, one every decision interval, so that rehearsal works beside them as it does
in production.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from monitor import NoBroker, report
from side_by_side import median, resident_mib
from upswell import events
from upswell.analysis.application import Application
from upswell.analysis.snapshot import ObservedTotals, Percentiles, Snapshot, Workers
from upswell.journal import Journal
from upswell.monitor import Monitor
from upswell.monitor.rehearsals import Rehearsals
from upswell.policies.guards.global_limit import Bid, limited
from upswell.policies.registry import policy_for
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.slo_formula import SloFormulaPolicy
from upswell.settings import Settings

if TYPE_CHECKING:
    from upswell.policies.protocol import ScalingPolicy

WARM_UP = 31
"""Rounds of 2 s: one window of a minute."""


class Figures(Struct):
    """What the rounds took: seconds each of wall time, and of the loop's own CPU time.

    `rehearsal`: share of one core that the thread of rehearsal used meanwhile, `others`: that of all other
    threads but the loop's, which is the journal's. `late`: the longest time by which the loop's thread woke
    up too late between two rounds. `resident`: memory of the process at the end, in MiB.
    """

    wall: list[float]
    cpu: list[float]
    rehearsal: float
    others: float
    late: float
    rehearsed: int
    resident: float


def rounds(applications: int, reports: int, total: int, count: int, *, journalled: bool = True) -> Figures:
    """Return what the rounds took after one whole window; `reports` are those of one round, in all."""
    now = [time.time()]
    apps: dict[str, dict[str, Any]] = {f"app{number}": {} for number in range(applications)}
    rng = random.Random(1)
    weights = list(itertools.accumulate(1 / (n + 1) for n in range(applications)))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings(state_dir=folder, apps=apps, max_workers_total=total)
        file = Path(folder) / "journal.sqlite"
        journal = Journal(file, settings.journal_max_bytes) if journalled else None
        thread = ThreadPoolExecutor(max_workers=1)
        rehearsals = Rehearsals(settings.decision_interval, executor=thread)
        monitor = Monitor(
            broker=NoBroker(),  # type: ignore[arg-type]
            settings=settings,
            journal=journal,
            name="benchmark",
            clock=lambda: now[0],
            rehearsals=rehearsals,
        )
        seen = [watched.seen for _, watched in monitor.applications]
        figures = Figures([], [], 0.0, 0.0, 0.0, 0, 0.0)
        begun, rehearsed, others = time.perf_counter(), 0.0, 0.0
        for number in range(WARM_UP + count):
            now[0] += settings.decision_interval
            hear(seen, rng.choices(range(applications), cum_weights=weights, k=reports), rng, now[0])
            if number == WARM_UP:
                rehearsed, others = used(thread)
                begun = time.perf_counter()
            wall, cpu = time.perf_counter(), time.thread_time()
            monitor.decide(now[0])
            if number >= WARM_UP:
                figures.wall.append(time.perf_counter() - wall)
                figures.cpu.append(time.thread_time() - cpu)
                figures.late = max(figures.late, pause(wall + settings.decision_interval))
            elif journal is not None:
                journal.flush()
        taken = time.perf_counter() - begun
        rehearsed_by_now, others_by_now = used(thread)
        figures.rehearsal = (rehearsed_by_now - rehearsed) / taken
        figures.others = (others_by_now - others) / taken
        figures.rehearsed = len(rehearsals)
        figures.resident = resident_mib(os.getpid())
        rehearsals.close()
        if journal is not None:
            journal.close()
    return figures


def used(rehearsal: ThreadPoolExecutor) -> tuple[float, float]:
    """Return the CPU seconds used so far by the thread of rehearsal, and by all others but this one."""
    rehearsed = rehearsal.submit(time.thread_time).result()
    return rehearsed, time.process_time() - time.thread_time() - rehearsed


def hear(seen: list[Application], who: list[int], rng: random.Random, now: float) -> None:
    """Let an application hear of one upload for each time that it is named, and all of their depths."""
    waiting = dict.fromkeys(who, 0)
    for number in who:
        waiting[number] += 1
        one = seen[number]
        one.report(report(rng.getrandbits(64), one.app_id, rng, now), now)
    for number, one in enumerate(seen):
        several = waiting.get(number, 0)
        one.depth(rng.randrange(several + 1), several, 1, now)


def pause(until: float) -> float:
    """Sleep in short steps; return by how much the latest was late."""
    late = 0.0
    while (now := time.perf_counter()) < until:
        step = min(0.002, until - now)
        time.sleep(step)
        late = max(late, time.perf_counter() - now - step)
    return late


def sharing_out(applications: int, total: int, repetitions: int) -> float:
    """Return the seconds in which the limit alone shares out `total` workers."""
    rng = random.Random(1)
    policy = SloFormulaPolicy()
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


def decisions(policy: ScalingPolicy | None, count: int) -> tuple[float, float]:
    """Return the median seconds of a snapshot with full windows, and of a decision from it.

    `policy` None: the default, in its wrappers.
    """
    settings = Settings(max_workers=1000)
    policy = policy or policy_for(settings)
    rng, now, reports = random.Random(1), 1000.0, 17
    one = Application(
        "e1",
        slo=settings.objective,
        window=60.0,
        slots=4,
        status_interval=1.0,
        capacity=500,
        started_at=900.0,
    )
    snapshots, decided = [], []
    for _ in range(count):
        now += settings.decision_interval
        for _ in range(reports):  # 500 a window
            one.report(report(rng.getrandbits(64), "e1", rng, now), now)
        one.depth(rng.randrange(50), rng.randrange(8), 2, now)
        begun = time.perf_counter()
        snapshot = one.snapshot(now)
        seen = time.perf_counter()
        decision = policy.decide(snapshot)
        decided.append(time.perf_counter() - seen)
        snapshots.append(seen - begun)
        one.decided(decision.desired_workers)
    return median(snapshots), median(decided)


def busy_snapshot(at: float, waiting: int, app_id: str) -> Snapshot:
    times = Percentiles(count=500, mean=2.0, p50=1.4, p95=6.0, p99=9.0, maximum=14.0)
    return Snapshot(
        app_id=app_id,
        at=at,
        slo=Settings().objective,
        window=60.0,
        slots_per_worker=4,
        workers=Workers(desired=10, ready=10, busy=10),
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
        totals=ObservedTotals(stored=int(20 * at)),
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--applications", type=int, default=10_000)
    options.add_argument("--reports", type=int, default=4000, help="of a round, in all")
    options.add_argument("--total", type=int, default=500)
    options.add_argument("--rounds", type=int, default=10)
    chosen = options.parse_args()
    events.configure(level="error")
    for name, policy in (
        ("slo, in its wrappers", None),
        ("slo, bare", SloPolicy()),
        ("slo_formula, bare", SloFormulaPolicy()),
    ):
        snapshot, decision = decisions(policy, 2000)
        print(
            f"{name}: one decision {decision * 1e6:.0f} us, its snapshot {snapshot * 1e6:.0f} us "
            "(medians, 500 reports a window; goal: below 100)"
        )
    for total in (chosen.total, 20 * chosen.total):
        seconds = sharing_out(chosen.applications, total, 5)
        print(
            f"{total:,} workers shared out among {chosen.applications:,} applications: {seconds * 1e3:.0f} ms"
        )
    for what, reports, total in (
        ("all idle", 0, 0),
        (f"{chosen.reports:,} reports by Zipf's law", chosen.reports, 0),
        (f"the same, {chosen.total} workers for all", chosen.reports, chosen.total),
    ):
        figures = rounds(chosen.applications, reports, total, chosen.rounds)
        print(
            f"a round of {chosen.applications:,} applications, {what}: "
            f"wall median {median(figures.wall) * 1e3:.0f} ms, worst {max(figures.wall) * 1e3:.0f} ms; "
            f"CPU {median(figures.cpu) * 1e3:.0f} ms (goal: below 1,000); {figures.rehearsed:,} rehearsed; "
            f"rehearsal {figures.rehearsal:.1%} of a core (goal: 10 % at most), journal {figures.others:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
