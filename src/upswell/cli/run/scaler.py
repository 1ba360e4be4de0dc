"""`upswell scaler`: starts, activates and drains workers as the monitor decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.connection import connected, on_hang_up, run_until_stopped
from upswell.cli.help import SettingsCommand
from upswell.cli.options import app_option, with_settings
from upswell.cli.run.metrics import with_metrics
from upswell.cli.run.reloading import Reloader
from upswell.cli.run.scaling import check_apps, scaling

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings


@click.command("scaler", cls=SettingsCommand)
@app_option(multiple=True, help="Scale only this application (repeatable). Default: those in the settings.")
@with_settings("scaler", reloads=True)
def command(app: tuple[str, ...], settings: Settings, reload: Callable[[], Settings]) -> None:  # noqa: ARG001 - the settings hold it
    """Run as many workers as the monitor decides, until Ctrl-C, and reload the settings at SIGHUP.

    The workers keep running after Ctrl-C.
    """
    check_apps(settings)

    async def work() -> None:
        async with (
            connected(settings, "scaler") as broker,
            scaling(settings, broker) as scaler,
            with_metrics(settings, scaler=scaler) as more,
        ):
            on_hang_up(Reloader(broker, settings, reload, scaler, *more))
            await scaler.run()

    run_until_stopped(work())
