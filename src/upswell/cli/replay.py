"""`upswell replay`: what another policy or objective would have made of recorded traffic."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from upswell.cli.contenders import choose
from upswell.cli.differences import Difference, differences
from upswell.cli.explain import moment
from upswell.cli.options import app_option, finite
from upswell.cli.plots import write_comparison
from upswell.cli.recorded import Recorded, application, open_journal, read_recorded
from upswell.cli.runs import Run, run_policy
from upswell.cli.simulate import by_state
from upswell.cli.text import clock, counted, plain, seconds
from upswell.cli.traffic import check_reach, parse_slo
from upswell.simulator.plant import Plant

if TYPE_CHECKING:
    from upswell.settings import Slo

UNKNOWN_START_DELAY = 30.0
_SHORTEST_INTERVAL = 0.05


class Replayed(Struct, frozen=True, kw_only=True):
    """The past and its replay. `base` is the instant at which the simulated time is 0."""

    recorded: Recorded
    run: Run
    plant: Plant
    base: float
    notes: tuple[str, ...]
    differences: list[Difference]


@click.command("replay")
@click.argument("journal")
@click.option("--policy", default="slo", show_default=True, metavar="NAME", help="Try this policy.")
@click.option(
    "--slo", metavar="SLO", help='Try this objective: seconds, or "99% < 60s". [default: as recorded]'
)
@click.option(
    "--share", type=float, callback=finite, help="Of the uploads that must be answered in that time."
)
@app_option(required=False, help="The application; not needed where the journal has only one.")
@click.option(
    "--start-delay", type=click.FloatRange(0), callback=finite, help="Seconds. [default: as measured]"
)
@click.option("--max-workers", type=click.IntRange(1), default=500, show_default=True, help="Never more.")
@click.option(
    "--differences", "count", type=click.IntRange(0), default=5, show_default=True, help="Tell so many."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--plot", metavar="FILE.svg", help="Draw workers over time and response times.")
def command(
    journal: str, *, policy: str, app: str | None, count: int, as_json: bool, plot: str | None, **options: Any
) -> None:
    """Replay the traffic in JOURNAL (its file, or the state folder) under another policy or objective."""
    choice = choose(policy)
    reader = open_journal(journal)
    recorded, base = _from_zero(read_recorded(reader, application(reader, app)))
    plant, notes = _plant(recorded, base, **options)
    _, late = check_reach(recorded.traffic.services, plant.slo)
    run = run_policy(recorded.traffic, plant, choice)
    replayed = Replayed(
        recorded=recorded,
        run=run,
        plant=plant,
        base=base,
        notes=(
            *recorded.traffic.notes,
            *notes,
            *late,
            *([f"{run.name}: {run.note}"] if run.note else []),
        ),
        differences=differences(recorded.entries, run, base, count),
    )
    if plot:
        write_comparison(plot, recorded.traffic, plant, [run], None)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(replayed)).decode())
    else:
        for line in _lines(replayed):
            click.echo(line)


def _from_zero(recorded: Recorded) -> tuple[Recorded, float]:
    """Return the past on a clock that begins with it, and that instant."""
    traffic = recorded.traffic
    base = math.floor(float(traffic.arrivals[0]))
    shifted = replace(traffic, arrivals=traffic.arrivals - base)
    return replace(recorded, traffic=shifted), float(base)


def _plant(
    recorded: Recorded,
    base: float,
    *,
    slo: str | None,
    share: float | None,
    start_delay: float | None,
    max_workers: int,
) -> tuple[Plant, tuple[str, ...]]:
    """Return the world as it was recorded, with what was asked to be different."""
    snapshots = [entry.snapshot for entry in recorded.entries]
    newest = snapshots[-1]
    objective = _objective(newest.slo, slo, share)
    notes: tuple[str, ...] = ()
    if start_delay is None:
        measured = [snapshot.start_delay for snapshot in snapshots if snapshot.start_delay is not None]
        start_delay = statistics.median(measured) if measured else UNKNOWN_START_DELAY
        if not measured:
            notes = (f"no start-up was measured; {start_delay:g} s is taken, --start-delay says another",)
    began = next((s for s in snapshots if s.at >= base), newest)
    interval = recorded.interval if math.isfinite(recorded.interval) else 2.0
    plant = Plant(
        slo=objective,
        start_delay=start_delay,
        slots=newest.slots_per_worker,
        initial_workers=began.workers.ready + began.workers.starting,
        max_workers=max_workers,
        decision_interval=max(_SHORTEST_INTERVAL, round(interval, 2)),
        window=max(newest.window, interval),
    )
    plant.check()
    return plant, notes


def _objective(recorded: Slo, slo: str | None, share: float | None) -> Slo:
    if slo is None:
        return recorded if share is None else parse_slo(f"{recorded.seconds!r}", share)
    return parse_slo(slo, recorded.share if share is None and "%" not in slo else share)


def _as_json(replayed: Replayed) -> dict[str, Any]:
    recorded, run = replayed.recorded, replayed.run
    return {
        "app": recorded.app_id,
        "slo": str(replayed.plant.slo),
        "uploads": len(recorded.traffic.arrivals),
        "notes": replayed.notes,
        "recorded": {
            "attainment": recorded.attainment(replayed.plant.slo),
            "worker_seconds": recorded.cost,
            "peak_workers": _recorded_peak(recorded),
            "scalings": _recorded_scalings(recorded),
        },
        "replayed": {
            "policy": run.name,
            "attainment": run.outcome.attainment,
            "late": run.outcome.late,
            "worker_seconds": run.outcome.cost,
            "worker_seconds_by_state": by_state(run.outcome),
            "peak_workers": run.outcome.peak_workers,
            "scalings": run.outcome.scalings,
            "p50": run.outcome.p50,
            "p95": run.outcome.p95,
            "p99": run.outcome.p99,
        },
        "differences": replayed.differences,
    }


def _recorded_peak(recorded: Recorded) -> int:
    workers = [entry.snapshot.workers for entry in recorded.entries]
    return max(w.starting + w.ready + w.standby + w.draining for w in workers)


def _recorded_scalings(recorded: Recorded) -> int:
    return sum(entry.changed for entry in recorded.entries)


def _lines(replayed: Replayed) -> list[str]:
    recorded, run, plant = replayed.recorded, replayed.run, replayed.plant
    outcome = run.outcome
    last = replayed.base + float(recorded.traffic.arrivals[-1])
    cost = "-" if recorded.cost is None else f"{recorded.cost / 3600:.4g}"
    assert not callable(plant.start_delay)
    return [
        (
            f"{recorded.app_id}: {counted(outcome.uploads, 'upload')} of "
            f"{seconds(recorded.traffic.mean_service)} on average, {moment(replayed.base)} to {moment(last)}"
        ),
        (
            f"slo {plant.slo}, {counted(plant.slots, 'slot')} a worker, "
            f"start-up {seconds(plant.start_delay)}, a decision every {seconds(plant.decision_interval)}"
        ),
        f"{'':20}{'attained':>10}{'worker-hours':>14}{'peak':>7}{'scalings':>10}",
        (
            f"{'recorded':20}{recorded.attainment(plant.slo):>10.2%}{cost:>14}"
            f"{_recorded_peak(recorded):>7}{_recorded_scalings(recorded):>10}"
        ),
        (
            f"{run.name:20}{outcome.attainment:>10.2%}{outcome.cost / 3600:>14.4g}"
            f"{outcome.peak_workers:>7}{outcome.scalings:>10}"
        ),
        _verdict(replayed),
        *replayed.notes,
        *_told(replayed),
    ]


def _verdict(replayed: Replayed) -> str:
    outcome, slo = replayed.run.outcome, replayed.plant.slo
    met = "met" if outcome.attainment >= slo.share else "missed"
    sentence = f"{replayed.run.name} would have {met} the slo, with {outcome.late:,} late"
    recorded = replayed.recorded.cost
    if not recorded:
        return sentence
    change = outcome.cost / recorded - 1
    return f"{sentence}, and have cost {abs(change):.0%} {'more' if change > 0 else 'less'} than was recorded"


def _told(replayed: Replayed) -> list[str]:
    if not replayed.differences:
        return ["the two decided alike throughout"] if replayed.recorded.entries else []
    name = replayed.run.name
    lines = [f"where the two differed most ({name} in simulated time):"]
    for one in replayed.differences:
        more = "more" if one.worker_seconds > 0 else "fewer"
        lines += [
            (
                f"  {clock(one.begin)} to {clock(one.end)}: {name} wanted {more} workers, "
                f"{abs(one.worker_seconds) / 3600:.3g} worker-hours; at {clock(one.widest_at)}:"
            ),
            f"    recorded {one.recorded}: {plain(one.recorded_reason)}",
            f"    {name} {one.replayed}: {plain(one.replayed_reason)}",
        ]
    return lines
