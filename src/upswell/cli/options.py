"""Options that are settings: a command names the settings it offers, and gets them loaded.

`@with_settings("slo", "policy")` gives a command `--slo`, `--policy`, the options that every command has
(`--config`, `--state-dir`, `--log-level`, `--log-format`), and the argument `settings`. The broker's URL is
no option: its password would stand in every list of processes; it comes from AMQPURL or the settings file.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from upswell import events
from upswell.errors import MessageError
from upswell.messages import check_app_id
from upswell.settings import LISTS, PER_APP, Settings, describe, load

Command = TypeVar("Command", bound=Callable[..., Any])

EVERYWHERE = ("state_dir", "log_level", "log_format")
_PREFIX = "setting_"


def _check_apps(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """Return the application's name, or names, or fail with the rule and the value."""
    for name in (value,) if isinstance(value, str) else value or ():
        try:
            check_app_id(name)
        except MessageError as error:
            raise click.BadParameter(str(error)) from error
    return value


def finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    """Return the number, unless it is NaN or infinite: a range lets those pass."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"it must be a finite number, got {value}")
    return value


def app_option(**attributes: Any) -> Callable[[Command], Command]:
    """Return the option `--app`, required unless told otherwise."""
    attributes.setdefault("required", not attributes.get("multiple"))
    attributes.setdefault("help", "The application, for example e123456.")
    return click.option("--app", "app", callback=_check_apps, metavar="APP", **attributes)


def with_settings(*names: str, quiet: str | None = None) -> Callable[[Command], Command]:
    """Return a decorator that gives a command these settings as options, and itself the loaded `settings`.

    `quiet` is the log level of a command that speaks to a person, unless that person asks for another.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(config: str | None, **arguments: Any) -> Any:
            flags = {name: _flag(arguments.pop(_PREFIX + name)) for name in offered}
            apps: Any = arguments.get("app")
            settings, origins = load_settings(config, flags, apps if isinstance(apps, tuple) else ())  # type: ignore[reportUnknownArgumentType] - strings, checked
            level = quiet if quiet and origins["log_level"] == "default" else settings.log_level
            events.configure(level=level, json=settings.log_format == "json")
            return function(settings=settings, **arguments)

        offered = (*names, *EVERYWHERE)
        for name in reversed(offered):
            command = _option(name)(command)
        return config_option(command)  # type: ignore[return-value] - functools.wraps keeps the attributes, not the type

    return decorate


def config_option(function: Command) -> Command:
    """Add `--config FILE`."""
    return click.option(
        "--config",
        metavar="FILE",
        help="TOML settings file; default: $UPSWELL_CONFIG, else upswell.toml here.",
    )(function)


def load_settings(
    config: str | None, flags: dict[str, Any], apps: tuple[str, ...] = ()
) -> tuple[Settings, dict[str, str]]:
    """Return the settings and their origins; `apps`, where given, are the only applications.

    A flag stands over an application's own table too: what is typed now is what is meant.

    Raises:
        SettingsError: a setting is unknown or breaks its rule.
    """
    settings, origins = load(flags, file=config)
    typed = {name for name, value in flags.items() if value is not None} & PER_APP
    chosen = apps or tuple(settings.apps)
    tables = {
        app: {name: value for name, value in settings.apps.get(app, {}).items() if name not in typed}
        for app in chosen
    }
    if tables == settings.apps:
        return settings, origins
    settings, origins = load({**flags, "apps": tables}, file=config)
    return settings, origins


def _option(name: str) -> Callable[[Command], Command]:
    several = name in LISTS
    option = name.replace("_", "-")
    return click.option(
        f"--{option.removesuffix('s') if several else option}",
        _PREFIX + name,
        multiple=several,
        metavar={"source_roots": "FOLDER", "source_origins": "ORIGIN", "source_networks": "NETWORK"}.get(
            name, "VALUE"
        ),
        help=describe(name),
    )


def _flag(value: Any) -> Any:
    """Return an option's value as a flag: an option that may be repeated and was not given is no flag."""
    if isinstance(value, tuple):
        return list(value) or None  # type: ignore[arg-type] - a tuple of str
    return value
