"""`upswell monitor`: watches every application, decides, and keeps the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.connection import connected, on_hang_up, run_until_stopped
from upswell.cli.help import SettingsCommand
from upswell.cli.options import app_option, with_settings
from upswell.cli.run.metrics import with_metrics
from upswell.cli.run.monitoring import monitoring
from upswell.cli.run.reloading import Reloader

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings


@click.command("monitor", cls=SettingsCommand)
@app_option(
    multiple=True, help="Decide only for this application (repeatable). Default: those in the settings."
)
@with_settings("monitor", reloads=True)
def command(app: tuple[str, ...], settings: Settings, reload: Callable[[], Settings]) -> None:  # noqa: ARG001 - the settings hold it
    """Observe all applications and decide on workers for those in the settings, until Ctrl-C.

    SIGHUP reloads the settings.
    """

    async def work() -> None:
        async with (
            connected(settings, "monitor") as broker,
            monitoring(settings, broker) as monitor,
            with_metrics(settings, monitor=monitor) as more,
        ):
            on_hang_up(Reloader(broker, settings, reload, monitor, *more))
            await monitor.run()

    run_until_stopped(work())
