"""Simulation meets reality: one trace through the real loop and through the simulator, side by side.

    python benchmarks/reality.py [--broker sqlite|rabbitmq|both] [--seconds 300] [--jobs FILE.csv]
    [--fleet process|docker] [--bursts] [--policy slo] [--save FILE.json] [--again FILE.json] [--json]

The real loop is worker processes or containers whose handler sleeps the service time that the request
carries, a real broker, the real monitor and scaler. The simulator gets the same arrivals, services, settings,
policy and wrappers; start-up delay, time to stop, report lag and overhead of an upload are measured in the
real run from statuses and reports, not fitted to its result. It runs twenty times, with other draws of the
start-up delay and decisions at other moments within the interval: their spread is what chance alone explains.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from reality_run import IMAGE, Measured, RealRun, settings_for
from side_by_side import conclude, docker, print_table, rabbitmq
from upswell import events
from upswell.monitor.rehearsals import Rehearsals
from upswell.policies.registry import bare_policy, guarded
from upswell.policies.slo.slo import SloPolicy
from upswell.publisher.replies import nearest_rank
from upswell.simulator.engine import simulate
from upswell.simulator.jobs import read_jobs
from upswell.simulator.world import World
from upswell.workload.arrivals import Phase, piecewise
from upswell.workload.distributions import service_times

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from numpy.typing import NDArray

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.settings import Settings

    Floats = NDArray[np.float64]

SLOTS, MAX_WORKERS = 2, 10
SETTINGS: dict[str, Any] = {
    "slo": "95% < 3s",
    "slots": SLOTS,
    "min_workers": 1,
    "max_workers": MAX_WORKERS,
    "window": 20.0,
    "decision_interval": 1.0,
    "status_interval": 0.5,
}
SERVICE = "lognormal(1, 0.5)"
BURSTS: dict[str, Any] = {
    "slo": "95% < 30s",
    "slots": 1,
    "min_workers": 0,
    "max_workers": 30,
}
"""Of `--bursts`; all else as it is by default."""
REPLICATIONS = 20
NOTED_WITHIN = 0.1
"""A decision is noted after it was told, so a worker may seem to have been asked for shortly before it."""
ATTAINMENT_GOAL, COST_GOAL = 0.01, 0.10


def generated(seconds: float, seed: int) -> tuple[Floats, Floats]:
    """Return quiet, a burst, a ramp and calm in `seconds`: Poisson arrivals, lognormal services."""
    rng = random.Random(seed)
    ramp = [Phase("ramp", 0.06 * seconds, rate) for rate in (2.0, 4.0, 6.0, 8.0, 10.0)]
    phases = [
        Phase("quiet", 0.2 * seconds, 1.0),
        Phase("burst", 0.2 * seconds, 10.0),
        *ramp,
        Phase("calm", 0.3 * seconds, 1.0),
    ]
    arrivals = np.array(list(piecewise(phases, rng)))
    return arrivals, service_times(SERVICE).draw(np.random.default_rng(seed), len(arrivals))


def bursts(seed: int) -> tuple[Floats, Floats]:
    """Return ten minutes of half an upload a second with two bursts of 3 a second, 3.95 s each."""
    calm, burst = Phase("calm", 60.0, 0.5), Phase("burst", 60.0, 3.0)
    phases = [calm, burst, Phase("calm", 360.0, 0.5), burst, calm]
    arrivals = np.array(list(piecewise(phases, random.Random(seed))))
    return arrivals, service_times("lognormal(3.95, 0.5)").draw(np.random.default_rng(seed), len(arrivals))


def squeezed(arrivals: Floats, services: Floats, seconds: float, seed: int) -> tuple[Floats, Floats]:
    """Return a trace in `seconds`: evenly thinned to 5 uploads a second, services scaled to a load of 30 %.

    The shape of arrivals and of the services' distribution is the trace's, the scale is what a few workers on
    one machine can bear.
    """
    most = max(1, round(5 * seconds))
    keep = np.arange(len(arrivals))
    if len(keep) > most:
        keep = np.sort(np.random.default_rng(seed).choice(len(keep), most, replace=False))
    at, work = arrivals[keep] - arrivals[keep[0]], services[keep]
    length, total = float(at[-1]), float(work.sum())
    at = at * (seconds / length) if length else at
    return at, work * (0.3 * SLOTS * MAX_WORKERS * seconds / total) if total else work


class Facts(Struct, kw_only=True):
    """What the world is set from: seconds, each measured directly in the real run."""

    start_delays: list[float]
    stop_delays: list[float]
    overhead: float
    """Mean service time beyond what the handler was told to sleep."""
    report_lag: float
    order_lag: float
    """Mean from a decision for more workers to the request for one."""
    publish_lag: float
    """Mean lateness of the publisher."""

    @property
    def stop_delay(self) -> float:
        """Mean seconds that a worker is billed after it has nothing left to do."""
        return statistics.fmean(self.stop_delays) if self.stop_delays else 0.0


def facts(measured: Measured, arrivals: Floats, services: Floats) -> Facts:
    """Return what the statuses, reports and the scaler's list of workers say of each delay."""
    lives = measured.workers.values()
    starts = [w.ready_at - w.requested_at for w in lives if w.ready_at is not None]
    stops = [
        max(0.0, w.gone_at - max(w.told_at, w.last_upload_at or 0.0))
        for w in lives
        if w.gone_at is not None and w.told_at is not None and w.gone_at <= measured.ended_at
    ]
    orders = [
        max(0.0, w.requested_at - max(before))
        for w in lives
        if w.requested_at > measured.began_at
        and (before := [at for at, _, _ in measured.decisions if at <= w.requested_at + NOTED_WITHIN])
    ]
    return Facts(
        start_delays=sorted(starts),
        stop_delays=sorted(stops),
        overhead=statistics.fmean(taken - services[n] for n, taken in measured.services.items()),
        report_lag=_mean(measured.report_lags),
        order_lag=_mean(orders),
        publish_lag=_mean([at - arrivals[n] for n, at in measured.published.items()]),
    )


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else 0.0


class Figures(Struct, kw_only=True):
    """One run's result, or the mean of several; times in seconds."""

    attainment: float
    worker_seconds: float
    p50: float
    p95: float
    p99: float
    peak_workers: float
    starts: float
    scalings: float


def real_figures(measured: Measured, uploads: int, objective: float) -> Figures:
    """Return the real run's figures; an upload that was never answered is late."""
    ordered = sorted(measured.responses.values())
    late = uploads - sum(response <= objective for response in ordered)
    p50, p95, p99 = (nearest_rank(ordered, share) or 0.0 for share in (0.5, 0.95, 0.99))
    return Figures(
        attainment=1 - late / uploads,
        worker_seconds=measured.worker_seconds,
        p50=p50,
        p95=p95,
        p99=p99,
        peak_workers=max((count for _, count in measured.timeline), default=0),
        starts=sum(w.requested_at > measured.began_at for w in measured.workers.values()),
        scalings=sum(at > measured.began_at for at, _, _ in measured.decisions),
    )


class AtOnce(Executor):
    """Does what it is given before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return what is done."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class AsMonitored:
    """A policy as the monitor runs it: in its wrappers, and rehearsed after each round where it can be.

    The rehearsal is the monitor's own, done at once and on no budget: one application never uses it up.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bare = bare_policy(settings)
        self._policy = guarded(self._bare, settings)
        self._rehearsals = Rehearsals(settings.decision_interval, clock=lambda: 0.0, executor=AtOnce())

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the decision of one round."""
        self._rehearsals.follow()
        decision = self._policy.decide(snapshot)
        if isinstance(self._bare, SloPolicy):
            self._rehearsals.note(self._bare, self._settings, snapshot)
        self._rehearsals.work()
        return decision


def predictions(
    arrivals: Floats, services: Floats, known: Facts, values: dict[str, Any], count: int = REPLICATIONS
) -> list[Figures]:
    """Return what the simulator says, once for each draw of start-up delays and phase of the decisions."""
    settings = settings_for(Path(), "", values)
    interval = settings.decision_interval

    def start_delay(rng: Random) -> float:
        return rng.choice(known.start_delays) + known.order_lag

    found: list[Figures] = []
    for seed in range(count):
        world = World(
            slo=settings.objective,
            start_delay=start_delay,
            stop_delay=known.stop_delay,
            slots=settings.initial_slots,
            initial_workers=settings.min_workers,
            initial_measured=True,  # the scaler started them, before the first upload
            min_workers=settings.min_workers,
            max_workers=settings.max_workers,
            decision_interval=interval,
            window=settings.window,
            status_interval=settings.status_interval,
            report_lag=known.report_lag,
            seed=seed,
        )
        shift = float(1 - arrivals[0] % 1) + interval * seed / count
        outcome = simulate(
            arrivals + shift, services + max(0.0, known.overhead), AsMonitored(settings), world
        )
        found.append(
            Figures(
                **{
                    name: getattr(outcome, "cost" if name == "worker_seconds" else name)
                    for name in Figures.__struct_fields__
                }
            )
        )
    return found


class Comparison(Struct, kw_only=True):
    """The real run against the mean prediction, and where the predictions lie."""

    broker: str
    fleet: str
    real: Figures
    simulated: Figures
    least: Figures
    most: Figures
    facts: Facts

    @property
    def attainment_off(self) -> float:
        """Prediction less reality, as a share of all uploads."""
        return self.simulated.attainment - self.real.attainment

    @property
    def cost_off(self) -> float:
        """Prediction over reality, less 1."""
        return self.simulated.worker_seconds / self.real.worker_seconds - 1

    @property
    def meets_goals(self) -> bool:
        """Whether the simulator was within 1 point of attainment and 10 % of the worker-seconds."""
        return abs(self.attainment_off) <= ATTAINMENT_GOAL and abs(self.cost_off) <= COST_GOAL


def compare(measured: Measured, real: Figures, simulated: list[Figures], known: Facts) -> Comparison:
    """Return the comparison of one real run with several simulated ones."""

    def each(take: Any) -> Figures:
        return Figures(
            **{name: float(take(getattr(s, name) for s in simulated)) for name in Figures.__struct_fields__}
        )

    return Comparison(
        broker=measured.broker,
        fleet=measured.fleet,
        real=real,
        simulated=each(statistics.fmean),
        least=each(min),
        most=each(max),
        facts=known,
    )


def explain(comparison: Comparison) -> list[str]:
    """Return a sentence for each figure: which delay was measured, and whether chance explains the rest."""
    known, real = comparison.facts, comparison.real
    starts = known.start_delays
    measured = (
        f"measured: start-up {statistics.fmean(starts):.2f} s ({starts[0]:.2f} to {starts[-1]:.2f}, "
        f"{len(starts)} workers), stop {known.stop_delay:.2f} s ({len(known.stop_delays)} workers), "
        f"overhead {known.overhead * 1000:.0f} ms an upload, report lag {known.report_lag * 1000:.0f} ms, "
        f"decision to start request {known.order_lag * 1000:.0f} ms, publisher late by "
        f"{known.publish_lag * 1000:.0f} ms"
    )
    lines = [measured]
    for what, name, off in (
        ("attainment", "attainment", f"{comparison.attainment_off * 100:+.2f} points"),
        ("worker-seconds", "worker_seconds", f"{comparison.cost_off:+.1%}"),
    ):
        low, high = getattr(comparison.least, name), getattr(comparison.most, name)
        if low <= getattr(real, name) <= high:
            where = f"within the {REPLICATIONS} simulated ones: chance (phase, start-up) explains it"
        else:
            where = f"outside the {REPLICATIONS} simulated ones ({low:.4g} to {high:.4g}): the model lacks it"
        lines.append(f"{what}: simulated {off} against real; the real run lies {where}")
    return lines


_ROWS = (
    ("attainment", "attainment", "{:.2%}"),
    ("worker-seconds", "worker_seconds", "{:.1f}"),
    ("p50, s", "p50", "{:.2f}"),
    ("p95, s", "p95", "{:.2f}"),
    ("p99, s", "p99", "{:.2f}"),
    ("peak workers", "peak_workers", "{:.1f}"),
    ("starts", "starts", "{:.1f}"),
    ("scalings", "scalings", "{:.1f}"),
)


def tell(comparison: Comparison) -> None:
    """Print one comparison."""
    print(f"\nbroker: {comparison.broker}, fleet: {comparison.fleet}")
    print_table(
        ["", "real", "simulated (mean)", "least", "most"],
        [
            [title, *(form.format(getattr(f, name)) for f in _columns(comparison))]
            for title, name, form in _ROWS
        ],
    )
    for line in explain(comparison):
        print(line)
    print("within the goals" if comparison.meets_goals else "NOT within the goals (1 point, 10 %)")


def _columns(comparison: Comparison) -> tuple[Figures, ...]:
    return comparison.real, comparison.simulated, comparison.least, comparison.most


def measure(broker: str, arrivals: Floats, services: Floats, values: dict[str, Any]) -> Measured:
    """Run the real loop once."""
    with (
        tempfile.TemporaryDirectory(prefix="reality-") as folder,
        rabbitmq() if broker == "rabbitmq" else nullcontext("") as url,
        docker(IMAGE) if values.get("fleet") == "docker" else nullcontext(),
    ):
        settings = settings_for(Path(folder), url, values)
        return asyncio.run(RealRun(settings, arrivals.tolist(), services.tolist()).run())


class Recording(Struct, kw_only=True):
    """What --save writes and --again reads: a real run with its trace and settings."""

    arrivals: list[float]
    services: list[float]
    settings: dict[str, Any]
    measured: list[Measured]


def record(options: argparse.Namespace) -> Recording:
    """Run the real loop on each broker in turn."""
    values = {
        **(BURSTS if options.bursts else SETTINGS),
        "policy": options.policy,
        "fleet": options.fleet,
    }
    if options.slo:
        values["slo"] = options.slo
    if options.bursts:
        arrivals, services = read_jobs(options.jobs) if options.jobs else bursts(options.seed)
    elif options.jobs:
        arrivals, services = squeezed(*read_jobs(options.jobs), options.seconds, options.seed)
    else:
        arrivals, services = generated(options.seconds, options.seed)
    print(
        f"{len(arrivals)} uploads in {arrivals[-1]:.0f} s, {services.sum():.0f} s of work on "
        f"{values['slots']} slots a worker, at most {values['max_workers']} workers; {options.policy}, "
        f"{values['slo']}",
        file=sys.stderr,
    )
    brokers = ["sqlite", "rabbitmq"] if options.broker == "both" else [options.broker]
    return Recording(
        arrivals=arrivals.tolist(),
        services=services.tolist(),
        settings=values,
        measured=[measure(broker, arrivals, services, values) for broker in brokers],
    )


def compare_all(recording: Recording) -> list[Comparison]:
    """Simulate what was recorded, and compare."""
    arrivals, services = np.array(recording.arrivals), np.array(recording.services)
    objective = settings_for(Path(), "", recording.settings).objective.seconds
    found: list[Comparison] = []
    for measured in recording.measured:
        known = facts(measured, arrivals, services)
        real = real_figures(measured, len(arrivals), objective)
        simulated = predictions(arrivals, services, known, recording.settings)
        found.append(compare(measured, real, simulated, known))
    return found


def main() -> int:
    """Run, compare, tell; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--broker", choices=["sqlite", "rabbitmq", "both"], default="both")
    parser.add_argument("--fleet", choices=["process", "docker"], default="process")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", help="CSV file with arrival_s,service_s, squeezed to --seconds")
    parser.add_argument("--policy", default="slo")
    parser.add_argument("--slo", help="default: 95%% < 3s; with --bursts 95%% < 30s")
    parser.add_argument(
        "--bursts",
        action="store_true",
        help="bursts of 3/s on 0 to 30 workers of one slot; with --jobs that file, unscaled",
    )
    parser.add_argument("--save", type=Path, help="keep what was measured, for --again")
    parser.add_argument("--again", type=Path, help="no real run: simulate anew what --save kept")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line, last")
    options = parser.parse_args()
    events.configure(level="warning")
    if options.again:
        recording = msgspec.json.decode(options.again.read_bytes(), type=Recording)
    else:
        recording = record(options)
    if options.save:
        options.save.write_bytes(msgspec.json.encode(recording))
    comparisons = compare_all(recording)
    for comparison in comparisons:
        tell(comparison)
    conclude(
        {"uploads": len(recording.arrivals), "runs": msgspec.to_builtins(comparisons)}, as_json=options.json
    )
    return 0 if all(comparison.meets_goals for comparison in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
