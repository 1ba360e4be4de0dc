"""`upswell monitor`: watches every application, decides, and keeps the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.connection import connected, run_until_stopped
from upswell.cli.help import SettingsCommand
from upswell.cli.options import app_option, with_settings
from upswell.cli.run.wiring import monitoring

if TYPE_CHECKING:
    from upswell.settings import Settings


@click.command("monitor", cls=SettingsCommand)
@app_option(
    multiple=True, help="Decide only for this application (repeatable). Default: those in the settings."
)
@with_settings("monitor")
def command(app: tuple[str, ...], settings: Settings) -> None:  # noqa: ARG001 - the settings hold it
    """Observe all applications and decide on workers for those in the settings, until Ctrl-C."""

    async def work() -> None:
        async with connected(settings, "monitor") as broker, monitoring(settings, broker) as monitor:
            await monitor.run()

    run_until_stopped(work())
