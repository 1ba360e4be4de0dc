"""The options of a command that simulates: its traffic, its objective, the world that a policy is tried in.

In: what was typed. Out: a `TrafficSource`, a `World` and a `House`, checked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

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
    """Return the path, or fail before minutes are spent on what cannot be drawn."""
    if path is not None:
        try:
            from upswell.lab.plots import check_ending  # noqa: PLC0415 - for --plot alone
        except ImportError as error:
            raise SettingsError(f"--plot needs pip install 'upswell[plot]': {error}") from error
        check_ending(path)
    return path


plot_option = click.option(
    "--plot",
    metavar="FILE",
    callback=_drawable,
    help="Draw workers over time, response times, cost against attainment; .svg, .png or .pdf.",
)


def traffic_options() -> Callable[[Command], Command]:
    """Return a decorator that gives a command its traffic (`source`), its `world` and its `house`."""

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            slo = parse_slo(given.pop("slo"), given.pop("share"))
            source = TrafficSource(
                arrivals=given.pop("arrivals", None),
                duration=given.pop("duration", "1h"),
                **{name: given.pop(name) for name in ("jobs", "trace", "service", "thin", "squeeze")},
                seed=given["seed"],
            )
            _check(source)
            world = World(
                slo=slo,
                start_delay=given.pop("start_delay"),
                slots=given.pop("slots"),
                initial_workers=given.pop("initial"),
                max_workers=given.pop("max_workers"),
                decision_interval=given.pop("interval"),
                seed=given.pop("seed"),
            )
            world.check()
            settings = Settings(
                rules_file=given.pop("rules_file") or "", price_per_worker_hour=given.pop("price")
            )
            house = House(settings, given.pop("wrappers"))
            return function(source=source, world=world, house=house, **given)

        for option in reversed(_options()):
            command = option(command)
        return command  # type: ignore[return-value] - functools.wraps keeps the attributes, not the type

    return decorate


def _check(source: TrafficSource) -> None:
    given = [name for name in ("jobs", "trace", "arrivals") if getattr(source, name) is not None]
    if len(given) != 1:
        raise click.UsageError("give one of --jobs, --trace and --arrivals")
    if (source.service is None) != (given[0] == "jobs"):
        rule = "has its own service times" if source.service else "needs --service"
        raise click.UsageError(f"--{given[0]} {rule}")


def _options() -> list[Callable[[Any], Any]]:
    return [
        click.option("--jobs", metavar="FILE", help="CSV or .csv.gz with the columns arrival_s,service_s."),
        click.option(
            "--trace",
            metavar="FILE",
            help="CSV or .csv.gz with the columns t_seconds,count; needs --service.",
        ),
        click.option(
            "--arrivals",
            metavar="PROCESS",
            help=f"Draw the arrivals: {distributions.forms(distributions.ARRIVALS)}; rates a second.",
        ),
        click.option(
            "--duration",
            default="1h",
            show_default=True,
            metavar="TIME",
            help="How long --arrivals lasts: 90s, 15min, 6h, 2d.",
        ),
        click.option(
            "--service",
            metavar="DISTRIBUTION",
            help=f"Draw the service times: {distributions.forms(distributions.SERVICES)}, or seconds.",
        ),
        click.option(
            "--thin",
            type=click.FloatRange(0, 1, min_open=True),
            default=1.0,
            callback=finite,
            show_default=True,
            help="Share of the uploads to keep.",
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
        click.option("--slo", required=True, metavar="SLO", help='Seconds, or "99% < 60s".'),
        click.option(
            "--share",
            type=float,
            callback=finite,
            help=f"Of the uploads that must be answered in that time. [default: {DEFAULT_SHARE:g}]",
        ),
        click.option(
            "--start-delay",
            type=click.FloatRange(0),
            default=30.0,
            callback=finite,
            show_default=True,
            help="Seconds from asking for a worker to its being ready.",
        ),
        click.option(
            "--initial", type=click.IntRange(0), default=1, show_default=True, help="Workers at the start."
        ),
        click.option(
            "--max-workers",
            type=click.IntRange(1),
            default=500,
            show_default=True,
            help="Never more workers than this.",
        ),
        click.option(
            "--slots",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Uploads that one worker runs at once.",
        ),
        click.option(
            "--interval",
            type=_POSITIVE,
            default=2.0,
            callback=finite,
            show_default=True,
            help="Seconds between two decisions of our own policies; a peer keeps its own.",
        ),
        click.option(
            "--rules-file",
            metavar="FILE.toml",
            help="Rules of your own: the policy rules, and what guards others (slo+rules).",
        ),
        click.option(
            "--price",
            type=click.FloatRange(0),
            default=0.0,
            callback=finite,
            help="What a worker costs an hour, in your currency; costs are shown in it.",
        ),
        click.option(
            "--wrappers/--bare",
            default=False,
            help="Try each policy inside all that the monitor puts around it (its default settings), or "
            "within --max-workers only.  [default: bare]",
        ),
    ]
