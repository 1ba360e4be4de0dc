"""`upswell simulate`: one policy in virtual time: its decisions, cost and response times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell.cli.completion import completing
from upswell.cli.cost import by_state, each_text
from upswell.cli.lab.compare import figures
from upswell.cli.lab.traffic_options import plot_option, traffic_options
from upswell.cli.progress import progress
from upswell.cli.text import counted, seconds
from upswell.lab.contenders import choose
from upswell.lab.runs import run_policy
from upswell.lab.traffic import check_reach, read_traffic
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.lab.runs import House, Made, Run
    from upswell.lab.traffic import Traffic, TrafficSource
    from upswell.simulator.world import World


@click.command("simulate")
@traffic_options
@click.option(
    "--policy",
    default="slo",
    show_default=True,
    shell_complete=completing("policy"),
    metavar="NAME",
    help="Policy; an unknown name lists all.",
)
@click.option(
    "--decisions",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="Show this many decisions, those with the largest changes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plot_option
def command(  # noqa: PLR0917 - click passes them by name
    source: TrafficSource,
    world: World,
    house: House,
    policy: str,
    decisions: int,
    as_json: bool,
    plot: str | None,
) -> None:
    """Simulate one policy on uploads in virtual time."""
    choice = choose(policy)
    traffic = read_traffic(source)
    _, notes = check_reach(traffic.services, world.slo)
    with progress(f"simulating {choice.text}") as on_progress:
        run = run_policy(traffic, world, choice, house=house, on_progress=on_progress)
    if plot:
        from upswell.lab.plots import drawn_run, write_comparison  # noqa: PLC0415 - it needs the extra plot

        write_comparison(plot, traffic, world, [drawn_run(run)])
    if as_json:
        told = {
            "case": traffic.case,
            "slo": str(world.slo),
            "policy": run.name,
            "uploads": len(traffic.arrivals),
            "notes": [*traffic.notes, *notes],
            **figures(run, house.price),
            "maximum": run.outcome.maximum,
            "mean_waiting": run.outcome.mean_waiting,
            "decisions": [_decision(made) for made in largest(run.made, decisions)],
        }
        click.echo(msgspec.json.encode(told).decode())
        return
    for line in (
        *summary(traffic, world, run, house.price),
        *traffic.notes,
        *notes,
        *_decisions(run, decisions),
    ):
        click.echo(line)


def summary(traffic: Traffic, world: World, run: Run, price: float = 0.0) -> list[str]:
    """Return the run's result in sentences."""
    outcome, slo, bill = run.outcome, world.slo, run.bill
    met = "met" if outcome.attainment >= slo.share else "MISSED"
    states = ", ".join(
        f"{name} {value / 3600:.3g} ({value / outcome.cost:.0%})"
        for name, value in by_state(bill).items()
        if value > 0
    )
    unfinished = outcome.uploads - outcome.finished
    late = f"{outcome.late:,} late" + (f", {unfinished:,} of them unfinished" if unfinished else "")
    return [
        (
            f"{traffic.case} under {run.name}: {counted(outcome.uploads, 'upload')} of "
            f"{seconds(traffic.mean_service)} on average"
        ),
        f"slo {slo} {met}: {outcome.attainment:.2%} in time, {late}",
        (
            f"response times: p50 {seconds(outcome.p50)}, p95 {seconds(outcome.p95)}, "
            f"p99 {seconds(outcome.p99)}, longest {seconds(outcome.maximum)}; "
            f"waiting {seconds(outcome.mean_waiting)} on average"
        ),
        (
            f"cost: {outcome.cost / 3600:.4g} worker-hours, {run.cost_over_work:.3f} x the work, "
            f"{each_text(bill, price)} for each upload in time; {states}"
        ),
        (
            f"workers: peak {outcome.peak_workers:,}, {outcome.starts:,} started, "
            f"{counted(outcome.scalings, 'scaling')}"
        ),
    ]


def largest(made: tuple[Made, ...], count: int) -> list[Made]:
    """Return the decisions with the largest changes, in time order."""
    chosen = sorted(made, key=lambda one: -abs(one.decision.desired_workers - one.before))[:count]
    return sorted(chosen, key=lambda one: one.at)


def _decision(made: Made) -> dict[str, Any]:
    return {
        "at": made.at,
        "before": made.before,
        "desired_workers": made.decision.desired_workers,
        "reason": made.decision.reason,
    }


def _decisions(run: Run, count: int) -> list[str]:
    told = largest(run.made, count)
    if not told:
        return []
    left_out = len(run.made) - len(told)
    begin = f"the {len(told)} largest of {len(run.made):,} decisions:" if left_out else "decisions:"
    return [
        begin,
        *(
            f"  {made.at:,.0f} s: {made.before} -> {made.decision.desired_workers}, because "
            f"{safe(made.decision.reason)}"
            for made in told
        ),
    ]
