"""`upswell scaler`: starts, activates and drains workers as the monitor decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.connection import connected, run_until_stopped
from upswell.cli.help import SettingsCommand
from upswell.cli.options import app_option, with_settings
from upswell.cli.run.wiring import check_apps, scaling

if TYPE_CHECKING:
    from upswell.settings import Settings


@click.command("scaler", cls=SettingsCommand)
@app_option(multiple=True, help="Scale only this application (repeatable). Default: those in the settings.")
@with_settings("scaler")
def command(app: tuple[str, ...], settings: Settings) -> None:  # noqa: ARG001 - the settings hold it
    """Run as many workers as the monitor decides, until Ctrl-C; the workers keep running after that."""
    check_apps(settings)

    async def work() -> None:
        async with connected(settings, "scaler") as broker, scaling(settings, broker) as scaler:
            await scaler.run()

    run_until_stopped(work())
