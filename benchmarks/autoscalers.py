"""Every autoscaler on real traces: attainment, cost over work and the score R, case by case.

    python benchmarks/autoscalers.py [FOLDER] [--policies "slo,keda 3"] [--cases azure-code]
    [--own-oracle] [--ablation] [--regret] [--json]

A case is FOLDER/NAME.csv.gz with `arrival_s,service_s`, and an entry in FOLDER/cases.json. Without FOLDER the
variable CASES names it; without either it is said, and nothing measured. One worker at the start, default
constants, start-up billed; each policy decides as often as its own controller does. The clairvoyant's cost is
the one in cases.json unless --own-oracle asks for ours (minutes). Those that are told each case's true mean
service time are marked with a star. --ablation tries `slo` with each of its ideas switched off. --regret
prints how `slo` compares with the best fixed setting of its family, chosen in hindsight (`regret.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import geometric_mean
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from regret import Regret, regret, world_of
from upswell.lab.oracle import oracle
from upswell.lab.score import score
from upswell.policies.elasticity_control import ElasticityControlPolicy
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bounds import Bounds
from upswell.policies.peers.aws_backlog import AwsBacklogPolicy
from upswell.policies.peers.celery_autoscale import CeleryAutoscalePolicy
from upswell.policies.peers.dask_adaptive import DaskAdaptivePolicy
from upswell.policies.peers.flink import FlinkPolicy
from upswell.policies.peers.judoscale import JudoscalePolicy
from upswell.policies.peers.keda import KedaPolicy
from upswell.policies.peers.knative import KnativePolicy
from upswell.policies.protocol import ScalingPolicy
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.slo_formula import SloFormulaPolicy
from upswell.policies.slo.staffing import FAMILY, StaffingSetting
from upswell.policies.threshold import ThresholdPolicy
from upswell.simulator.engine import simulate
from upswell.simulator.jobs import read_jobs
from upswell.simulator.rehearsal import Caution
from upswell.simulator.rehearsed_policy import RehearsedPolicy


class Contender(Struct, frozen=True):
    """How a policy is made for a case (mean service time, objective), and how often it decides."""

    make: Callable[[float, float], ScalingPolicy]
    interval: float = 2.0
    settings: str = ""
    """What stands behind the row, in the words of the policy's own project."""


def _keda(queue_length: float, *, over_http: bool = True, behavior: bool = False) -> Contender:
    """Return KEDA with the HPA; its loops' phases are drawn once, the same for every case."""
    protocol = "http, depth 2 to 7 s old" if over_http else "amqp, ready messages alone"
    return Contender(
        lambda _mean, _slo: KedaPolicy(
            queue_length, over_http=over_http, behavior=behavior, rng=Random(PHASES)
        ),
        1.0,
        f"queueLength {queue_length:g}, protocol {protocol}, pollingInterval 30, cooldownPeriod 300, "
        f"behavior {'of defaults' if behavior else 'not set'}; HPA: sync 15 s, tolerance 0.1",
    )


PHASES = 1
"""The seed of the phases in which loops of others look; `upswell compare --repeat` shows what chance does."""

TAIL_SECONDS = 600.0
"""A run is billed until its last worker has gone, so long after the last upload at most."""

CONTENDERS: dict[str, Contender] = {
    "slo": Contender(lambda _mean, _slo: RehearsedPolicy(), settings="upswell's default, rehearsed, bare"),
    "slo by formula": Contender(
        lambda _mean, _slo: Guarded(SloFormulaPolicy(), Bounds(0, 500)), settings="slo_formula, bare"
    ),
    "slo unrehearsed": Contender(
        lambda _mean, _slo: SloPolicy(), settings="the most cautious setting of slo's family"
    ),
    "dask 5 s *": Contender(
        lambda mean, _slo: DaskAdaptivePolicy(5.0, mean), 1.0,
        "target_duration 5 s, interval 1 s, wait_count 3; occupancy by the true mean service time",
    ),
    "dask slo/3 *": Contender(
        lambda mean, slo: DaskAdaptivePolicy(slo / 3, mean), 1.0,
        "target_duration a third of the objective, interval 1 s, wait_count 3; the true mean service time",
    ),
    "keda 2": _keda(2),
    "keda 3": _keda(3),
    "keda 5": _keda(5),
    "keda 20": _keda(20),
    "keda 2 behavior": _keda(2, behavior=True),
    "keda 2 amqp": _keda(2, over_http=False),
    "celery": Contender(
        lambda _mean, _slo: CeleryAutoscalePolicy(), 1.0,
        "--autoscale=500,0; prefetch of all that waits; keepalive 30 s",
    ),
    "knative": Contender(
        lambda _mean, _slo: KnativePolicy(),
        settings="target 100 x 0.7 of a container's concurrency, stable window 60 s, panic window 6 s",
    ),
    "aws *": Contender(
        lambda mean, _slo: AwsBacklogPolicy(mean), 20.0,
        "backlog per instance, acceptable latency the objective, by the true mean service time",
    ),
    "flink": Contender(
        lambda _mean, _slo: FlinkPolicy(), 10.0, "utilization.target 0.7 +- 0.3, all else as published"
    ),
    "judoscale": Contender(
        lambda _mean, _slo: JudoscalePolicy(), 10.0, "queue time of 1/20 to 1/4 of the objective"
    ),
    "threshold": Contender(
        lambda _mean, _slo: Guarded(ThresholdPolicy(), Bounds(0, 500)), settings="upswell's threshold, bare"
    ),
    "elasticity": Contender(
        lambda _mean, _slo: Guarded(ElasticityControlPolicy(), Bounds(0, 500)),
        settings="the course's rule, bare",
    ),
}  # fmt: skip


def _without(keep: Callable[[StaffingSetting], bool]) -> Contender:
    """Return the `slo` policy with a part of the family only, beginning with its most cautious member."""
    settings = tuple(setting for setting in FAMILY if keep(setting))
    first = min(
        range(len(settings)),
        key=lambda i: (abs(settings[i].patience - 0.2), settings[i].beta != 0.0, -settings[i].keep),
    )
    return Contender(lambda _mean, _slo: RehearsedPolicy(settings=settings, first=first))


def _cautious(**changes: float) -> Contender:
    return Contender(lambda _mean, _slo: RehearsedPolicy(caution=Caution(**changes)))


ABLATION: dict[str, Contender] = {
    "slo": CONTENDERS["slo"],
    "no rehearsal": CONTENDERS["slo unrehearsed"],
    "no foresight": _without(lambda setting: not setting.foresight),
    "only foresight": _without(lambda setting: setting.foresight),
    "no floor": _without(lambda setting: setting.beta is None),
    "always a floor": _without(lambda setting: setting.beta is not None),
    "keep 1 start-up": _without(lambda setting: setting.keep == 1.0),
    "no error budget": _cautious(least_budget=0.999, most_budget=1.001),
    "no deviations": _cautious(deviations=0.0),
    "exponent 1": _cautious(exponent=1.0),
    "tenth of memory": _cautious(late_remembered=50.0),
    "no minimal gain": _cautious(gain=0.0),
}


def run(
    folder: Path, case: str, facts: dict[str, Any], contender: Contender, oracle_cost: float
) -> dict[str, float]:
    """Return one policy's figures on one case."""
    arrivals, services = read_jobs(folder / f"{case}.csv.gz")
    world = replace(world_of(facts, contender.interval), tail=TAIL_SECONDS)
    policy = contender.make(float(services.mean()), facts["slo_s"])
    begun = time.perf_counter()
    outcome = simulate(arrivals, services, policy, world)
    return {
        "attainment": outcome.attainment,
        "cost_over_work": outcome.cost_over_work,
        "r": score(outcome.cost, oracle_cost, outcome.attainment, facts["share"]),
        "peak": outcome.peak_workers,
        "scalings": outcome.scalings,
        "seconds": time.perf_counter() - begun,
    }


def clairvoyant(folder: Path, case: str, facts: dict[str, Any], own: bool) -> float:
    """Return the oracle's cost in worker-seconds."""
    if not own:
        return facts["oracle_cost_over_work"] * facts["work_s"] / facts.get("slots", 1)
    arrivals, services = read_jobs(folder / f"{case}.csv.gz")
    found = oracle(
        arrivals, services, objective=facts["slo_s"], share=facts["share"], start_delay=facts["start_delay_s"]
    )
    print(
        f"oracle {case}: {found.cost_over_work:.4f} of the work, "
        f"bound {found.lower_bound / found.work:.4f}, "
        f"attainment {found.attainment:.4f}; independent: {facts['oracle_cost_over_work']:.4f}",
        flush=True,
    )
    return found.cost / facts.get("slots", 1)


NO_FOLDER = """no traces, so nothing is measured here. Name the folder of cases: make bench CASES=FOLDER, or
python benchmarks/autoscalers.py FOLDER. It has cases.json and a NAME.csv.gz each (docs/benchmarks.md)."""


def read_cases(folder: Path | None, wanted: str | None) -> tuple[Path, dict[str, Any]]:
    """Return the folder and its cases, or exit and say what is missing."""
    if folder is None:
        if not os.environ.get("CASES"):
            sys.stdout.write(f"{NO_FOLDER}\n")
            sys.exit(0)
        folder = Path(os.environ["CASES"])
    try:
        cases = json.loads((folder / "cases.json").read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"the folder of cases must hold a cases.json: {folder}: {error}")
    return folder, {name: cases[name] for name in wanted.split(",")} if wanted else cases


def tried(
    folder: Path, cases: dict[str, Any], name: str, contender: Contender, costs: dict[str, float]
) -> Any:
    """Run one policy on every case, print a row for each, and return its figures."""
    found: dict[str, dict[str, float]] = {}
    for case, facts in cases.items():
        figures = found[case] = run(folder, case, facts, contender, costs[case])
        print(
            f"{name:16s} {case:15s} {figures['attainment']:8.4f} {figures['cost_over_work']:9.3f} "
            f"{figures['r']:8.3f} {figures['peak']:5.0f} {figures['scalings']:8.0f} "
            f"{figures['seconds']:6.1f}",
            flush=True,
        )
    mean = geometric_mean([figures["r"] for figures in found.values()])
    worst = min(figures["attainment"] for figures in found.values())
    print(f"{name:16s} {'geometric mean':15s} {worst:8.4f} {'':9s} {mean:8.3f}", flush=True)
    return {"r": mean, "worst_attainment": worst, "cases": found}


def summary(found: dict[str, Any]) -> None:
    """Print one row a policy, the best first, and the best of the others on each case."""
    print(f"\n{'policy':16s} {'R, mean':>8s} {'worst attained':>15s} {'worst R':>8s}")
    for name, figures in sorted(found.items(), key=lambda item: item[1]["r"]):
        worst = max(case["r"] for case in figures["cases"].values())
        print(f"{name:16s} {figures['r']:8.3f} {figures['worst_attainment']:15.4f} {worst:8.3f}")
    peers = [figures for name, figures in found.items() if not name.startswith("slo")]
    if peers and "slo" in found:
        slo = found["slo"]["cases"]
        best = {case: min(peer["cases"][case]["r"] for peer in peers) for case in slo}
        print(f"{'best peer a case':16s} {geometric_mean(list(best.values())):8.3f}")
        told = ", ".join(f"{case} {slo[case]['r'] / best[case]:.2f}" for case in slo)
        print(f"slo over the best peer of each case: {told}")


def regrets(folder: Path, cases: dict[str, Any], costs: dict[str, float]) -> dict[str, Regret]:
    """Print a row for each case, and the means; return the figures."""
    print(
        f"{'case':15s} {'attained':>8s} {'asked':>6s} {'R':>7s} {'R best':>7s} {'ratio':>6s} "
        f"{'replayed':>8s} {'changes':>7s} {'since':>6s}  best fixed setting in hindsight"
    )
    found: dict[str, Regret] = {}
    for case, facts in cases.items():
        one = found[case] = regret(*read_jobs(folder / f"{case}.csv.gz"), facts, costs[case])
        print(
            f"{case:15s} {one.attainment:8.4f} {facts['share']:6.3f} {one.achieved:7.3f} {one.best:7.3f} "
            f"{one.ratio:6.3f} {one.replayed:8.3f} {one.changes:7d} {one.since:6.0%}  {one.setting}",
            flush=True,
        )
    kept = sum(one.attainment >= cases[case]["share"] for case, one in found.items())
    achieved, best = (
        geometric_mean([getattr(one, name) for one in found.values()]) for name in ("achieved", "best")
    )
    ratio = sum(one.ratio for one in found.values()) / len(found)
    title = f"{kept} of {len(found)} kept"
    print(f"{title:31s} {achieved:7.3f} {best:7.3f} {ratio:6.3f}  (R: geometric means; ratio: mean)")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--policies")
    parser.add_argument("--cases")
    parser.add_argument("--own-oracle", action="store_true")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--regret", action="store_true")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    arguments = parser.parse_args()
    table = ABLATION if arguments.ablation else CONTENDERS
    names = arguments.policies.split(",") if arguments.policies else list(table)
    folder, cases = read_cases(arguments.folder, arguments.cases)
    costs = {case: clairvoyant(folder, case, facts, arguments.own_oracle) for case, facts in cases.items()}
    if arguments.regret:
        found = regrets(folder, cases, costs)
        if arguments.json:
            print(json.dumps({"benchmark": "regret", "cases": to_builtins(found)}))
        return
    for name in names:
        if table[name].settings:
            print(f"{name:16s} {table[name].settings}")
    titles = ("policy", "case", "attained", "cost/work", "R", "peak", "scalings", "s")
    print("{:16s} {:15s} {:>8s} {:>9s} {:>8s} {:>5s} {:>8s} {:>6s}".format(*titles))
    found = {name: tried(folder, cases, name, table[name], costs) for name in names}
    summary(found)
    if arguments.json:
        print(
            json.dumps({"benchmark": "ablation" if arguments.ablation else "autoscalers", "policies": found})
        )


if __name__ == "__main__":
    main()
