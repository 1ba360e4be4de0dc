"""Standby that `slo` chooses itself against none: attainment, cost, and what of it stood by.

    python benchmarks/standby.py [FOLDER]

Bursts that begin and end within a start-up, the same over steady traffic, and calm weather; with a FOLDER of
cases (see autoscalers.py) also two of these, as they are and with an objective shorter than a start-up. Cost
is over the sum of the service times; the score is cost x late / allowed, where more are late than allowed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from upswell.policies.slo.staffing import family_with
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.jobs import read_jobs
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


class Case(Struct):
    """Traffic, its objective, and the start-up delay."""

    name: str
    arrivals: NDArray[np.float64]
    services: NDArray[np.float64]
    slo: Slo
    start_delay: float


def drawn() -> Iterator[Case]:
    """Yield traffic drawn at random."""
    rng = np.random.default_rng(1)
    bursts = np.cumsum(rng.exponential(300, 400))
    arrivals = np.sort((bursts[:, None] + rng.uniform(0, 1, (400, 8))).ravel())
    yield Case("rare bursts", arrivals, short(rng, len(arrivals), 2.0), Slo(0.95, 10.0), 30.0)
    bursts = np.cumsum(rng.exponential(200, 600))
    arrivals = np.concatenate(
        (rng.uniform(0, 120_000, 120_000), (bursts[:, None] + rng.uniform(0, 2, (600, 10))).ravel())
    )
    yield Case("bursts, and steady", np.sort(arrivals), short(rng, len(arrivals), 3.0), Slo(0.99, 10.0), 30.0)
    arrivals = np.sort(rng.uniform(0, 60_000, 60_000))
    services = rng.exponential(3.0, len(arrivals)).clip(0, 8)
    yield Case("calm", arrivals, services, Slo(0.95, 30.0), 10.0)


def short(rng: np.random.Generator, count: int, mean: float) -> NDArray[np.float64]:
    return rng.lognormal(np.log(mean) - 0.08, 0.4, count).clip(0, 8)


def recorded(folder: Path) -> Iterator[Case]:
    """Yield two cases of a folder, each a second time with an objective of 0.7 start-ups."""
    cases = json.loads((folder / "cases.json").read_text())
    for name in ("azure-code", "swim-2010"):
        facts = cases[name]
        arrivals, services = read_jobs(folder / f"{name}.csv.gz")
        delay, share = facts["start_delay_s"], facts["share"]
        yield Case(name, arrivals, services, Slo(share, facts["slo_s"]), delay)
        yield Case(
            f"{name}, short", arrivals, np.minimum(services, 0.5 * delay), Slo(share, 0.7 * delay), delay
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    print(
        f"{'case':20s} {'objective':>12s} {'start-up':>9s} {'standby':>8s} {'attained':>9s} {'cost':>7s} "
        f"{'of it standby':>14s} {'score':>7s} {'starts':>7s} {'CPU s':>6s}"
    )
    for case in (*drawn(), *(recorded(folder) if folder else ())):
        for standby in (0, "auto"):
            world = World(slo=case.slo, start_delay=case.start_delay)
            policy = RehearsedPolicy(settings=family_with(standby))
            begun = time.process_time()
            found = simulate(case.arrivals, case.services, policy, world)
            missed = max(1.0, (1 - found.attainment) / (1 - case.slo.share))
            stood = found.cost_standby / found.work
            print(
                f"{case.name:20s} {case.slo!s:>12s} {case.start_delay:7g} s {standby!s:>8s} "
                f"{found.attainment:9.4f} {found.cost_over_work:7.3f} {stood:14.3f} "
                f"{found.cost_over_work * missed:7.3f} {found.starts:7d} {time.process_time() - begun:6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
