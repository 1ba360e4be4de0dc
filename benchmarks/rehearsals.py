"""What rehearsal costs: CPU time an application and interval, by traffic, and a decision of the `slo` policy.

    python benchmarks/rehearsals.py [--rates 0.005,0.05,0.5,5] [--seconds 6000] [--rounds 30]

Poisson arrivals, lognormal service times of 5 s, 95 % within 60 s, start-up 20 s, an interval of 2 s, the
first 1,000 s not counted. A tenth of a core for 1,000 applications is a mean of 200 us an interval.

Then 1,000 applications on one monitor in real time (see many_applications.py): the share of a core that
rehearsal used, how long rounds took that had it beside them, and how late the loop's thread ever woke up.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from many_applications import rounds
from side_by_side import median
from upswell import events
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.staffing import FAMILY
from upswell.settings import Slo
from upswell.simulator.application_rehearsal import ApplicationRehearsal
from upswell.simulator.engine import Simulation
from upswell.simulator.jobs import in_chunks
from upswell.simulator.world import World

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.slo.slo import Signals

WARM_UP = 500
SLO = Slo(0.95, 60.0)


def measure(rate: float, seconds: float) -> tuple[float, float]:
    """Return the mean CPU seconds of an interval's rehearsal, and of a decision; all timed in one go."""
    rng = np.random.default_rng(1)
    arrivals = np.sort(rng.uniform(0, seconds, max(2, rng.poisson(rate * seconds))))
    services = rng.lognormal(np.log(5.0) - 0.5, 1.0, len(arrivals)).clip(0, 50)
    world = World(slo=SLO, start_delay=20.0, initial_workers=1)
    policy = SloPolicy(settings=FAMILY)
    simulation = Simulation(in_chunks(arrivals, services), policy, world)
    seen: list[tuple[Snapshot, Signals]] = []
    while not simulation.over:
        snapshot = simulation.observe()
        simulation.apply(policy.decide(snapshot).desired_workers)
        assert policy.signals is not None
        seen.append((snapshot, policy.signals))
    stage = ApplicationRehearsal(
        "e1", FAMILY, policy.following, slo=SLO, interval=2.0, min_workers=0, max_workers=500
    )
    for snapshot, signals in seen[:WARM_UP]:
        stage.note(snapshot, signals)
        stage.step()
    begun = time.thread_time()
    for snapshot, signals in seen[WARM_UP:]:
        stage.note(snapshot, signals)
        stage.step()
    rehearsed = time.thread_time() - begun
    policy = SloPolicy(settings=FAMILY)
    begun = time.thread_time()
    for snapshot, _ in seen[WARM_UP:]:
        policy.decide(snapshot)
    decided = time.thread_time() - begun
    return rehearsed / len(seen[WARM_UP:]), decided / len(seen[WARM_UP:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rates", default="0.005,0.05,0.5,5")
    parser.add_argument("--seconds", type=float, default=6000.0)
    parser.add_argument("--applications", type=int, default=1000)
    parser.add_argument("--reports", type=int, default=2000, help="of a round, in all")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    events.configure(level="error")
    print("uploads/s   us an interval   applications in a tenth of a core   us a decision")
    for rate in map(float, arguments.rates.split(",")):
        rehearsed, decided = measure(rate, arguments.seconds)
        print(f"{rate:9g} {rehearsed * 1e6:16.0f} {0.1 * 2 / rehearsed:35.0f} {decided * 1e6:15.0f}")
    for reports in (0, arguments.reports):
        figures = rounds(arguments.applications, reports, 0, arguments.rounds, journalled=False)
        print(
            f"{arguments.applications:,} applications, {reports:,} reports a round: {figures.rehearsed:,} "
            f"rehearsed with {figures.rehearsal:.1%} of a core (goal: 10 % at most); a round took "
            f"{median(figures.wall) * 1e3:.0f} ms, at worst {max(figures.wall) * 1e3:.0f} ms; between rounds "
            f"the loop's thread woke up {figures.late * 1e3:.1f} ms late at worst; "
            f"{figures.resident:.0f} MiB resident (goal: 150)",
            flush=True,
        )


if __name__ == "__main__":
    main()
