"""`upswell compare`: simulate every autoscaler on the same uploads, and compare it with a clairvoyant."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
from msgspec.structs import replace

from upswell.cli.cost import each_json, each_text
from upswell.cli.lab.traffic_options import plot_option, traffic_options
from upswell.cli.progress import progress
from upswell.cli.text import counted, number, seconds
from upswell.lab.contenders import choose_all
from upswell.lab.runs import clairvoyant, run_policy
from upswell.lab.traffic import check_reach, read_traffic

if TYPE_CHECKING:
    from upswell.lab.runs import Bound, House, Run
    from upswell.lab.traffic import Traffic, TrafficSource
    from upswell.simulator.world import World

TAIL_SECONDS = 600.0
"""Longer than any policy here takes to let an idle fleet go."""


@click.command("compare")
@traffic_options
@click.option(
    "--policies",
    default="all",
    show_default=True,
    metavar="NAMES",
    help="Comma-separated; some take a number (keda:5, constant:12). An unknown name lists all.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs of each policy, in phases that chance draws; shows the least and the most of each figure.",
)
@click.option("--no-oracle", is_flag=True, help="Skip the clairvoyant, which may take minutes, and R.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plot_option
def command(  # noqa: PLR0917 - click passes them by name
    source: TrafficSource,
    world: World,
    house: House,
    policies: str,
    repeat: int,
    no_oracle: bool,
    as_json: bool,
    plot: str | None,
) -> None:
    """Simulate every policy on the same uploads in virtual time, and show its attainment and cost.

    R is the cost, with what the starts cost, relative to a clairvoyant fleet, multiplied by the late share
    relative to the allowed share if that was exceeded; 1 is perfect. "each" is the cost of one upload in
    time: worker-seconds, or money with --price. A run is billed until its last worker has gone, at most ten
    minutes after the last upload.
    """
    choices = choose_all(policies, with_rules=bool(house.settings.rules_file))
    traffic = read_traffic(source)
    possible, notes = check_reach(traffic.services, world.slo)
    bound = None
    if not no_oracle:
        with progress("computing the clairvoyant", known=False):
            bound = clairvoyant(traffic, world, possible)
    best = bound.result if bound else None
    world = replace(world, tail=TAIL_SECONDS)
    tries: list[list[Run]] = []
    for choice in choices:
        with progress(f"simulating {choice.text}") as on_progress:
            tries.append(
                [
                    run_policy(traffic, one, choice, best, house=house, on_progress=on_progress)
                    for one in in_phases(world, repeat)
                ]
            )
    runs = [middle(of_one, world.slo.share) for of_one in tries]
    if plot:
        from upswell.lab.plots import drawn_run, write_comparison  # noqa: PLC0415 - it needs the extra plot

        write_comparison(plot, traffic, world, [drawn_run(run) for run in runs], best)
    compared = Compared(traffic, world, bound, runs, notes, house.price, tries)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(compared)).decode())
    else:
        _show(compared)


def in_phases(world: World, count: int) -> list[World]:
    """Return so many worlds: as it is, then with phases and seeds that chance draws, the same each time."""
    others = [
        replace(world, seed=seed, phase=Random(seed).random())  # noqa: S311 - chance in a model, no secret
        for seed in range(world.seed + 1, world.seed + count)
    ]
    return [world, *others]


def middle(runs: list[Run], share: float) -> Run:
    """Return the run that is neither the best nor the worst."""
    return sorted(runs, key=lambda run: _rank(run, share))[(len(runs) - 1) // 2]


class Compared(NamedTuple):
    """The results of a comparison; `price` of a worker per hour, 0: unknown."""

    traffic: Traffic
    world: World
    bound: Bound | None
    runs: list[Run]
    notes: tuple[str, ...]
    price: float
    tries: list[list[Run]]
    """All runs of each policy; `runs` has the middle one of each."""


def _as_json(compared: Compared) -> dict[str, Any]:
    traffic, world, bound, runs, notes, price, tries = compared
    best = bound.result if bound else None
    return {
        "case": traffic.case,
        "slo": str(world.slo),
        "uploads": len(traffic.arrivals),
        "work_s": traffic.work,
        "notes": [*traffic.notes, *notes, *([bound.why_none] if bound and bound.why_none else [])],
        "oracle": None
        if best is None
        else {
            "attainment": best.attainment,
            "cost_over_work": best.cost_over_work,
            "lower_bound_over_work": best.lower_bound / best.work,
        },
        "policies": {
            run.asked: {
                **figures(run, price),
                **({"runs": [figures(one, price) for one in of_one]} if len(of_one) > 1 else {}),
            }
            for run, of_one in zip(runs, tries, strict=True)
        },
    }


def figures(run: Run, price: float) -> dict[str, Any]:
    """Return a run's figures for JSON; times in seconds, `price` of a worker per hour."""
    outcome = run.outcome
    return {
        "attainment": outcome.attainment,
        "cost_over_work": run.cost_over_work,
        "r": run.r,
        "p50": outcome.p50,
        "p95": outcome.p95,
        "p99": outcome.p99,
        "peak_workers": outcome.peak_workers,
        "scalings": outcome.scalings,
        "starts": outcome.starts,
        "worker_seconds": outcome.cost,
        **each_json(run.bill, price),
        "late": outcome.late,
        "unfinished": outcome.uploads - outcome.finished,
    }


def _show(compared: Compared) -> None:
    traffic, world, bound, runs, notes, price, tries = compared
    from rich.table import Table  # noqa: PLC0415 - rich is for who looks on

    from upswell.cli.look.status_table import console  # noqa: PLC0415 - as above

    out = console()
    say = partial(out.print, soft_wrap=True, highlight=False, markup=False)
    share = world.slo.share
    say(
        f"{traffic.case}: {counted(len(traffic.arrivals), 'upload')} of {traffic.mean_service:.3g} s, "
        f"{traffic.work / 3600:.4g} worker-hours of work; slo {world.slo}, start-up {world.start_delay:g} s"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits a terminal of 80 columns
    for title in ("policy", "attained", "p50", "p95", "p99", "cost/work", "R", "each", "peak", "scalings"):
        table.add_column(title, justify="left" if title == "policy" else "right", no_wrap=True)
    best = bound.result if bound else None
    if best is not None:
        attained, cost = _attained(best.attainment, share), f"{best.cost_over_work:.3f}"
        table.add_row("clairvoyant", attained, "", "", "", cost, "1.00", "", "", "")
    for run in sorted(runs, key=lambda run: _rank(run, share)):
        outcome = run.outcome
        table.add_row(
            run.name,
            _attained(outcome.attainment, share),
            seconds(outcome.p50),
            seconds(outcome.p95),
            seconds(outcome.p99),
            f"{run.cost_over_work:.3f}",
            "-" if run.r is None else f"{run.r:.2f}",
            each_text(run.bill, price),
            number(outcome.peak_workers),
            number(outcome.scalings),
        )
    out.print(table)
    for of_one in tries:
        if len(of_one) > 1:
            say(_spread(of_one))
    for line in (
        *traffic.notes,
        *notes,
        *([f"no clairvoyant: {bound.why_none}"] if bound and bound.why_none else []),
        *(f"{run.name}: {run.note}" for run in runs if run.note),
        *(f"{run.name}: {run.unfinished}" for run in runs if run.unfinished),
    ):
        say(line)


def _spread(runs: list[Run]) -> str:
    """Return a line on the least and the most of a policy's runs; the table has the middle one."""
    attained = [run.outcome.attainment for run in runs]
    cost = [run.cost_over_work for run in runs]
    scores = [run.r for run in runs if run.r is not None]
    line = (
        f"{runs[0].asked}: {len(runs)} runs: attained {min(attained):.2%} to {max(attained):.2%}, "
        f"cost/work {min(cost):.3f} to {max(cost):.3f}"
    )
    return f"{line}, R {min(scores):.2f} to {max(scores):.2f}" if scores else line


def _attained(attainment: float, share: float) -> str:
    return f"[{'green' if attainment >= share else 'red'}]{attainment:.2%}"


def _rank(run: Run, share: float) -> tuple[float, float]:
    """Return the sort key: R; without it, policies that met the objective first, by cost."""
    if run.r is not None:
        return 0.0, run.r
    missed = run.outcome.attainment < share
    return float(missed), 1 - run.outcome.attainment if missed else run.cost_over_work
