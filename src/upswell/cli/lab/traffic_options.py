"""Options of commands that simulate: traffic, objective, and the simulated world.

In: command-line options. Out: a checked `TrafficSource`, `World` and `House`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from upswell import extras
from upswell.cli.options import finite
from upswell.errors import SettingsError
from upswell.lab.runs import House
from upswell.lab.traffic import DEFAULT_SHARE, TrafficSource, parse_slo
from upswell.settings import Settings
from upswell.simulator.world import World
from upswell.workload import distributions

Command = TypeVar("Command", bound=Callable[..., Any])

_POSITIVE = click.FloatRange(min=0, min_open=True)


def _drawable(_ctx: click.Context, _param: click.Parameter, path: str | None) -> str | None:
    """Return the path, or fail early if it cannot be drawn."""
    if path is not None:
        try:
            from upswell.lab.plots import check_ending  # noqa: PLC0415 - for --plot alone
        except ImportError as error:
            raise SettingsError(extras.needs("--plot", "plot", error)) from error
        check_ending(path)
    return path


plot_option = click.option(
    "--plot",
    metavar="FILE",
    callback=_drawable,
    help="Plot workers over time, response times, and cost against attainment, as .svg, .png or .pdf.",
)


def traffic_options(function: Command) -> Command:
    """Add the options of traffic and world, and the arguments `source` (traffic), `world` and `house`."""

    @functools.wraps(function)
    def command(**given: Any) -> Any:
        slo = parse_slo(given.pop("slo"), given.pop("share"))
        names = ("jobs", "trace", "arrivals", "duration", "service", "thin", "squeeze")
        source = TrafficSource(**{name: given.pop(name) for name in names}, seed=given["seed"])
        _check(source)
        start_cost = given.pop("start_cost")
        world = World(
            slo=slo,
            start_cost=start_cost,
            start_delay=given.pop("start_delay"),
            slots=given.pop("slots"),
            initial_workers=given.pop("initial"),
            max_workers=given.pop("max_workers"),
            decision_interval=given.pop("interval"),
            seed=given.pop("seed"),
        )
        world.check()
        settings = Settings(
            rules_file=given.pop("rules_file") or "",
            price_per_worker_hour=given.pop("price"),
            start_cost=start_cost,
        )
        house = House(settings, given.pop("wrappers"))
        return function(source=source, world=world, house=house, **given)

    for option in reversed(_options()):
        command = option(command)
    return command  # type: ignore[return-value] - functools.wraps keeps the attributes, not the type


def _check(source: TrafficSource) -> None:
    given = [name for name in ("jobs", "trace", "arrivals") if getattr(source, name) is not None]
    if len(given) != 1:
        raise click.UsageError("give exactly one of --jobs, --trace and --arrivals")
    if (source.service is None) != (given[0] == "jobs"):
        rule = "has its own service times" if source.service else "needs --service"
        raise click.UsageError(f"--{given[0]} {rule}")


def _options() -> list[Callable[[Any], Any]]:
    return [
        click.option(
            "--jobs", metavar="FILE", help="CSV or .csv.gz file with the columns arrival_s,service_s."
        ),
        click.option(
            "--trace",
            metavar="FILE",
            help="CSV or .csv.gz file with the columns t_seconds,count; needs --service.",
        ),
        click.option(
            "--arrivals",
            metavar="PROCESS",
            help=f"Random arrivals: {distributions.forms(distributions.ARRIVALS)}; rates per second.",
        ),
        click.option(
            "--duration",
            default="1h",
            show_default=True,
            metavar="TIME",
            help="Duration of --arrivals: 90s, 15min, 6h, 2d.",
        ),
        click.option(
            "--service",
            metavar="DISTRIBUTION",
            help=f"Random service times: {distributions.forms(distributions.SERVICES)}, or seconds.",
        ),
        click.option(
            "--thin",
            type=click.FloatRange(0, 1, min_open=True),
            default=1.0,
            callback=finite,
            show_default=True,
            help="Share of uploads to keep.",
        ),
        click.option(
            "--squeeze",
            type=_POSITIVE,
            default=1.0,
            callback=finite,
            show_default=True,
            help="Divide the time between arrivals by this.",
        ),
        click.option(
            "--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of all random draws."
        ),
        click.option("--slo", required=True, metavar="SLO", help='Objective: seconds, or "99% < 60s".'),
        click.option(
            "--share",
            type=float,
            callback=finite,
            help=f"Share of uploads that must be stored within --slo seconds. [default: {DEFAULT_SHARE:g}]",
        ),
        click.option(
            "--start-delay",
            type=click.FloatRange(0),
            default=30.0,
            callback=finite,
            show_default=True,
            help="Seconds from requesting a worker until it is ready.",
        ),
        click.option(
            "--initial", type=click.IntRange(0), default=1, show_default=True, help="Workers at the start."
        ),
        click.option(
            "--max-workers",
            type=click.IntRange(1),
            default=500,
            show_default=True,
            help="Maximum number of workers.",
        ),
        click.option(
            "--slots",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Uploads that one worker runs concurrently.",
        ),
        click.option(
            "--interval",
            type=_POSITIVE,
            default=2.0,
            callback=finite,
            show_default=True,
            help="Seconds between decisions of Upswell's policies; other autoscalers keep their own.",
        ),
        click.option(
            "--rules-file",
            metavar="FILE.toml",
            help="Your rules, for the policy rules and to guard others (slo+rules).",
        ),
        click.option(
            "--price",
            type=click.FloatRange(0),
            default=0.0,
            callback=finite,
            help="Price of a worker per hour; costs are then shown in your currency.",
        ),
        click.option(
            "--start-cost",
            type=click.FloatRange(0),
            default=Settings().assumed_start_cost,
            show_default=True,
            callback=finite,
            help="Seconds of a worker that a start costs beyond its time: for slo, the clairvoyant and R.",
        ),
        click.option(
            "--wrappers/--bare",
            default=False,
            help="Apply all guards of the monitor with default settings, or only --max-workers.  "
            "[default: bare]",
        ),
    ]
