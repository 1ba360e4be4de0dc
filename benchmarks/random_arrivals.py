"""The `slo` policy and its peers on arrival processes drawn at random: a trace nobody has tuned anything to.

    python benchmarks/random_arrivals.py [--seed 1] [--cases 24] [--policies slo,keda:3] [--costs FILE]

Poisson, modulated, on and off, flash crowds, daily, batches, heavy-tailed gaps, growing; exponential,
lognormal and heavy-tailed services; objectives, service times, start-up delays and loads over all ratios that
`tests/support/random_cases.py` lists. One worker at the start, default constants, 99 % within the objective.
R is against this simulator's own clairvoyant; --costs keeps what that cost in a file, for the next run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import geometric_mean

import numpy as np
from msgspec.structs import replace

from upswell.lab.contenders import Choice, choose_all
from upswell.lab.oracle import oracle
from upswell.lab.runs import BARE
from upswell.lab.score import score
from upswell.simulator.engine import simulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.random_cases import Case, draw  # pyright: ignore[reportMissingImports] - the line above

POLICIES = "slo,dask_adaptive,keda:2,keda:5,knative,flink,aws_backlog,celery_autoscale,judoscale"


def clairvoyant(case: Case, kept: dict[str, float]) -> float:
    """Return the oracle's cost in worker-seconds, from what is kept if it is there."""
    if case.name not in kept:
        objective = case.world.slo.seconds
        start_delay = case.world.start_delay
        assert isinstance(start_delay, float)
        span = float(case.arrivals[-1] - case.arrivals[0]) + objective
        found = oracle(
            case.arrivals,
            case.services,
            objective=objective,
            share=case.world.slo.share,
            start_delay=start_delay,
            rounds=6,
            step=max(objective / 8, span / 4000),
        )
        # Where no schedule on this grid kept the share, what it did is scored as it is. A worker of its own
        # for each upload, ready when that comes, is a schedule too.
        on_grid = found.cost * max(1.0, (1 - found.attainment) / (1 - case.world.slo.share))
        kept[case.name] = min(on_grid, found.work + len(case.arrivals) * start_delay)
    return kept[case.name]


def run(case: Case, choice: Choice, cost: float) -> tuple[float, float, float]:
    """Return (R, attainment, CPU seconds) of one policy."""
    interval = choice.entry.interval or case.world.decision_interval
    world = replace(case.world, decision_interval=interval)
    policy = choice.policy(BARE.settings_in(world), float(case.services.mean()))
    begun = time.process_time()
    outcome = simulate(case.arrivals, case.services, policy, world)
    seconds = time.process_time() - begun
    return score(outcome.cost, cost, outcome.attainment, world.slo.share), outcome.attainment, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--policies", default=POLICIES)
    parser.add_argument("--costs", type=Path)
    arguments = parser.parse_args()
    choices = choose_all(arguments.policies)
    kept = json.loads(arguments.costs.read_text()) if arguments.costs and arguments.costs.exists() else {}
    scores: dict[str, list[float]] = {choice.text: [] for choice in choices}
    attained: dict[str, list[float]] = {choice.text: [] for choice in choices}
    cpu = dict.fromkeys(scores, 0.0)
    for number in range(arguments.cases):
        case = draw(arguments.seed, number)
        cost = clairvoyant(case, kept)
        if arguments.costs:
            arguments.costs.write_text(json.dumps(kept))
        print(f"{number}: {case.name}, {len(case.arrivals)} uploads")
        for choice in choices:
            r, share, seconds = run(case, choice, cost)
            scores[choice.text].append(r)
            attained[choice.text].append(share)
            cpu[choice.text] += seconds
            print(f"    {choice.text:18s} R {r:7.3f}  kept {share:.4f}  {seconds:5.1f} s", flush=True)
    print("\npolicy             geometric mean R   worst R   least kept   share of cases kept   CPU s")
    for name, values in scores.items():
        print(
            f"{name:18s} {geometric_mean(values):16.3f} {max(values):9.2f} {min(attained[name]):12.4f} "
            f"{np.mean(np.array(attained[name]) >= 0.99):21.2f} {cpu[name]:7.1f}"
        )
    _against_the_best(scores)


def _against_the_best(scores: dict[str, list[float]]) -> None:
    """Compare `slo` with the peer that did best on each case, chosen afterwards."""
    peers = [values for name, values in scores.items() if name != "slo"]
    if "slo" not in scores or not peers:
        return
    best = [min(values) for values in zip(*peers, strict=True)]
    ratios = [ours / theirs for ours, theirs in zip(scores["slo"], best, strict=True)]
    worst = max(range(len(ratios)), key=ratios.__getitem__)
    print(f"best peer of each case, chosen afterwards: {geometric_mean(best):.3f}")
    mean = geometric_mean(ratios)
    print(f"slo against it: {mean:.3f}; at worst {ratios[worst]:.2f} (case {worst})")


if __name__ == "__main__":
    main()
