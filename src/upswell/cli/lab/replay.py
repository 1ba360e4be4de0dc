"""`upswell replay`: simulate another policy or objective on recorded traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell.cli.completion import completing
from upswell.cli.cost import by_state, cost_text, each_json
from upswell.cli.journals import application, open_journal
from upswell.cli.lab.traffic_options import plot_option
from upswell.cli.options import app_option, finite, with_settings
from upswell.cli.progress import progress
from upswell.cli.text import clock, counted, moment, seconds
from upswell.lab.contenders import choose
from upswell.lab.recorded import read_recorded
from upswell.lab.replay import Replayed, replay
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.analysis.billing import Bill
    from upswell.lab.recorded import Recorded
    from upswell.settings import Settings


@click.command("replay")
@click.argument("journal", required=False)
@click.option(
    "--policy",
    default="slo",
    show_default=True,
    shell_complete=completing("policy"),
    metavar="NAME",
    help="Policy to simulate (keda:5, slo+rules).",
)
@click.option("--slo", metavar="SLO", help='Objective: seconds, or "99% < 60s". [default: as recorded]')
@click.option(
    "--share", type=float, callback=finite, help="Share of uploads that must be stored within --slo seconds."
)
@app_option(required=False, help="Application; optional if the journal has only one.")
@click.option(
    "--start-delay",
    type=click.FloatRange(0),
    callback=finite,
    help="Start-up delay of a worker in seconds. [default: as measured]",
)
@click.option(
    "--min-workers", type=click.IntRange(0), help="Minimum number of workers. [default: as recorded]"
)
@click.option(
    "--max-workers", type=click.IntRange(1), help="Maximum number of workers. [default: as recorded]"
)
@click.option(
    "--rules-file", metavar="FILE.toml", help="Rules file that guards the policy. [default: as recorded]"
)
@click.option(
    "--wrappers/--bare",
    default=True,
    help="Apply all guards of the monitor, or only the bounds. [default: wrappers]",
)
@click.option(
    "--differences",
    "count",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Maximum number of differences to show.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plot_option
@with_settings("replay", quiet="warning")
def command(
    journal: str | None,
    *,
    policy: str,
    app: str | None,
    settings: Settings,
    count: int,
    as_json: bool,
    plot: str | None,
    **options: Any,
) -> None:
    """Replay the traffic in JOURNAL under another policy or objective.

    JOURNAL is its file, or a state folder (default: state_dir). Everything else is as recorded: bounds,
    slots, start-up delay, guards.
    """
    choice = choose(policy)
    reader = open_journal(journal, settings)
    recorded = read_recorded(reader, application(reader, app))
    with progress(f"simulating {choice.text}") as on_progress:
        replayed = replay(recorded, choice, differences=count, on_progress=on_progress, **options)
    if plot:
        _draw(plot, replayed)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(replayed)).decode())
    else:
        for line in _lines(replayed):
            click.echo(line)


def _draw(path: str, replayed: Replayed) -> None:
    from upswell.lab.plots import drawn_record, drawn_run, write_comparison  # noqa: PLC0415 - the extra plot

    recorded, world = replayed.recorded, replayed.world
    past = drawn_record(recorded, replayed.base, world.slo, world.slots)
    write_comparison(path, recorded.traffic, world, [past, drawn_run(replayed.run)])


def _as_json(replayed: Replayed) -> dict[str, Any]:
    recorded, run, world = replayed.recorded, replayed.run, replayed.world
    paid, would = replayed.bills
    return {
        "app": recorded.app_id,
        "slo": str(world.slo),
        "uploads": len(recorded.traffic.arrivals),
        "start_delay": world.start_delay,
        "min_workers": world.min_workers,
        "max_workers": world.max_workers,
        "slots": world.slots,
        "notes": replayed.notes,
        "recorded": {
            "policy": recorded.settings.policy if recorded.settings else None,
            "attainment": recorded.attainment(world.slo),
            "late": len(recorded.responses) + recorded.dead - recorded.in_time(world.slo),
            "worker_seconds": paid.worker_seconds if paid else None,
            **(each_json(paid, replayed.price) if paid else {}),
            "peak_workers": recorded.peak_workers,
            "scalings": _recorded_scalings(recorded),
        },
        "replayed": {
            "policy": run.name,
            "attainment": run.outcome.attainment,
            "late": run.outcome.late,
            "worker_seconds": run.outcome.cost,
            **each_json(would, replayed.price),
            "peak_workers": run.outcome.peak_workers,
            "scalings": run.outcome.scalings,
            "p50": run.outcome.p50,
            "p95": run.outcome.p95,
            "p99": run.outcome.p99,
        },
        "differences": replayed.differences,
    }


def _recorded_scalings(recorded: Recorded) -> int:
    return sum(entry.changed for entry in recorded.entries)


def _lines(replayed: Replayed) -> list[str]:
    recorded, run, world = replayed.recorded, replayed.run, replayed.world
    outcome = run.outcome
    last = replayed.base + float(recorded.traffic.arrivals[-1])
    paid, would = replayed.bills
    of = f" ({recorded.settings.policy})" if recorded.settings else ""
    assert not callable(world.start_delay)
    return [
        (
            f"{recorded.app_id}: {counted(len(recorded.traffic.arrivals), 'upload')} of "
            f"{seconds(recorded.traffic.mean_service)} on average, {moment(replayed.base)} to {moment(last)}"
        ),
        (
            f"slo {world.slo}, {world.min_workers} to {counted(world.max_workers, 'worker')} of "
            f"{counted(world.slots, 'slot')}, start-up {seconds(world.start_delay)}, "
            f"a decision every {seconds(world.decision_interval)}"
        ),
        f"{'':22}{'attained':>10}{'cost, per upload in time':>30}{'peak':>7}{'scalings':>10}",
        (
            f"{'recorded' + of:22}{recorded.attainment(world.slo):>10.2%}"
            f"{cost_text(paid, replayed.price):>30}"
            f"{recorded.peak_workers:>7}{_recorded_scalings(recorded):>10}"
        ),
        (
            f"{run.name:22}{outcome.attainment:>10.2%}{cost_text(would, replayed.price):>30}"
            f"{outcome.peak_workers:>7}{outcome.scalings:>10}"
        ),
        *_states(paid, would, run.name),
        _verdict(replayed, paid),
        *replayed.notes,
        *_told(replayed),
    ]


def _states(paid: Bill | None, would: Bill, name: str) -> list[str]:
    """Return the worker-hours by state, recorded and replayed."""
    lines: list[str] = []
    for side, bill in (("recorded", paid), (name, would)):
        if bill is not None:
            told = ", ".join(
                f"{state} {value / 3600:.3g}" for state, value in by_state(bill).items() if value
            )
            lines.append(f"worker-hours, {side}: {told or 'none'}")
    return lines


def _verdict(replayed: Replayed, paid: Bill | None) -> str:
    outcome, slo = replayed.run.outcome, replayed.world.slo
    met = "met" if outcome.attainment >= slo.share else "missed"
    sentence = f"{replayed.run.name} would have {met} the slo, with {counted(outcome.late, 'late upload')}"
    if paid is None or not paid.worker_seconds:
        return sentence
    change = outcome.cost / paid.worker_seconds - 1
    return f"{sentence}, and cost {abs(change):.0%} {'more' if change > 0 else 'less'} than recorded"


def _told(replayed: Replayed) -> list[str]:
    if not replayed.differences:
        return ["both made the same decisions throughout"] if replayed.recorded.entries else []
    name = replayed.run.name
    lines = [f"largest differences ({name} in simulated time):"]
    for one in replayed.differences:
        more = "more" if one.worker_seconds > 0 else "fewer"
        lines += [
            (
                f"  {clock(one.begin)} to {clock(one.end)}: {name} had {more} workers, "
                f"{abs(one.worker_seconds) / 3600:.3g} worker-hours; at {clock(one.widest_at)}:"
            ),
            f"    recorded {one.recorded}: {safe(one.recorded_reason)}",
            f"    {name} {one.replayed}: {safe(one.replayed_reason)}",
        ]
    return lines
