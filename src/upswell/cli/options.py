"""Command-line options for settings.

`@with_settings("worker")` gives a command an option for each setting that lists it in `flags`,
`--set NAME=VALUE` for the others, `--config`, and the argument `settings`. The broker's URL has no option:
its password would appear in the process list; use AMQPURL or the settings file.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from upswell import events
from upswell.cli.completion import complete_apps, complete_assignments, complete_files, completing
from upswell.cli.help import PREFIX
from upswell.errors import MessageError
from upswell.messages import check_app_id
from upswell.settings import SETTINGS, Setting, Settings, load_settings, variable

Command = TypeVar("Command", bound=Callable[..., Any])

EVERYWHERE = "every command"


def _check_apps(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """Return the application's name or names, or fail."""
    for name in (value,) if isinstance(value, str) else value or ():
        try:
            check_app_id(name)
        except MessageError as error:
            raise click.BadParameter(str(error)) from error
    return value


def finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    """Return the number unless it is NaN or infinite, which click's ranges accept."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"must be a finite number, got {value}")
    return value


def app_option(**attributes: Any) -> Callable[[Command], Command]:
    """Return the option `--app`, by default required."""
    attributes.setdefault("required", not attributes.get("multiple"))
    attributes.setdefault("help", "Application, for example e123456.")
    attributes.setdefault("shell_complete", complete_apps)
    return click.option("--app", "app", callback=_check_apps, metavar="APP", **attributes)


def app_argument(function: Command) -> Command:
    """Add the argument APP."""
    return click.argument("app", callback=_check_apps, metavar="APP")(function)


def with_settings(
    name: str, *, quiet: str | None = None, reloads: bool = False
) -> Callable[[Command], Command]:
    """Return a decorator that adds the options of the command `name` and the argument `settings`.

    A coroutine is run; SIGTERM cancels it as Ctrl-C does. `quiet` is the default log level of an
    interactive command. One that `reloads` gets the argument `reload`, which reads the settings again.
    """
    offered = [setting for setting, said in SETTINGS.items() if {name, EVERYWHERE} & {*said.flags}]

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(config: str | None, others: tuple[tuple[str, str], ...], **arguments: Any) -> Any:
            flags = {setting: _flag(arguments.pop(PREFIX + setting)) for setting in offered}
            app: Any = arguments.get("app")
            apps: tuple[str, ...] = (app,) if isinstance(app, str) else app or ()

            def read() -> Settings:
                settings, origins = load_settings(config, {**flags, **dict(others)}, apps)
                level = quiet if quiet and origins["log_level"] == "default" else settings.log_level
                events.configure(level=level, json=settings.log_format == "json")
                return settings

            if reloads:
                arguments["reload"] = read
            told = function(settings=read(), **arguments)
            if not inspect.iscoroutine(told):
                return told
            from upswell.cli.connection import run  # noqa: PLC0415 - not all commands need the broker

            return run(told)

        command = _set_option(command)
        for setting in reversed(offered):
            command = _option(setting, SETTINGS[setting])(command)
        return config_option(command)  # type: ignore[return-value] - functools.wraps keeps the attributes, not the type

    return decorate


def config_option(function: Command) -> Command:
    """Add `--config FILE`."""
    return click.option(
        "--config",
        metavar="FILE",
        is_eager=True,  # --app is completed by it
        shell_complete=complete_files,
        help="TOML settings file. Default: $UPSWELL_CONFIG, or upswell.toml in this folder.",
    )(function)


def _option(name: str, setting: Setting) -> Callable[[Command], Command]:
    several = bool(setting.separator)
    option = name.replace("_", "-")
    return click.option(
        f"--{option.removesuffix('s') if several else option}",
        PREFIX + name,
        multiple=several,
        metavar="PATH" if setting.path else "VALUE",
        help=f"{setting.text}{_default(name)}",
        shell_complete=completing(name),
    )


def _default(name: str) -> str:
    """Return a setting's default for `--help`; where it is empty, the text says what that means."""
    default = getattr(_DEFAULTS, name)
    if default is None or default in ("", []):
        return ""
    text = f"{default:g}" if isinstance(default, float) else str(default).lower()
    return f"  [default: {text}]"


_DEFAULTS = Settings()


def _set_option(function: Command) -> Command:
    """Add `--set NAME=VALUE`, which may be repeated."""
    return click.option(
        "--set",
        "others",
        multiple=True,
        callback=_pairs,
        shell_complete=complete_assignments,
        metavar="NAME=VALUE",
        help="Any other setting, such as handlers.simulate.seconds=1-2 (repeatable).",
    )(function)


def _pairs(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"must have the form NAME=VALUE, got {text!r}")
        if text.startswith("broker_url="):
            raise click.BadParameter("the broker's URL may contain a password: set AMQPURL instead")
        name = text.partition("=")[0]
        if name in SETTINGS and SETTINGS[name].secret:
            raise click.BadParameter(f"{name} may contain a secret: set {variable(name)} instead")
    return [(name, value) for name, _, value in (text.partition("=") for text in texts)]


def _flag(value: Any) -> Any:
    """Return an option's value, or None if a repeatable option was not given."""
    if isinstance(value, tuple):
        return list(value) or None  # type: ignore[arg-type] - a tuple of str
    return value
