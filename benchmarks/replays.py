"""How fast a replay with the policy `slo` is, beside an earlier version, and whether both come to the same.

    python benchmarks/replays.py [FOLDER] [--before CHECKOUT] [--turns 3] [--most UPLOADS]

FOLDER (or the variable CASES) holds `worldcup98-2d.csv.gz` and `twitter-6h.csv.gz`, with the columns
`arrival_s,service_s`; without it half a day like each is generated. CHECKOUT is another version of this
repository. Both run in turns, each time in a process of its own, with 1 and with 4 slots a worker. Told is
the least CPU time that one replay took. The same: every figure of the outcome, and at each decision the
workers, the uploads in the system and the number wanted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.jobs import read_jobs
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).resolve().parents[1]
CASES = {"worldcup98-2d": (60.0, 30.0, 0.26), "twitter-6h": (20.0, 10.0, 8.0)}
"""Objective and start-up delay in seconds, uploads a second of what is generated instead."""
SHARE, INTERVAL, GOAL = 0.99, 2.0, 50_000


def uploads_of(name: str, folder: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return arrivals and service times."""
    if folder:
        return read_jobs(Path(folder) / f"{name}.csv.gz")
    rng, rate = np.random.default_rng(1), CASES[name][2]
    arrivals = np.cumsum(rng.exponential(1 / rate, int(rate * 43_200)))
    return arrivals, rng.lognormal(np.log(5.0) - 0.5, 1.0, len(arrivals))


def replay(name: str, folder: str, slots: int, most: int) -> None:
    """Replay a case once; print how long that took, and what came of it."""
    arrivals, services = (values[:most] for values in uploads_of(name, folder))
    objective, start_delay, _ = CASES[name]
    world = World(slo=Slo(SHARE, objective), start_delay=start_delay, slots=slots, decision_interval=INTERVAL)
    simulate(arrivals[:500], services[:500], RehearsedPolicy(), world)  # compiles what is not kept compiled
    begun = time.process_time()
    outcome = simulate(arrivals, services, RehearsedPolicy(), world, keep_timeline=True)
    taken = time.process_time() - begun
    rounds = len(outcome.timeline)
    digest = hashlib.sha256(repr(outcome).encode()).hexdigest()
    print(json.dumps({"uploads": len(arrivals), "rounds": rounds, "seconds": taken, "outcome": digest}))


def measured(checkout: Path, name: str, folder: str, slots: int, most: int) -> dict[str, Any]:
    """Return what a replay by the code of a checkout printed."""
    command = [sys.executable, __file__, folder, "--replay", name, "--slots", str(slots), "--most", str(most)]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", default=os.environ.get("CASES", ""))
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--most", type=int, default=10**9, help="uploads of each case")
    parser.add_argument("--replay", help=argparse.SUPPRESS)
    parser.add_argument("--slots", type=int, default=1, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.replay:
        replay(chosen.replay, chosen.folder, chosen.slots, chosen.most)
        return
    versions = {"before": chosen.before} if chosen.before else {}
    versions["now"] = HERE
    same = True
    print("case            slots  version  uploads/s of CPU  us a round")
    for name in CASES:
        for slots in (1, 4):
            found: dict[str, list[dict[str, Any]]] = {version: [] for version in versions}
            for _ in range(chosen.turns):
                for version, checkout in versions.items():
                    found[version].append(measured(checkout, name, chosen.folder, slots, chosen.most))
            for version, turns in found.items():
                best = min(turns, key=lambda turn: turn["seconds"])
                rate, round_us = best["uploads"] / best["seconds"], best["seconds"] / best["rounds"] * 1e6
                print(f"{name:15} {slots:5}  {version:7}  {rate:16,.0f}  {round_us:10.1f}", flush=True)
            same = same and len({turn["outcome"] for turns in found.values() for turn in turns}) == 1
    print(f"\ngoal: {GOAL:,} uploads/s")
    if not same:
        sys.exit("the outcomes differ")
    print("all outcomes are the same")


if __name__ == "__main__":
    main()
