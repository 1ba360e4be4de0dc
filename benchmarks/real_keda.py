"""The simulated `keda` beside a real one, on the load that the real one was watched with.

    python benchmarks/real_keda.py FOLDER [--phases 40]

FOLDER/jobs.csv has `arrival_s,service_s`. Prints the least, the most and the median over so many phases of
what was answered within 30 s, and of the worker-seconds to the last answer and to the last worker's end; the
real one's figures stand in docs/peers.md.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from random import Random

from msgspec.structs import replace

from upswell.policies.peers.keda import KedaPolicy
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.jobs import read_jobs
from upswell.simulator.world import World

ROWS = ((2.0, True, False), (5.0, True, False), (5.0, True, True), (2.0, False, False))
"""queueLength, over HTTP, with a behavior."""

WORLD = World(slo=Slo(0.95, 30.0), start_delay=0.6, initial_workers=0, max_workers=30, decision_interval=1.0)
"""As where the real one was watched: 0 to 30 pods, created to consuming in 0.2 to 1.1 s."""


def spread(values: list[float], digits: int) -> str:
    """Return the least, the most and the median."""
    least, most, middle = min(values), max(values), statistics.median(values)
    return f"{least:,.{digits}f} to {most:,.{digits}f} ({middle:,.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--phases", type=int, default=40)
    arguments = parser.parse_args()
    arrivals, services = read_jobs(arguments.folder / "jobs.csv")
    for queue_length, over_http, behavior in ROWS:
        attained: list[float] = []
        costs: dict[float, list[float]] = {0.0: [], 600.0: []}
        for seed in range(arguments.phases):
            for tail, found in costs.items():
                policy = KedaPolicy(queue_length, over_http=over_http, behavior=behavior, rng=Random(seed))
                outcome = simulate(arrivals, services, policy, replace(WORLD, tail=tail, seed=seed))
                found.append(outcome.cost)
                attained.append(100 * outcome.attainment)
        print(
            f"queueLength {queue_length:g}, {'HTTP' if over_http else 'AMQP'}"
            f"{', behavior' if behavior else ''}: {spread(attained, 1)} % in time; worker-seconds "
            f"{spread(costs[0.0], 0)}; with the tail {spread(costs[600.0], 0)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
